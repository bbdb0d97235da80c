import { Decrypter, Encrypter, generateHybridIdentity, identityToRecipient } from "age-encryption";
import type { KeyObject } from "node:crypto";
import { decodeBech32, encodeBech32 } from "./bech32.ts";
import { quoted, SopsError } from "./error.ts";
import { limits } from "./tree.ts";
import { privateKeyOf, publicBytesOf, publicKeyOf } from "./x25519.ts";

/** A private key. `recipient` is the public one, which may be shown. */
export type Identity =
  | {
      readonly kind: "x25519";
      readonly recipient: string;
      readonly bytes: Buffer;
      readonly key: KeyObject;
    }
  | { readonly kind: "hybrid"; readonly recipient: string; readonly decrypter: Decrypter };

/** A public key that something can be encrypted to. */
export type Recipient =
  | {
      readonly kind: "x25519";
      readonly text: string;
      readonly bytes: Buffer;
      readonly key: KeyObject;
    }
  | { readonly kind: "hybrid"; readonly text: string; readonly encrypter: Encrypter };

const secretPrefix = "age-secret-key-";
const hybridSecretPrefix = "age-secret-key-pq-";

/**
 * Reads a recipient, `age1…` or `age1pq1…`. Throws RecipientInvalid (1) for every other text: names
 * of plugins too, which would choose a program to run (S8).
 */
export function parseRecipient(text: string): Recipient {
  const bytes = decodeBech32(text, "age");
  if (bytes?.length === 32) return { kind: "x25519", text, bytes, key: publicKeyOf(bytes) };
  if (decodeBech32(text, "age1pq") !== undefined) {
    const encrypter = new Encrypter();
    try {
      encrypter.addRecipient(text);
      return { kind: "hybrid", text, encrypter };
    } catch {
      throw recipientError(text, "is no key of that kind");
    }
  }
  if (/^age1[^1]*1/.test(text)) throw recipientError(text, "is of an age plugin: none is run");
  throw recipientError(text, "is no age recipient");
}

const recipientError = (text: string, why: string) =>
  new SopsError("RecipientInvalid", 1, `${quoted(text)} ${why}`);

/**
 * Reads a file of identities as age and Flux do: one a line, lines that start with # and empty lines
 * between. One bad line spoils all of it there, so it does here. `where` names the file.
 * Throws IdentityInvalid (128) with the line's number, never with its text.
 */
export async function parseIdentities(file: string, where: string): Promise<readonly Identity[]> {
  const lines = file.split("\n").map((line) => line.replace(/\r$/, ""));
  const identities: Identity[] = [];
  for (const [index, line] of lines.entries()) {
    if (line === "" || line.startsWith("#")) continue;
    if (identities.length >= limits.identities)
      throw identityError(`${where}: more than ${limits.identities} identities`);
    identities.push(await parseIdentity(line, `${where}:${index + 1}`));
  }
  if (identities.length === 0) throw identityError(`${where}: no identity in it`);
  return identities;
}

const identityError = (message: string) => new SopsError("IdentityInvalid", 128, message);

async function parseIdentity(line: string, where: string): Promise<Identity> {
  if (line.trim() !== line) throw identityError(`${where}: blanks around the identity`);
  if (line.startsWith("age1")) throw identityError(`${where}: a recipient, not an identity`);
  if (line.toUpperCase() !== line) throw identityError(`${where}: an identity is in upper case`);
  const lower = line.toLowerCase();
  const bytes = decodeBech32(lower, secretPrefix);
  if (bytes?.length === 32) {
    const key = privateKeyOf(bytes);
    const publicBytes = publicBytesOf(key);
    const recipient = encodeBech32("age", publicBytes);
    return { kind: "x25519", recipient, bytes: publicBytes, key };
  }
  if (decodeBech32(lower, hybridSecretPrefix) === undefined)
    throw identityError(`${where}: not an age identity, or a character of it is wrong`);
  return hybridIdentity(line, where);
}

/** The library's own messages quote the key, so they go no further. */
async function hybridIdentity(line: string, where: string): Promise<Identity> {
  try {
    const decrypter = new Decrypter();
    decrypter.addIdentity(line);
    return { kind: "hybrid", recipient: await identityToRecipient(line), decrypter };
  } catch {
    throw identityError(`${where}: not a post-quantum age identity`);
  }
}

/** A new identity as text, to be stored before it is used, and its recipient. */
export type NewIdentity = { readonly identity: string; readonly recipient: string };

/** Makes an X25519 identity. `random` must be the operating system's. */
export function generateIdentity(random: (bytes: number) => Buffer): NewIdentity {
  const secret = random(32);
  const recipient = encodeBech32("age", publicBytesOf(privateKeyOf(secret)));
  return { identity: encodeBech32(secretPrefix, secret).toUpperCase(), recipient };
}

/** Makes an identity of either kind. Of a post-quantum one the library takes its own randomness from the operating system. */
export async function newIdentity(
  isPostQuantum: boolean,
  random: (bytes: number) => Buffer,
): Promise<NewIdentity> {
  if (!isPostQuantum) return generateIdentity(random);
  const identity = await generateHybridIdentity();
  return { identity, recipient: await identityToRecipient(identity) };
}
