import { createCipheriv, createDecipheriv, createHmac, createSecretKey } from "node:crypto";
import { sameKey } from "./shamir.ts";

const version = "age-encryption.org/v1\n";
/** A header of ours has one stanza; others may add some to hide who may read. */
const stanzasMax = 32;
const headerBytesMax = 256 * 1024;
const nonceBytes = 16;

/** One way to the file key: `-> type args`, then a body. */
export type Stanza = {
  readonly type: string;
  readonly args: readonly string[];
  readonly body: Buffer;
};

export type AgeFile = {
  readonly stanzas: readonly Stanza[];
  /** What the header's MAC covers. */
  readonly header: Buffer;
  readonly mac: Buffer;
  readonly payload: Buffer;
};

/** What HKDF takes for no salt (RFC 5869, 2.2). */
const noSalt = Buffer.alloc(32);

// Node takes key objects three times as fast as bytes.
const hmac = (key: Buffer) => createHmac("sha256", createSecretKey(key));

/** HKDF-SHA-256 (RFC 5869) for one block of output. */
export function hkdf(secret: Buffer, salt: Buffer, info: string): Buffer {
  return hmac(hmac(salt).update(secret).digest()).update(info).update(Buffer.of(1)).digest();
}

/** Reads the header of an age v1 file; undefined when it is not one. age-encryption.org/v1, "Header". */
export function parseAge(file: Buffer): AgeFile | undefined {
  const close = file.indexOf("\n--- ");
  const lineEnd = close < 0 ? -1 : file.indexOf(10, close + 1);
  if (lineEnd < 0 || close > headerBytesMax) return undefined;
  const text = file.toString("latin1", 0, close + 1);
  const mac = raw64(file.toString("latin1", close + 5, lineEnd));
  const stanzas = text.startsWith(version) ? parseStanzas(text.slice(version.length)) : undefined;
  if (stanzas === undefined || mac?.length !== 32) return undefined;
  return { stanzas, header: file.subarray(0, close + 4), mac, payload: file.subarray(lineEnd + 1) };
}

function parseStanzas(text: string): readonly Stanza[] | undefined {
  const stanzas: { type: string; args: string[]; body: string }[] = [];
  for (const line of text.split("\n").slice(0, -1)) {
    const last = stanzas.at(-1);
    if (line.startsWith("-> ")) {
      const [type = "", ...args] = line.slice(3).split(" ");
      stanzas.push({ type, args, body: "" });
    } else if (last === undefined) return undefined;
    else last.body += line;
  }
  if (stanzas.length === 0 || stanzas.length > stanzasMax) return undefined;
  return stanzas.map(({ type, args, body }) => ({
    type,
    args,
    body: raw64(body) ?? Buffer.alloc(0),
  }));
}

/** Base64 without padding, as age writes it; undefined when it is not. */
export function raw64(text: string): Buffer | undefined {
  if (!/^[A-Za-z0-9+/]*$/.test(text) || text.length % 4 === 1) return undefined;
  return Buffer.from(text, "base64");
}

const to64 = (bytes: Buffer) => bytes.toString("base64").replace(/=+$/, "");

const headerMac = (fileKey: Buffer, header: Buffer) =>
  hmac(hkdf(fileKey, noSalt, "header"))
    .update(header)
    .digest();

/** Opens the payload, one chunk, with a file key that fits the header; undefined when it does not fit. */
export function openPayload(
  { header, mac, payload }: AgeFile,
  fileKey: Buffer,
): Buffer | undefined {
  const expected = headerMac(fileKey, header);
  if (!sameKey(expected, mac)) return undefined;
  const key = hkdf(fileKey, payload.subarray(0, nonceBytes), "payload");
  return openChaCha(key, lastChunk, payload.subarray(nonceBytes));
}

/** Writes an age file of one stanza around a short plaintext. */
export function sealAge(
  stanza: Stanza,
  fileKey: Buffer,
  plaintext: Buffer,
  random: (bytes: number) => Buffer,
): Buffer {
  const line = `-> ${[stanza.type, ...stanza.args].join(" ")}\n`;
  const header = Buffer.from(`${version}${line}${to64(stanza.body)}\n---`);
  const mac = headerMac(fileKey, header);
  const nonce = random(nonceBytes);
  const payload = sealChaCha(hkdf(fileKey, nonce, "payload"), lastChunk, plaintext);
  return Buffer.concat([header, Buffer.from(` ${to64(mac)}\n`), nonce, payload]);
}

/** The nonce of the first chunk when it is the last one. */
const lastChunk = Buffer.from("000000000000000000000001", "hex");

/** ChaCha20-Poly1305; undefined when the tag is wrong. */
export function openChaCha(key: Buffer, nonce: Buffer, sealed: Buffer): Buffer | undefined {
  if (sealed.length < 16) return undefined;
  const cipher = createDecipheriv("chacha20-poly1305", createSecretKey(key), nonce, {
    authTagLength: 16,
  });
  cipher.setAuthTag(sealed.subarray(-16));
  const plain = cipher.update(sealed.subarray(0, -16));
  try {
    cipher.final();
    return plain;
  } catch {
    return undefined;
  }
}

/** ChaCha20-Poly1305, the tag behind the text. */
export function sealChaCha(key: Buffer, nonce: Buffer, plain: Buffer): Buffer {
  const cipher = createCipheriv("chacha20-poly1305", createSecretKey(key), nonce, {
    authTagLength: 16,
  });
  const sealed = cipher.update(plain);
  cipher.final();
  return Buffer.concat([sealed, cipher.getAuthTag()]);
}
