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

type Enc = { readonly armored: Buffer; readonly file: AgeFile };

/**
 * Opens the `enc` fields of one file, each with each identity once. Counts operations, so that a hostile
 * file cannot ask for many.
 */
export class Unwraps {
  readonly #read = new Map<string, Enc | undefined>();
  readonly #keys = new Map<string, Map<Identity, Buffer | undefined>>();
  #left = limits.unwraps;

  /** The data key, or a share of it, by the first identity that gives one; undefined when none is right or it is no age file. */
  async open(enc: string, identities: readonly Identity[]): Promise<Buffer | undefined> {
    const read = this.#readOf(enc);
    if (read === undefined) return undefined;
    const known = this.#keys.get(enc) ?? new Map<Identity, Buffer | undefined>();
    this.#keys.set(enc, known);
    for (const identity of identities) {
      if (!known.has(identity)) known.set(identity, await this.#unwrap(read, identity));
      const key = known.get(identity);
      if (key !== undefined) return key;
    }
    return undefined;
  }

  /** Whether there is one way only into an `enc` field: whom it opens for, it opens for nobody else. */
  isForOne(enc: string): boolean {
    return this.#readOf(enc)?.file.stanzas.length === 1;
  }

  #readOf(enc: string): Enc | undefined {
    if (this.#read.has(enc)) return this.#read.get(enc);
    const armored = decodeArmor(enc);
    const file = armored === undefined ? undefined : parseAge(armored);
    const read = armored === undefined || file === undefined ? undefined : { armored, file };
    this.#read.set(enc, read);
    return read;
  }

  async #unwrap({ armored, file }: Enc, identity: Identity): Promise<Buffer | undefined> {
    if (identity.kind === "x25519") return this.#unwrapPlain(file, identity);
    if (!file.stanzas.some(({ type }) => type === "mlkem768x25519")) return undefined;
    this.#spend();
    return openHybrid(identity.decrypter, armored);
  }

  #unwrapPlain(file: AgeFile, identity: IdentityOf<"x25519">): Buffer | undefined {
    for (const stanza of file.stanzas) {
      if (stanza.type !== "X25519") continue;
      this.#spend();
      const fileKey = unwrapX25519(stanza, identity);
      const key = fileKey === undefined ? undefined : openPayload(file, fileKey);
      if (key !== undefined) return key;
    }
    return undefined;
  }

  #spend(): void {
    if (this.#left-- <= 0)
      throw tooLarge(`more than ${limits.unwraps} attempts to open the data key`);
  }
}

type IdentityOf<K> = Extract<Identity, { readonly kind: K }>;

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
