import { CapitanError } from "../errors/index.ts";
import { parseSopsConfig } from "../sops/index.ts";
import { groupsAfter, type RulesEdit } from "./facts.ts";

/**
 * Puts recipients into a `.sops.yaml` beside others, and takes some out, where they stand in the text:
 * comments and order stay. What comes out is read again; throws SopsConfigInvalid when it would not say
 * exactly what was meant, as with anchors: then a person has to do it.
 */
export function editRules(text: string, edit: RulesEdit): string {
  const before = parseSopsConfig(text, edit.path);
  const edited = removed(added(text, edit), edit.remove);
  const after = parseSopsConfig(edited, edit.path);
  const wanted = before.rules.map(({ groups }) => sorted(groupsBeside(groups, edit)));
  const found = after.rules.map(({ groups }) => sorted(groups));
  if (JSON.stringify(wanted) === JSON.stringify(found)) return edited;
  const come = edit.add.map(({ recipient }) => recipient).join(", ");
  const message = `${edit.path} cannot be changed by itself: where it names ${edit.add.flatMap(({ beside }) => beside).join(", ")}, add ${come}${edit.remove.length === 0 ? "" : ` and take out ${edit.remove.join(", ")}`}`;
  throw new CapitanError("SopsConfigInvalid", message);
}

/** A rule that names nobody beside whom somebody comes stays as it is. */
function groupsBeside(groups: readonly (readonly string[])[], { add, remove }: RulesEdit) {
  const named = new Set(groups.flat());
  const come = add.filter(({ beside }) => beside.some((name) => named.has(name)));
  return groupsAfter(groups, { add: come, remove });
}

const sorted = (groups: readonly (readonly string[])[]) => groups.map((group) => [...group].sort());

/** Each comes once in each rule, before the first one of those beside whom it comes. */
function added(text: string, { add }: RulesEdit): string {
  let edited = text;
  for (const { recipient, beside } of add) {
    // The newest stands in every rule that names any of them, unless somebody edited by hand.
    const anchor = beside.findLast((name) => edited.includes(name));
    if (anchor === undefined) continue;
    edited = edited
      .split("\n")
      .flatMap((line) => withRecipient(line, anchor, recipient))
      .join("\n");
  }
  return edited;
}

function withRecipient(line: string, anchor: string, recipient: string): readonly string[] {
  const at = placeOf(anchor, line);
  if (at === undefined) return [line];
  const item = /^(\s*-\s+["']?)age1[a-z0-9]+(["']?)/.exec(line);
  if (item?.[0].includes(anchor) === true)
    return [`${item[1] ?? ""}${recipient}${item[2] ?? ""}`, line];
  const own = /^(\s+)age1[a-z0-9]+(\s*,?\s*)$/.exec(line);
  if (own !== null) return [`${own[1] ?? ""}${recipient},`, line];
  return [`${line.slice(0, at)}${recipient},${line.slice(at)}`];
}

/** Where a recipient stands in a line; undefined when it does not, or in a comment only. */
function placeOf(anchor: string, line: string): number | undefined {
  // Most lines name others, and there are as many as clusters.
  if (!line.includes(anchor)) return undefined;
  const at = line.search(new RegExp(`\\b${anchor}\\b`));
  const comment = line.search(/(?:^|\s)#/);
  return at < 0 || (comment >= 0 && comment < at) ? undefined : at;
}

function removed(text: string, remove: readonly string[]): string {
  if (remove.length === 0) return text;
  let lines = text.split("\n");
  for (const name of remove) {
    const isAlone = new RegExp(`^\\s*(?:-\\s+)?["']?${name}["']?\\s*,?\\s*(?:#.*)?$`);
    lines = lines.flatMap((line) => {
      if (!line.includes(name)) return [line];
      return isAlone.test(line) ? [] : [withoutRecipient(line, name)];
    });
  }
  // The last of several lines has no comma.
  return lines.join("\n").replaceAll(/(age1[a-z0-9]+),(\s*\n)(?!\s+age1)/g, "$1$2");
}

function withoutRecipient(line: string, name: string): string {
  const comment = line.search(/(?:^|\s)#/);
  const at = line.indexOf(name);
  if (at < 0 || (comment >= 0 && comment < at)) return line;
  return line.replace(new RegExp(`${name}\\s*,\\s*|\\s*,\\s*${name}|${name}`, "g"), "");
}
