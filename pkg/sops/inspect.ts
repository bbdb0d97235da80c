import { createHash } from "node:crypto";
import { Unwraps } from "./data-key.ts";
import { factsOf, type FileRecipients } from "./facts.ts";
import type { Identity } from "./identity.ts";
import { parseMetadata, type AgeEntry, type Metadata } from "./metadata.ts";
import { openSomehow, requireMetadata, type Opened, type OpenOptions } from "./open.ts";
import { combine, sameKey } from "./shamir.ts";
import { readSource } from "./store.ts";

/** Who opens a file: what it says, and what trying says. */
type Openers = FileRecipients & {
  /** The recipients of those identities that give the data key; of several groups, a share of it. */
  readonly opens: readonly string[];
  /** The data key as a digest, to see whether two files have the same; empty when none of the identities gives it. */
  readonly dataKey: string;
  /** Whether every entry opens for whom it names, and so for nobody else: other identities need not be tried. */
  readonly isSettled: boolean;
};

/** What a rotation has to know of a file. */
export type Inspected = Openers & {
  /** Where encrypted values stand: names of keys. */
  readonly values: readonly string[];
  /** What SOPS lets pass and nobody should. Names of keys, never values. */
  readonly findings: readonly string[];
};

/**
 * Verifies every value and the MAC as `verifyFile` does, and tries every identity. Throws as
 * `decryptFile`. With `keysOnly` no value is looked at, `values` and `findings` are empty, and it is no
 * error when nobody opens the file.
 */
export async function inspectFile(
  bytes: Buffer,
  { keysOnly = false, ...options }: OpenOptions & { readonly keysOnly?: boolean },
): Promise<Inspected> {
  if (keysOnly) {
    const metadata = parseMetadata(requireMetadata(readSource(bytes, options.format)));
    const openers = await tried(metadata, options.identities, { unwraps: new Unwraps() });
    return { ...openers, values: [], findings: [] };
  }
  const { opened } = await openSomehow(bytes, options);
  return inspectOpened(opened, options.identities);
}

/** What `inspectFile` tells, of a file that was opened and verified. */
export async function inspectOpened(
  { metadata, dataKey, entries, findings, unwraps }: Opened,
  identities: readonly Identity[],
): Promise<Inspected> {
  const openers = await tried(metadata, identities, { unwraps, dataKey });
  const sealed = entries.filter((entry) => entry.sealed && entry.node.kind === "leaf");
  const values = new Set(sealed.map(({ visit }) => visit.aad.replace(/:$/, "")));
  return { ...openers, values: [...values], findings };
}

async function tried(
  metadata: Metadata,
  identities: readonly Identity[],
  known: { readonly unwraps: Unwraps; readonly dataKey?: Buffer },
): Promise<Openers> {
  const { unwraps } = known;
  const taken = await takenBy(metadata, identities, unwraps);
  const found = identities.map(async (identity) => ({
    recipient: identity.recipient,
    shares: await sharesFor(metadata, identity, { unwraps, taken }),
  }));
  const openers = await Promise.all(found);
  const dataKey =
    known.dataKey ??
    keyFrom(
      metadata,
      openers.map(({ shares }) => shares),
    );
  const isOne = metadata.groups.length === 1;
  const isRight = (share: Buffer | undefined) =>
    share !== undefined && (!isOne || (dataKey !== undefined && sameKey(share, dataKey)));
  const opens = openers.filter(({ shares }) => shares.some(isRight));
  return {
    ...factsOf(metadata),
    opens: [...new Set(opens.map(({ recipient }) => recipient))],
    dataKey: dataKey === undefined ? "" : createHash("sha256").update(dataKey).digest("hex"),
    isSettled: metadata.groups.every(({ age }) => age.every((entry) => taken.has(entry))),
  };
}

/** The entries that open for whom they name: nobody else has to try them. */
async function takenBy(
  { groups }: Metadata,
  identities: readonly Identity[],
  unwraps: Unwraps,
): Promise<ReadonlySet<AgeEntry>> {
  const taken = new Set<AgeEntry>();
  for (const entry of groups.flatMap(({ age }) => age)) {
    const own = identities.filter(({ recipient }) => recipient === entry.recipient);
    if (!unwraps.isForOne(entry.enc)) continue;
    if ((await unwraps.open(entry.enc, own)) !== undefined) taken.add(entry);
  }
  return taken;
}

/** What an identity gets out of each group. A label may be wrong, so every entry is tried that is not another's. */
function sharesFor(
  { groups }: Metadata,
  identity: Identity,
  { unwraps, taken }: { readonly unwraps: Unwraps; readonly taken: ReadonlySet<AgeEntry> },
): Promise<readonly (Buffer | undefined)[]> {
  return Promise.all(
    groups.map(async ({ age }) => {
      const own = age.filter(({ recipient }) => recipient === identity.recipient);
      const others = age.filter(
        (entry) => entry.recipient !== identity.recipient && !taken.has(entry),
      );
      for (const { enc } of [...own, ...others]) {
        const share = await unwraps.open(enc, [identity]);
        if (share !== undefined) return share;
      }
      return undefined;
    }),
  );
}

/** The data key from what all identities got together; of several that differ, the first. */
function keyFrom(
  { groups, threshold }: Metadata,
  found: readonly (readonly (Buffer | undefined)[])[],
): Buffer | undefined {
  const shares = groups.flatMap((_, i) => found.map((each) => each[i]).find(Boolean) ?? []);
  if (groups.length === 1) return shares[0];
  return shares.length >= threshold ? combine(shares) : undefined;
}
