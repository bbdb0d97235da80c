import { CapitanError } from "../errors/index.ts";
import {
  decryptFile,
  openersOf,
  recipientsOf,
  rotateFile,
  updateKeys,
  type Chance,
  type Format,
  type Identity,
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
  const { format, identities, edit } = options;
  const groups = groupsAfter(recipientsOf(bytes, format).groups, { ...edit, remove: [] });
  const open = { format, identities };
  const widened =
    edit.add.length === 0 ? bytes : (await updateKeys(bytes, { ...open, groups }, chance)).file;
  const { remove } = edit;
  const file = edit.newDataKey
    ? (await rotateFile(widened, { ...open, remove }, chance)).file
    : widened;
  await compare(bytes, file, options);
  return file;
}

/** Throws RotationUnsafe when a rewritten file is not the old one for those whom the edit names. */
async function compare(before: Buffer, after: Buffer, options: RewriteOptions): Promise<void> {
  const { edit } = options;
  const [old, now] = [await decryptFile(before, options), await decryptFile(after, options)];
  const isSame = old.plaintext.equals(now.plaintext);
  old.plaintext.fill(0);
  now.plaintext.fill(0);
  if (!isSame) throw unsafe(edit, "its content would change");
  const wanted = groupsAfter(old.groups, edit);
  if (JSON.stringify(wanted.map(sorted)) !== JSON.stringify(now.groups.map(sorted)))
    throw unsafe(edit, "its recipients would be others than planned");
  const openers = await openersOf(after, options);
  const gone = edit.remove.find((name) => openers.opens.includes(name));
  if (gone !== undefined) throw unsafe(edit, `${gone} would still open it`);
  const held = new Set(options.identities.map(({ recipient }) => recipient));
  const lost = wanted.flat().find((name) => held.has(name) && !openers.opens.includes(name));
  if (lost !== undefined) throw unsafe(edit, `${lost} would not open it`);
  if (edit.newDataKey && openers.dataKey === (await openersOf(before, options)).dataKey)
    throw unsafe(edit, "its data key would stay");
}

const sorted = (names: readonly string[]) => [...names].sort();

const unsafe = ({ path }: FileEdit, why: string) =>
  new CapitanError("RotationUnsafe", `${path} is not rewritten: ${why}`);
