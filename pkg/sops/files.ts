import { SopsError } from "./error.ts";
import { factsOf, type FileRecipients } from "./facts.ts";
import { parseMetadata } from "./metadata.ts";
import { openFile, requireMetadata, type OpenOptions } from "./open.ts";
import { readSource, writePlain, type Format, type Layout } from "./store.ts";

/** Reads who can open a file. Throws SopsFileInvalid. */
export function recipientsOf(bytes: Buffer, format: Format): FileRecipients {
  return factsOf(parseMetadata(requireMetadata(readSource(bytes, format))));
}

/** Whether a file has SOPS metadata. What cannot be read is not encrypted. */
export function isEncrypted(bytes: Buffer, format: Format): boolean {
  if (!bytes.includes("sops")) return false;
  try {
    return readSource(bytes, format).metadata !== undefined;
  } catch (error) {
    if (error instanceof SopsError) return false;
    throw error;
  }
}

/** A file in plaintext. */
export type Decrypted = FileRecipients & {
  /** What `sops decrypt` prints. */
  readonly plaintext: Buffer;
  /** What SOPS lets pass and nobody should. Names of keys, never values. */
  readonly findings: readonly string[];
};

/**
 * Decrypts and verifies. `output` is another format to print in. Throws SopsFileInvalid (1, 2, 92),
 * SopsKeyMissing (128), SopsTampered (25, 51), SopsFileTooLarge.
 */
export async function decryptFile(
  bytes: Buffer,
  options: OpenOptions & { readonly layout?: Layout; readonly output?: Format },
): Promise<Decrypted> {
  const { metadata, documents, findings } = await openFile(bytes, options);
  const plaintext = writePlain(documents, options.output ?? options.format, options.layout);
  return { ...factsOf(metadata), plaintext, findings };
}

/**
 * Verifies a file as `decryptFile` does, without making its plaintext. Strict, which is the default,
 * also refuses (SopsTampered, 25) what SOPS lets pass although the MAC does not cover it.
 */
export async function verifyFile(
  bytes: Buffer,
  options: OpenOptions & { readonly strict?: boolean },
): Promise<FileRecipients & { readonly findings: readonly string[] }> {
  const { metadata, findings } = await openFile(bytes, options);
  const [first] = findings;
  if (first !== undefined && options.strict !== false)
    throw new SopsError("SopsTampered", 25, `${first} (sops lets that pass)`);
  return { ...factsOf(metadata), findings };
}
