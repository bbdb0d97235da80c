import {
  isFor,
  namesOf,
  recipientsOfReader,
  rewritten,
  type Commit,
  type FileCopy,
  type FileEdit,
  type HubWrite,
  type Reader,
  type RotationFacts,
  type TreeFile,
  type Write,
} from "./facts.ts";
import { Lookup } from "./lookup.ts";

/**
 * Why a write must not be made; undefined when it is safe. Everything that is written goes through here,
 * whoever decided it. At all times each reader must have an identity for each file that it may be told
 * to open, and nobody may come into a file who could not open it before.
 */
export function refusalOf(facts: RotationFacts, write: Write): string | undefined {
  return refusalBy(new Lookup(facts), write);
}

/** `refusalOf` for many writes on the same facts. */
export function guardOf(facts: RotationFacts): (write: Write) => string | undefined {
  const lookup = new Lookup(facts);
  return (write) => refusalBy(lookup, write);
}

/** `refusalOf` for whoever has looked things up already. */
export function refusalBy(lookup: Lookup, write: Write): string | undefined {
  if (write.kind === "commit") return commitRefusal(lookup, write);
  const reader = lookup.reader(write.reader);
  if (reader === undefined) return `nobody is named ${write.reader}`;
  if (write.kind === "create") return creationRefusal(reader, write.generation);
  return withdrawalRefusal(lookup, reader, write);
}

/** The recipients of identities that a reader is known to have where it opens files. */
function holdingsOf({ presence, planted, proofs, uid, generations }: Reader): ReadonlySet<string> {
  if (planted !== undefined && presence !== "away") return planted;
  const proven = new Set(proofs.flatMap((proof) => (proof.uid === uid ? [proof.generation] : [])));
  return new Set(
    generations.flatMap(({ generation, state, recipient }) =>
      proven.has(generation) && state === "active" ? [recipient] : [],
    ),
  );
}

function commitRefusal(lookup: Lookup, commit: Commit): string | undefined {
  const comes = comingBeside(commit);
  for (const edit of commit.files) {
    const file = lookup.file(edit.path);
    const refusal =
      file === undefined ? `there is no ${edit.path}` : editRefusal(lookup, comes, { file, edit });
    if (refusal !== undefined) return refusal;
  }
  for (const { path, reader: name, recipient } of commit.canaries) {
    const reader = lookup.reader(name);
    if (reader?.canary !== path || !isActive(reader, recipient))
      return `${path} is no canary of ${name} for ${recipient}`;
  }
  return undefined;
}

type Change = { readonly file: TreeFile; readonly edit: FileEdit };

/** Who comes into the rules, by those beside whom. */
type Coming = ReadonlyMap<string, readonly string[]>;

function comingBeside({ rules }: Commit): Coming {
  const pairs = rules.flatMap(({ add }) =>
    add.flatMap(({ recipient, beside }) => beside.map((name) => ({ name, recipient }))),
  );
  const groups = Map.groupBy(pairs, ({ name }) => name);
  return new Map(
    Array.from(groups, ([name, all]) => [name, all.map(({ recipient }) => recipient)]),
  );
}

function editRefusal(lookup: Lookup, comes: Coming, change: Change): string | undefined {
  const { file, edit } = change;
  if (edit.remove.length > 0 && !edit.newDataKey)
    return `${file.path} would lose a recipient and keep its data key`;
  const after = rewritten(file, edit, "");
  const locked = lookup.readersOf(file).find((reader) => locksOut(reader, file, { after, edit }));
  if (locked !== undefined) return `${locked.name} could no longer open ${file.path}`;
  const stranger = strangerOf(lookup, comes, { ...change, after });
  return stranger === undefined ? undefined : `${stranger} may not open ${file.path}`;
}

/** A reader from whom something is taken must be left with a key that it is known to have. */
function locksOut(
  reader: Reader,
  file: FileCopy,
  { after, edit }: { readonly after: FileCopy; readonly edit: FileEdit },
): boolean {
  if (reader.presence === "gone" || !isFor(file, reader)) return false;
  const own = recipientsOfReader(reader);
  const loses =
    !new Set(edit.remove).isDisjointFrom(own) || !isSubset(file.opens, after.opens, own);
  return loses && holdingsOf(reader).isDisjointFrom(after.opens);
}

/** Whether those of `own` who open the file now open it afterwards. */
const isSubset = (
  now: ReadonlySet<string>,
  then: ReadonlySet<string>,
  own: ReadonlySet<string>,
): boolean => now.intersection(own).isSubsetOf(then);

/** Who comes must be a newer key of somebody who could open the file, and whom the rules want in it. */
function strangerOf(
  lookup: Lookup,
  comes: Coming,
  { file, after }: Change & { readonly after: FileCopy },
): string | undefined {
  const come = namesOf(after).difference(namesOf(file));
  const wanted = policyAfter(file.policy, comes);
  return [...come].find((recipient) => {
    const [reader] = lookup.readersWith(recipient);
    if (reader === undefined || !isActive(reader, recipient) || !isFor(file, reader)) return true;
    return wanted !== undefined && !wanted.has(recipient);
  });
}

function policyAfter(
  policy: readonly string[] | undefined,
  comes: Coming,
): ReadonlySet<string> | undefined {
  if (policy === undefined) return undefined;
  return new Set([...policy, ...policy.flatMap((name) => comes.get(name) ?? [])]);
}

const isActive = ({ generations }: Reader, recipient: string): boolean =>
  generations.some((each) => each.recipient === recipient && each.state === "active");

/** Making a generation is safe when it is a new one. */
function creationRefusal({ name, generations }: Reader, generation: number): string | undefined {
  const newest = Math.max(0, ...generations.map((each) => each.generation));
  return generation > newest ? undefined : `${name} has generation ${newest} already`;
}

function withdrawalRefusal(
  lookup: Lookup,
  reader: Reader,
  { kind, generations }: Exclude<HubWrite, { readonly kind: "create" }>,
): string | undefined {
  const { name, planted, presence } = reader;
  if (planted === undefined || presence === "away") return `nobody knows which keys ${name} has`;
  const chosen = reader.generations.filter(({ generation }) => generations.includes(generation));
  if (kind === "retire" && chosen.some(({ state }) => state !== "ending"))
    return `revisions of ${name} may still be pinned that need the key`;
  const going = new Set(chosen.map(({ recipient }) => recipient));
  const active = reader.generations.flatMap((each) =>
    each.state === "active" ? [each.recipient] : [],
  );
  const left = planted.intersection(new Set(active)).difference(going);
  if (left.size === 0) return `${name} would have no key left`;
  const inUse = reader.revisions.filter(({ use }) => use !== "kept").flatMap(({ files }) => files);
  const own = inUse.filter((file) => isFor(file, reader));
  const locked = [...lookup.filesFor(reader), ...own].find(({ opens }) =>
    opens.isDisjointFrom(left),
  );
  return locked === undefined ? undefined : `${name} could no longer open ${locked.path}`;
}
