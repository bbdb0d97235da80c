import { CapitanError } from "../errors/index.ts";
import {
  decryptFile,
  inspectFile,
  rotateFile,
  updateKeys,
  type Chance,
  type Format,
  type Identity,
  type Inspected,
} from "../sops/index.ts";
import { groupsAfter, type FileEdit } from "./facts.ts";

/** What a rewrite has at hand: identities that open the file, those of who comes and goes among them. */
export type RewriteOptions = {
  readonly format: Format;
  readonly identities: readonly Identity[];
  readonly edit: FileEdit;
};

/**
 * Rewrites a file as an edit wants it, with the smallest change of its text: a new recipient alone is an
 * entry at the head of the list under the same data key; whoever goes takes the data key along. What
 * comes out is opened and compared with what went in, before anybody sees it. Throws as `rotateFile`,
 * and RotationUnsafe.
 */
export async function rewriteFile(
  bytes: Buffer,
  options: RewriteOptions,
  chance: Chance,
): Promise<Buffer> {
  const { format, edit } = options;
  const before = await inspectFile(bytes, options);
  const open = { format, identities: before.openedWith };
  const groups = groupsAfter(before.groups, { ...edit, remove: [] });
  const come = new Set(edit.add.map(({ recipient }) => recipient));
  // Whoever is named and does not open the file gets an entry of the right data key.
  const others = groups.map((group) => group.filter((name) => !come.has(name)));
  const isNamed = before.groups.flat().some((name) => come.has(name));
  let file = bytes;
  if (isNamed) file = (await updateKeys(file, { ...open, groups: others }, chance)).file;
  if (come.size > 0) file = (await updateKeys(file, { ...open, groups }, chance)).file;
  const { remove } = edit;
  if (edit.newDataKey) file = (await rotateFile(file, { ...open, remove }, chance)).file;
  await compare(bytes, file, { ...options, before });
  return file;
}

/** Throws RotationUnsafe when a rewritten file is not the old one for those whom the edit names. */
async function compare(
  old: Buffer,
  now: Buffer,
  { format, identities, edit, before }: RewriteOptions & { readonly before: Inspected },
): Promise<void> {
  const after = await inspectFile(now, { format, identities });
  const was = await decryptFile(old, { format, identities: before.openedWith });
  const is = await decryptFile(now, { format, identities: after.openedWith });
  const isSame = was.plaintext.equals(is.plaintext);
  was.plaintext.fill(0);
  is.plaintext.fill(0);
  if (!isSame) throw unsafe(edit, "its content would change");
  const wanted = groupsAfter(before.groups, edit);
  if (JSON.stringify(wanted.map(sorted)) !== JSON.stringify(after.groups.map(sorted)))
    throw unsafe(edit, "its recipients would be others than planned");
  const gone = edit.remove.find((name) => after.opens.includes(name));
  if (gone !== undefined) throw unsafe(edit, `${gone} would still open it`);
  const held = new Set(identities.map(({ recipient }) => recipient));
  const lost = wanted.flat().find((name) => held.has(name) && !after.opens.includes(name));
  if (lost !== undefined) throw unsafe(edit, `${lost} would not open it`);
  if (edit.newDataKey && after.dataKey === before.dataKey)
    throw unsafe(edit, "its data key would stay");
}

const sorted = (names: readonly string[]) => [...names].sort();

const unsafe = ({ path }: FileEdit, why: string) =>
  new CapitanError("RotationUnsafe", `${path} is not rewritten: ${why}`);
