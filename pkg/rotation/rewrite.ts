import { CapitanError, isCapitanError } from "../errors/index.ts";
import {
  rekeyFile,
  type Chance,
  type Format,
  type Identity,
  type Inspected,
} from "../sops/index.ts";
import { groupsAfter, type FileEdit } from "./facts.ts";

/** What a rewrite has at hand. */
export type RewriteOptions = {
  readonly format: Format;
  /** Those that open the file before and afterwards: the manager's. */
  readonly openers: readonly Identity[];
  /** Those of who comes and who goes, to see who opens it then. */
  readonly others: readonly Identity[];
  readonly edit: FileEdit;
};

/** A file as it is to be, and what trying says of it. */
export type RewrittenFile = { readonly file: Buffer; readonly inspected: Inspected };

/**
 * Rewrites a file as an edit wants it, with the smallest change of its text: a new recipient alone is an
 * entry at the head of the list under the same data key; whoever goes takes the data key along. What
 * comes out is opened and compared with what went in, before anybody sees it. Throws as `rekeyFile`,
 * and RotationUnsafe.
 */
export async function rewriteFile(
  bytes: Buffer,
  { format, openers, others, edit }: RewriteOptions,
  chance: Chance,
): Promise<RewrittenFile> {
  const come = new Set(edit.add.map(({ recipient }) => recipient));
  const options = {
    format,
    groups: (now: readonly (readonly string[])[]) => groupsAfter(now, edit),
    fresh: come,
    newDataKey: edit.newDataKey,
    witnesses: others,
  };
  const rekey = (identities: readonly Identity[]) =>
    rekeyFile(bytes, { ...options, identities }, chance);
  const { file, groups, inspected } = await rekey(openers).catch((error: unknown) => {
    // Of several key groups the manager may be in one only.
    if (!isCapitanError(error) || error.code !== "SopsKeyMissing") throw error;
    return rekey([...openers, ...others]);
  });
  const named = groups.flat();
  const gone = edit.remove.find((name) => named.includes(name));
  if (gone !== undefined) throw unsafe(edit, `${gone} would still be named in it`);
  const opens = new Set(inspected.opens);
  const held = edit.remove.find((name) => opens.has(name));
  if (held !== undefined) throw unsafe(edit, `${held} would still open it`);
  const coming = others.filter(({ recipient }) => come.has(recipient));
  const lost = coming.find(({ recipient }) => !opens.has(recipient));
  if (lost !== undefined) throw unsafe(edit, `${lost.recipient} would not open it`);
  return { file, inspected };
}

const unsafe = ({ path }: FileEdit, why: string) =>
  new CapitanError("RotationUnsafe", `${path} is not rewritten: ${why}`);
