import { createCipheriv, createDecipheriv, createSecretKey } from "node:crypto";
import { SopsError } from "./error.ts";
import type { Value } from "./tree.ts";
import { readValue } from "./value.ts";

const ivBytes = 32;
const tagBytes = 16;
/** GCM takes any length; sops writes 32 bytes, and cannot rewrite others. */
const ivBytesMax = 64;

// Each class stops at the next comma, so that a long hostile text costs one look at each character.
const envelope =
  /^ENC\[AES256_GCM,data:([A-Za-z0-9+/=]+),iv:([A-Za-z0-9+/=]+),tag:([A-Za-z0-9+/=]+),type:([a-z]+)\]/;
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** What one encrypted value consists of. `rest` is what follows the bracket, which sops ignores. */
export type Envelope = {
  readonly data: Buffer;
  readonly iv: Buffer;
  readonly tag: Buffer;
  readonly type: string;
  readonly rest: string;
};

/** Whether a text looks like an encrypted value. */
export const looksEncrypted = (text: string): boolean => text.startsWith("ENC[AES256_GCM,");

/** Reads `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`; undefined when it is not one. */
export function parseEnvelope(text: string): Envelope | undefined {
  const match = envelope.exec(text);
  if (match === null) return undefined;
  const [whole, data = "", iv = "", tag = "", type = ""] = match;
  if (![data, iv, tag].every((part) => base64.test(part))) return undefined;
  return {
    data: Buffer.from(data, "base64"),
    iv: Buffer.from(iv, "base64"),
    tag: Buffer.from(tag, "base64"),
    type,
    rest: text.slice(whole.length),
  };
}

/**
 * Opens an encrypted value. `aad` is its path as SOPS writes it, or lastmodified for the MAC.
 * Throws SopsTampered (25) when key, path or bytes are not those it was made with.
 */
export function openValue(text: string, key: Buffer, aad: string): Value {
  const parsed = parseEnvelope(text);
  if (parsed === undefined) throw failed("is not an encrypted value");
  const plain = openEnvelope(parsed, key, aad);
  if (plain === undefined) throw failed("does not open at this place");
  return readValue(parsed.type, plain);
}

const failed = (why: string) => new SopsError("SopsTampered", 25, why);

/** The plaintext, or undefined when the tag is wrong. Node takes key objects three times as fast as bytes. */
function openEnvelope({ data, iv, tag }: Envelope, key: Buffer, aad: string): Buffer | undefined {
  if (tag.length !== tagBytes || iv.length > ivBytesMax) return undefined;
  const cipher = createDecipheriv("aes-256-gcm", createSecretKey(key), iv, {
    authTagLength: tagBytes,
  });
  cipher.setAAD(Buffer.from(aad));
  cipher.setAuthTag(tag);
  const plain = cipher.update(data);
  try {
    cipher.final();
    return plain;
  } catch {
    plain.fill(0);
    return undefined;
  }
}

/** Encrypts a value for its path under a fresh IV. An empty text stays empty, as in sops. */
export function sealValue(
  { type, bytes }: Value,
  key: Buffer,
  aad: string,
  random: (bytes: number) => Buffer,
): string {
  if (bytes.length === 0) return "";
  const iv = random(ivBytes);
  const cipher = createCipheriv("aes-256-gcm", createSecretKey(key), iv, {
    authTagLength: tagBytes,
  });
  cipher.setAAD(Buffer.from(aad));
  const data = cipher.update(bytes);
  cipher.final();
  const parts = [data, iv, cipher.getAuthTag()].map((part) => part.toString("base64"));
  return `ENC[AES256_GCM,data:${parts[0]},iv:${parts[1]},tag:${parts[2]},type:${type}]`;
}
