import { createHash } from "node:crypto";
import { newBudget, unwrapKey, type Budget } from "./data-key.ts";
import { factsOf, type FileRecipients } from "./facts.ts";
import type { Identity } from "./identity.ts";
import { parseMetadata, type Metadata } from "./metadata.ts";
import { openSomehow, requireMetadata, type OpenOptions } from "./open.ts";
import { combine, sameKey } from "./shamir.ts";
import { readSource } from "./store.ts";

/** Who opens a file: what it says, and what trying says. */
type Openers = FileRecipients & {
  /** The recipients of those identities that give the data key; of several groups, a share of it. */
  readonly opens: readonly string[];
  /** The data key as a digest, to see whether two files have the same; empty when none of the identities gives it. */
  readonly dataKey: string;
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
    const openers = await tried(metadata, options.identities, undefined);
    return { ...openers, values: [], findings: [] };
  }
  const { opened } = await openSomehow(bytes, options);
  const { metadata, dataKey, entries, findings } = opened;
  const openers = await tried(metadata, options.identities, dataKey);
  const sealed = entries.filter((entry) => entry.sealed && entry.node.kind === "leaf");
  const values = new Set(sealed.map(({ visit }) => visit.aad.replace(/:$/, "")));
  return { ...openers, values: [...values], findings };
}

async function tried(
  metadata: Metadata,
  identities: readonly Identity[],
  known: Buffer | undefined,
): Promise<Openers> {
  const budget = newBudget();
  const found = identities.map(async (identity) => ({
    recipient: identity.recipient,
    shares: await sharesFor(metadata, identity, budget),
  }));
  const openers = await Promise.all(found);
  const dataKey =
    known ??
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
  };
}

/** What an identity gets out of each group. A label may be wrong, so every entry is tried. */
function sharesFor(
  { groups }: Metadata,
  identity: Identity,
  budget: Budget,
): Promise<readonly (Buffer | undefined)[]> {
  return Promise.all(
    groups.map(async ({ age }) => {
      const own = age.filter(({ recipient }) => recipient === identity.recipient);
      const others = age.filter(({ recipient }) => recipient !== identity.recipient);
      for (const { enc } of [...own, ...others]) {
        const share = await unwrapKey(enc, [identity], budget);
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
