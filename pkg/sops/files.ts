import { SopsError } from "./error.ts";
import { parseMetadata, type Metadata } from "./metadata.ts";
import { openFile, requireMetadata, type OpenOptions } from "./open.ts";
import type { Rule } from "./rules.ts";
import { readSource, writePlain, type Format, type Layout } from "./store.ts";

/** Who can open a file, read without a key. Labels: only opening proves them. */
export type FileRecipients = {
  readonly groups: readonly (readonly string[])[];
  /** Groups that are needed. */
  readonly threshold: number;
  /** Kinds of recipients that are no age. */
  readonly foreign: readonly string[];
  readonly rule: Rule;
  readonly macOnlyEncrypted: boolean;
  readonly lastModified: string;
  readonly version: string;
};

/** Reads who can open a file. Throws SopsFileInvalid. */
export function recipientsOf(bytes: Buffer, format: Format): FileRecipients {
  return facts(parseMetadata(requireMetadata(readSource(bytes, format))));
}

/** What metadata say, for others. */
export function facts(metadata: Metadata): FileRecipients {
  const { groups, threshold, rule, macOnlyEncrypted, lastModified, version } = metadata;
  return {
    groups: groups.map(({ age }) => age.map(({ recipient }) => recipient)),
    threshold,
    foreign: [...new Set(groups.flatMap(({ foreign }) => foreign))],
    rule,
    macOnlyEncrypted,
    lastModified,
    version,
  };
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
  return { ...facts(metadata), plaintext, findings };
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
  return { ...facts(metadata), findings };
}
