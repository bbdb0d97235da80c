import { sealValue } from "./cipher.ts";
import { wrapKey } from "./data-key.ts";
import { SopsError, tooLarge } from "./error.ts";
import { parseRecipient, type Recipient } from "./identity.ts";
import type { AgeEntry } from "./metadata.ts";
import { macText, newMac } from "./open.ts";
import type { Decider } from "./rules.ts";
import { split } from "./shamir.ts";
import type { Comment, Leaf, MapNode, Value } from "./tree.ts";
import { limits } from "./tree.ts";
import { walk, type Visit } from "./walk.ts";

/** What a pure room cannot have by itself. `random` must be the operating system's. */
export type Chance = { readonly random: (bytes: number) => Buffer; readonly now: () => Date };

/** A time as SOPS writes it: whole seconds, UTC. */
export const timeText = (time: Date): string => `${time.toISOString().slice(0, 19)}Z`;

/** The recipients of each key group, checked. Throws RecipientInvalid, SopsKeyMissing (111). */
export function parseGroups(
  groups: readonly (readonly string[])[],
): readonly (readonly Recipient[])[] {
  const count = groups.reduce((sum, group) => sum + group.length, 0);
  if (count > limits.recipients) throw tooLarge(`more than ${limits.recipients} recipients`);
  if (groups.length === 0 || groups.some((group) => group.length === 0))
    throw new SopsError("RecipientInvalid", 111, "no recipient to encrypt to");
  return groups.map((group) => group.map(parseRecipient));
}

/** Wraps the data key for every recipient; with several groups, a share for each. */
export async function wrapGroups(
  dataKey: Buffer,
  groups: readonly (readonly Recipient[])[],
  threshold: number,
  { random }: Chance,
): Promise<readonly (readonly AgeEntry[])[]> {
  const shares = groups.length === 1 ? [dataKey] : split(dataKey, groups.length, threshold, random);
  return Promise.all(
    groups.map((group, i) =>
      Promise.all(
        group.map(async (recipient) => ({
          recipient: recipient.text,
          enc: await wrapKey(shares[i] ?? dataKey, recipient, random),
        })),
      ),
    ),
  );
}

/** How a value is encrypted: anew, or as it already was. */
export type Sealer = (value: Value, visit: Visit) => string;

/** Encrypts every value under a fresh IV. */
export const freshSealer =
  (dataKey: Buffer, { random }: Chance): Sealer =>
  (value, { aad }) =>
    sealValue(value, dataKey, aad, random);

/** Encrypts plain documents by a rule, and makes their MAC. */
export function sealDocuments(
  documents: readonly MapNode[],
  rule: Decider,
  seal: Sealer,
  macOnlyEncrypted: boolean,
): { readonly documents: readonly MapNode[]; readonly mac: string } {
  const hash = newMac(macOnlyEncrypted);
  const sealed = documents.map((document) =>
    walk(document, rule, (node, visit) => {
      if (node.kind === "leaf" && (visit.encrypted || !macOnlyEncrypted))
        hash.update(node.value.bytes);
      return visit.encrypted ? sealNode(node, visit, seal) : node;
    }),
  );
  return { documents: sealed, mac: macText(hash) };
}

/** A comment in a list becomes an item of it, as with SOPS; one in a map stays a comment. */
function sealNode(node: Leaf | Comment, visit: Visit, seal: Sealer): Leaf | Comment {
  const value: Value = node.kind === "leaf" ? node.value : { type: "comment", bytes: node.bytes };
  const bytes = Buffer.from(
    seal(value.type === "bytes" ? { ...value, type: "str" } : value, visit),
  );
  return { kind: "leaf", value: { type: "str", bytes }, style: "plain" };
}
