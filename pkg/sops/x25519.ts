import { createPrivateKey, createPublicKey, diffieHellman, type KeyObject } from "node:crypto";
import { hkdf, openChaCha, raw64, sealChaCha, type Stanza } from "./age-format.ts";

const pkcs8 = Buffer.from("302e020100300506032b656e04220420", "hex");
const spki = Buffer.from("302a300506032b656e032100", "hex");
const zeroNonce = Buffer.alloc(12);
const info = "age-encryption.org/v1/X25519";

/** A private key from its 32 bytes. */
export const privateKeyOf = (bytes: Buffer): KeyObject =>
  createPrivateKey({ key: Buffer.concat([pkcs8, bytes]), format: "der", type: "pkcs8" });

/** A public key from its 32 bytes. */
export const publicKeyOf = (bytes: Buffer): KeyObject =>
  createPublicKey({ key: Buffer.concat([spki, bytes]), format: "der", type: "spki" });

/** The 32 bytes of the public key that belongs to a private key. As JWK it comes ten times as fast as DER. */
export const publicBytesOf = (key: KeyObject): Buffer =>
  Buffer.from(createPublicKey(key).export({ format: "jwk" }).x ?? "", "base64url");

/** Wraps a file key for a recipient. age-encryption.org/v1, "The X25519 recipient type". */
export function wrapX25519(
  fileKey: Buffer,
  recipient: { readonly bytes: Buffer; readonly key: KeyObject },
  random: (bytes: number) => Buffer,
): Stanza {
  const ephemeral = privateKeyOf(random(32));
  const share = publicBytesOf(ephemeral);
  const secret = diffieHellman({ privateKey: ephemeral, publicKey: recipient.key });
  const key = hkdf(secret, Buffer.concat([share, recipient.bytes]), info);
  const body = sealChaCha(key, zeroNonce, fileKey);
  return { type: "X25519", args: [share.toString("base64").replace(/=+$/, "")], body };
}

/** The file key, or undefined when the stanza is for somebody else. */
export function unwrapX25519(
  { args, body }: Stanza,
  identity: { readonly bytes: Buffer; readonly key: KeyObject },
): Buffer | undefined {
  const share = raw64(args[0] ?? "");
  if (args.length !== 1 || share?.length !== 32 || body.length !== 32) return undefined;
  const secret = sharedSecret(identity.key, share);
  if (secret === undefined) return undefined;
  return openChaCha(hkdf(secret, Buffer.concat([share, identity.bytes]), info), zeroNonce, body);
}

/** OpenSSL refuses points of low order, whose secret everybody knows. */
function sharedSecret(privateKey: KeyObject, share: Buffer): Buffer | undefined {
  try {
    return diffieHellman({ privateKey, publicKey: publicKeyOf(share) });
  } catch {
    return undefined;
  }
}
