import { createHash } from "node:crypto";
import {
  recipientsOfReader,
  type Commit,
  type FileEdit,
  type Reader,
  type RotationFacts,
  type RulesEdit,
  type RulesFile,
  type Successor,
  type TreeFile,
} from "./facts.ts";
import type { Lookup } from "./lookup.ts";
import type { Edits } from "./stage.ts";

/** A reader for whom files are to be changed. */
export type Ready = { readonly reader: Reader; readonly edits: Edits };

/** One commit for all who are ready; a file of several readers is rewritten once. */
export function commitOf(lookup: Lookup, ready: readonly Ready[]): Commit {
  const files = new Map<string, FileEdit>();
  const rules = new Map<string, RulesEdit>();
  for (const { reader, edits } of ready) {
    const { remove } = edits;
    const known = lookup.dataKeysOpenTo(remove);
    for (const file of edits.files) {
      const change = fileEdit(file, { come: successorOf(reader, edits), remove, known });
      files.set(file.path, joined(files.get(file.path), change));
    }
    for (const file of edits.rules) {
      const change = rulesEdit(file, successorOf(reader, edits), remove);
      rules.set(file.path, joined(rules.get(file.path), change));
    }
  }
  const canaries = ready.flatMap(({ reader, edits }) =>
    edits.canary === undefined
      ? []
      : [{ path: edits.canary, reader: reader.name, recipient: edits.add.recipient }],
  );
  // A canary that others may open is made anew, not rewritten for them.
  const anew = new Set(canaries.map(({ path }) => path));
  const kept = [...files.values()].filter(({ path }) => !anew.has(path));
  const change = { files: kept, rules: [...rules.values()], canaries };
  const bases = ready.flatMap(({ edits }) => [...edits.files, ...edits.rules]);
  return {
    kind: "commit",
    ...change,
    branch: branchOf(lookup.facts, JSON.stringify(change), bases),
  };
}

function successorOf(reader: Reader, { add }: Edits): Successor {
  const beside = [...recipientsOfReader(reader)].filter((name) => name !== add.recipient);
  return { recipient: add.recipient, beside };
}

function fileEdit(
  { path, groups, opens, dataKey }: TreeFile,
  change: {
    readonly come: Successor;
    readonly remove: ReadonlySet<string>;
    readonly known: ReadonlySet<string>;
  },
): FileEdit {
  const named = new Set(groups.flat());
  const remove = [...change.remove.intersection(named)];
  const isOpen = !opens.isDisjointFrom(change.remove) || change.known.has(dataKey);
  const add = opens.has(change.come.recipient) ? [] : [change.come];
  return { path, add, remove, newDataKey: isOpen || remove.length > 0 };
}

function rulesEdit(
  { path, names }: RulesFile,
  come: Successor,
  remove: ReadonlySet<string>,
): RulesEdit {
  const add = names.has(come.recipient) ? [] : [come];
  return { path, add, remove: [...remove.intersection(names)] };
}

/** Two changes of one file. */
function joined<T extends RulesEdit & { readonly newDataKey?: boolean }>(
  before: T | undefined,
  change: T,
): T {
  if (before === undefined) return change;
  const add = [...before.add, ...change.add];
  const remove = [...before.remove, ...change.remove];
  if (change.newDataKey === undefined) return { ...change, add, remove };
  return { ...change, add, remove, newDataKey: before.newDataKey === true || change.newDataKey };
}

/** The same change of the same files has the same branch, so that nobody has to remember it. */
function branchOf(
  { proposals }: RotationFacts,
  change: string,
  bases: readonly { readonly path: string; readonly blob: string }[],
): string | undefined {
  if (proposals === undefined) return undefined;
  const texts = bases.map(({ path, blob }) => `${path} ${blob}`).sort();
  const digest = createHash("sha256")
    .update([change, ...texts].join("\n"))
    .digest("hex");
  return `capitan/rotate-${digest.slice(0, 12)}`;
}

/** So many paths are named in the message of a commit, which has a limit. */
const namedMax = 200;

/** What is said of a commit where it is made. */
export function messageOf({ files, rules, canaries }: Commit, rotation: string): string {
  const isRemoval = files.some(({ remove }) => remove.length > 0);
  const what = isRemoval ? "take old keys out of" : "add new keys to";
  const paths = [...rules, ...files, ...canaries].map(({ path }) => path);
  const more = paths.length > namedMax ? [`and ${paths.length - namedMax} more`] : [];
  const lines = [...paths.slice(0, namedMax), ...more];
  return `Rotation ${rotation}: ${what} ${paths.length} files\n\n${lines.join("\n")}\n`;
}
