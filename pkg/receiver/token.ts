import { asMap, asString, sha256Hex } from "../json/index.ts";
import type { KubeObject } from "../object/index.ts";

/** What proves a delivery, or what is wrong with its Secret. */
export type Token =
  | { readonly kind: "good"; readonly token: string }
  | { readonly kind: "bad"; readonly why: string };

/** Shorter ones can be found by trying, and the path of a Receiver is a hash over its token. */
const tokenBytesMin = 16;

/** The token of a Secret; its value is in no message. */
export function tokenOf(secret: KubeObject): Token {
  const encoded = asString(asMap(secret["data"])["token"]);
  if (encoded === undefined) return bad("has no key token");
  const bytes = Buffer.from(encoded, "base64");
  const token = bytes.toString("utf8");
  if (!Buffer.from(token, "utf8").equals(bytes)) return bad("has a token that is no text");
  if (token.trim() !== token) return bad("has a token with white space at an end");
  if (bytes.length < tokenBytesMin)
    return bad(`has a token of ${bytes.length} bytes; ${tokenBytesMin} are the least`);
  return { kind: "good", token };
}

const bad = (why: string): Token => ({ kind: "bad", why });

/** Where deliveries for a Receiver go; Flux's formula, so that hooks made for Flux fit. */
export function webhookPath(
  token: string,
  { name, namespace }: { readonly name: string; readonly namespace: string },
): string {
  return `/hook/${sha256Hex(`${token}${name}${namespace}`)}`;
}
