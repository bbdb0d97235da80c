import { openPayload, parseAge, sealAge, type AgeFile } from "./age-format.ts";
import { decodeArmor, encodeArmor } from "./armor.ts";
import { tooLarge } from "./error.ts";
import type { Identity, Recipient } from "./identity.ts";
import { limits } from "./tree.ts";
import { unwrapX25519, wrapX25519 } from "./x25519.ts";

/** Encrypts a data key, or a share of one, to a recipient: the text of an `enc` field. */
export async function wrapKey(
  key: Buffer,
  recipient: Recipient,
  random: (bytes: number) => Buffer,
): Promise<string> {
  if (recipient.kind === "hybrid")
    return encodeArmor(Buffer.from(await recipient.encrypter.encrypt(new Uint8Array(key))));
  const fileKey = random(16);
  const stanza = wrapX25519(fileKey, recipient, random);
  return encodeArmor(sealAge(stanza, fileKey, key, random));
}

/** Counts operations, so that a hostile file cannot ask for many. */
export type Budget = { left: number };

export const newBudget = (): Budget => ({ left: limits.unwraps });

/** Opens an `enc` field with one of some identities; undefined when none is right or it is no age file. */
export async function unwrapKey(
  enc: string,
  identities: readonly Identity[],
  budget: Budget,
): Promise<Buffer | undefined> {
  const armored = decodeArmor(enc);
  const file = armored === undefined ? undefined : parseAge(armored);
  if (armored === undefined || file === undefined) return undefined;
  for (const identity of identities) {
    const key =
      identity.kind === "hybrid"
        ? await unwrapHybrid(file, armored, identity, budget)
        : unwrapPlain(file, identity, budget);
    if (key !== undefined) return key;
  }
  return undefined;
}

type IdentityOf<K> = Extract<Identity, { readonly kind: K }>;

function unwrapPlain(file: AgeFile, identity: IdentityOf<"x25519">, budget: Budget) {
  for (const stanza of file.stanzas) {
    if (stanza.type !== "X25519") continue;
    spend(budget);
    const fileKey = unwrapX25519(stanza, identity);
    const key = fileKey === undefined ? undefined : openPayload(file, fileKey);
    if (key !== undefined) return key;
  }
  return undefined;
}

async function unwrapHybrid(
  file: AgeFile,
  armored: Buffer,
  { decrypter }: IdentityOf<"hybrid">,
  budget: Budget,
): Promise<Buffer | undefined> {
  if (!file.stanzas.some(({ type }) => type === "mlkem768x25519")) return undefined;
  spend(budget);
  return openHybrid(decrypter, armored);
}

function spend(budget: Budget): void {
  if (budget.left-- <= 0)
    throw tooLarge(`more than ${limits.unwraps} attempts to open the data key`);
}

async function openHybrid(
  decrypter: { decrypt(file: Uint8Array): Promise<Uint8Array> },
  file: Buffer,
): Promise<Buffer | undefined> {
  try {
    return Buffer.from(await decrypter.decrypt(new Uint8Array(file)));
  } catch {
    // For somebody else; the library says it by throwing.
    return undefined;
  }
}
