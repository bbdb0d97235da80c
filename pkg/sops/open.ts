import { createHash, type Hash } from "node:crypto";
import { isCapitanError } from "../errors/index.ts";
import { looksEncrypted, openValue, parseEnvelope } from "./cipher.ts";
import { Unwraps } from "./data-key.ts";
import { badMetadata, quoted, SopsError } from "./error.ts";
import type { Identity } from "./identity.ts";
import { parseMetadata, type AgeEntry, type Metadata } from "./metadata.ts";
import { compileRule, type Decider } from "./rules.ts";
import { combine, sameKey } from "./shamir.ts";
import { readSource, type Format, type Source } from "./store.ts";
import type { Comment, Leaf, MapNode, Value } from "./tree.ts";
import { walk, type Visit } from "./walk.ts";

/** One value or comment as it was found, and what it means. */
export type Entry = {
  readonly node: Leaf | Comment;
  readonly visit: Visit;
  readonly value: Value;
  /** Whether it was encrypted where it stood. */
  readonly sealed: boolean;
};

/** A file that was opened, with every value and the MAC verified. */
export type Opened = {
  readonly source: Source;
  readonly metadataMap: MapNode;
  readonly metadata: Metadata;
  readonly rule: Decider;
  readonly dataKey: Buffer;
  /** The MAC, verified. */
  readonly mac: Value;
  /** In the order of the file, which is also the order of the documents. */
  readonly entries: readonly Entry[];
  /** The plaintext. */
  readonly documents: readonly MapNode[];
  /** What SOPS lets pass and nobody should. Names of keys, never values. */
  readonly findings: readonly string[];
  /** What trying identities has told. */
  readonly unwraps: Unwraps;
};

export type OpenOptions = { readonly format: Format; readonly identities: readonly Identity[] };

/**
 * Opens an encrypted file: data key, every value for its path, MAC. Throws SopsFileInvalid (1, 2),
 * SopsKeyMissing (128), SopsTampered (25, 51), SopsFileTooLarge.
 */
export async function openFile(bytes: Buffer, options: OpenOptions): Promise<Opened> {
  const source = readSource(bytes, options.format);
  const metadataMap = requireMetadata(source);
  const metadata = parseMetadata(metadataMap);
  const rule = compileRule(metadata.rule);
  const unwraps = new Unwraps();
  const dataKey = await dataKeyOf(metadata, options.identities, unwraps);
  const content = openContent(source, metadata, rule, dataKey);
  checkMac(content.mac, metadata, dataKey);
  const findings = [
    ...content.entries.flatMap(findingsOf),
    ...(await keyFindings(metadata, { identities: options.identities, dataKey, unwraps })),
    ...source.repeats.flatMap((same, i) =>
      same ? [] : [`document ${i + 2} has other metadata than the first one`],
    ),
  ];
  const { entries, documents } = content;
  const mac: Value = { type: "str", bytes: Buffer.from(content.mac) };
  return {
    source,
    metadataMap,
    metadata,
    rule,
    dataKey,
    mac,
    entries,
    documents,
    findings,
    unwraps,
  };
}

/**
 * Opens a file with all identities, or else with the first that opens it alone: after a bad merge one
 * entry gives another data key than the rest. Throws as `openFile`.
 */
export async function openSomehow(
  bytes: Buffer,
  { format, identities }: OpenOptions,
): Promise<{ readonly opened: Opened; readonly openedWith: readonly Identity[] }> {
  try {
    return { opened: await openFile(bytes, { format, identities }), openedWith: identities };
  } catch (error) {
    if (!(error instanceof SopsError) || error.code !== "SopsTampered") throw error;
    for (const identity of identities) {
      const openedWith = [identity];
      const opened = await openFile(bytes, { format, identities: openedWith }).catch(orNothing);
      if (opened !== undefined) return { opened, openedWith };
    }
    throw error;
  }
}

/** An identity that does not open the file is passed over. */
function orNothing(error: unknown): undefined {
  if (!(error instanceof SopsError)) throw error;
}

/** The metadata of a file. Throws SopsFileInvalid (1) when it is not encrypted. */
export function requireMetadata({ metadata }: Source): MapNode {
  if (metadata === undefined) throw badMetadata("the file is not encrypted with SOPS");
  return metadata;
}

/** The data key of a file. Throws SopsKeyMissing (128). */
async function dataKeyOf(
  { groups, threshold }: Metadata,
  identities: readonly Identity[],
  unwraps: Unwraps,
): Promise<Buffer> {
  const shares: Buffer[] = [];
  for (const group of groups) {
    const share = await shareOf(group.age, identities, unwraps);
    if (share !== undefined) shares.push(share);
  }
  if (shares.length < threshold) throw keyMissing(groups.length, shares.length, threshold);
  const key = groups.length === 1 ? shares[0] : combine(shares);
  if (key?.length !== 32) throw new SopsError("SopsTampered", 128, "the data key has not 32 bytes");
  return key;
}

const keyMissing = (groups: number, opened: number, threshold: number) =>
  new SopsError(
    "SopsKeyMissing",
    128,
    groups === 1
      ? "none of the identities opens the data key"
      : `the identities open ${opened} of ${groups} key groups, ${threshold} are needed`,
  );

/** Entries that name one of our recipients come first; a label may be wrong, so the others follow. */
async function shareOf(
  entries: readonly AgeEntry[],
  identities: readonly Identity[],
  unwraps: Unwraps,
): Promise<Buffer | undefined> {
  const own = new Map(identities.map((identity) => [identity.recipient, identity]));
  for (const { recipient, enc } of entries) {
    const identity = own.get(recipient);
    const key = identity === undefined ? undefined : await unwraps.open(enc, [identity]);
    if (key !== undefined) return key;
  }
  for (const { enc } of entries) {
    const key = await unwraps.open(enc, identities);
    if (key !== undefined) return key;
  }
  return undefined;
}

type Content = {
  readonly entries: readonly Entry[];
  readonly documents: readonly MapNode[];
  readonly mac: string;
};

function openContent(source: Source, metadata: Metadata, rule: Decider, dataKey: Buffer): Content {
  const hash = newMac(metadata.macOnlyEncrypted);
  const entries: Entry[] = [];
  const documents = source.documents.map((document) =>
    walk(document, rule, (node, visit) => {
      const entry = openEntry(node, visit, dataKey);
      entries.push(entry);
      if (visit.encrypted || !metadata.macOnlyEncrypted) addToMac(hash, entry);
      return plainNode(entry);
    }),
  );
  return { entries, documents, mac: macText(hash) };
}

/** SHA-512 over all values; one over encrypted values only begins differently (SHA-256 of "sops"). */
export function newMac(onlyEncrypted: boolean): Hash {
  const hash = createHash("sha512");
  return onlyEncrypted ? hash.update(createHash("sha256").update("sops").digest()) : hash;
}

/** Comments are in no MAC, whatever place they have. */
function addToMac(hash: Hash, { value }: Entry): void {
  if (value.type !== "comment") hash.update(value.bytes);
}

/** The MAC as SOPS encrypts it. */
export const macText = (hash: Hash): string => hash.digest("hex").toUpperCase();

function openEntry(node: Leaf | Comment, visit: Visit, key: Buffer): Entry {
  const cleartext = { node, visit, value: valueOf(node), sealed: false };
  if (!visit.encrypted || cleartext.value.bytes.length === 0) return cleartext;
  if (node.kind === "comment") {
    const value = openComment(node, key, visit.aad);
    return value === undefined ? cleartext : { node, visit, value, sealed: true };
  }
  if (node.value.type !== "str")
    throw atPath(visit, "is in cleartext where the rule wants it encrypted");
  try {
    const value = openValue(node.value.bytes.toString(), key, visit.aad);
    return { node, visit, value, sealed: true };
  } catch (error) {
    if (error instanceof SopsError) throw atPath(visit, error.message);
    throw error;
  }
}

const valueOf = (node: Leaf | Comment): Value =>
  node.kind === "leaf" ? node.value : { type: "comment", bytes: node.bytes };

const atPath = ({ aad }: Visit, why: string) =>
  new SopsError("SopsTampered", 25, `the value under ${quoted(aad)} ${why}`);

/** A comment that does not open was not encrypted, or by somebody else: SOPS only warns. */
function openComment(node: Comment, key: Buffer, aad: string): Value | undefined {
  const text = node.bytes.toString();
  if (!looksEncrypted(text)) return undefined;
  try {
    return openValue(text, key, aad);
  } catch (error) {
    if (isCapitanError(error)) return undefined;
    throw error;
  }
}

/** What takes the place of a node in the plaintext. As with SOPS, no decrypted comment is inline any more. */
function plainNode({ node, value, sealed }: Entry): Leaf | Comment {
  if (!sealed) return node;
  if (value.type === "comment") return { kind: "comment", bytes: value.bytes, inline: false };
  return { kind: "leaf", value, style: "plain" };
}

function checkMac(computed: string, { mac, lastModified }: Metadata, key: Buffer): void {
  const mismatch = (why: string) => new SopsError("SopsTampered", 51, why);
  if (mac === "") throw mismatch("the file has no MAC");
  let stored: Value;
  try {
    stored = openValue(mac, key, lastModified);
  } catch (error) {
    if (error instanceof SopsError)
      throw mismatch("the MAC does not open: it, lastmodified or the key is another");
    throw error;
  }
  if (!sameKey(Buffer.from(computed), stored.bytes) || stored.type !== "str")
    throw mismatch("the MAC is of other values");
}

function findingsOf(entry: Entry): readonly string[] {
  const { node, visit } = entry;
  const text = node.kind === "comment" ? node.bytes : node.value.bytes;
  const where = `under ${quoted(visit.aad)}`;
  if (looksEncrypted(text.toString("latin1", 0, 20)))
    return entry.sealed
      ? envelopeFindings(text, where)
      : [`a value or comment ${where} is encrypted and does not open here`];
  const isBare = node.kind === "comment" && visit.encrypted && text.length > 0;
  return isBare ? [`a comment ${where} is in cleartext`] : [];
}

function envelopeFindings(text: Buffer, where: string): readonly string[] {
  const parsed = parseEnvelope(text.toString());
  if (parsed === undefined) return [];
  return [
    ...(parsed.rest.trim() === "" ? [] : [`text follows the value ${where}`]),
    ...(parsed.iv.length === 32 ? [] : [`the value ${where} has an IV that sops cannot write`]),
  ];
}

/** Entries that name a recipient of ours must open with its identity, and give the same key. */
async function keyFindings(
  { groups }: Metadata,
  held: {
    readonly identities: readonly Identity[];
    readonly dataKey: Buffer;
    readonly unwraps: Unwraps;
  },
): Promise<readonly string[]> {
  // Shares differ from group to group, so only one group can be compared with the key itself.
  const entries = groups.length === 1 ? (groups[0]?.age ?? []) : [];
  const named = entries.filter(({ recipient }) =>
    held.identities.some((identity) => identity.recipient === recipient),
  );
  if (named.length < 2) return [];
  const findings: string[] = [];
  for (const { recipient, enc } of named) {
    const own = held.identities.filter((identity) => identity.recipient === recipient);
    const key = await held.unwraps.open(enc, own);
    if (key === undefined || !sameKey(key, held.dataKey))
      findings.push(`the entry of ${recipient} does not give the data key`);
  }
  return findings;
}
