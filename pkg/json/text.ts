import { createHash, createHmac } from "node:crypto";
import type { Json } from "./value.ts";

/** JSON with sorted keys and without undefined fields: equal values give equal text. */
export function canonicalJson(value: unknown): string {
  return stringify(sortKeys(value));
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== "object" || value === null) return value;
  const sorted: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  const map = value as Record<string, unknown>;
  for (const key of Object.keys(map).sort()) sorted[key] = sortKeys(map[key]);
  return sorted;
}

/**
 * A request body for server-side apply, which the API server parses as YAML: characters that YAML
 * changes or refuses raw (U+007F–U+009F, U+2028/9, U+FEFF, U+FFFE, U+FFFF) go as `\uXXXX`.
 */
export function encodeJson(value: unknown): string {
  return stringify(value).replace(unsafeInYaml, escape);
}

const unsafeInYaml = /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g;
const escape = (c: string) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** ECMAScript's `JSON.rawJSON`, which the type library does not know yet. */
const rawJson = JSON as unknown as { readonly rawJSON: (text: string) => unknown };

function stringify(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    // A bigint somewhere: a replacer makes it several times as slow, and almost no value needs one.
    if (!(error instanceof TypeError)) throw error;
    return JSON.stringify(value, (_, v: unknown) =>
      typeof v === "bigint" ? rawJson.rawJSON(v.toString()) : v,
    );
  }
}

type Source = { readonly source?: string };
type Reviver = (this: unknown, key: string, value: unknown, context: Source) => unknown;
const integer = /^-?\d+$/;
/** Every integer beyond the safe range has as many digits. */
const longInteger = /\d{16}/;

/** Parses JSON; integers beyond the safe range become bigint instead of losing digits. Throws SyntaxError. */
export function parseJson(text: string): Json {
  // A reviver makes parsing four times as slow, and almost no text needs one.
  if (!longInteger.test(text)) return JSON.parse(text) as Json;
  const exact: Reviver = (_key, value, { source }) => {
    if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
    return source !== undefined && integer.test(source) ? BigInt(source) : value;
  };
  return JSON.parse(text, exact as (key: string, value: unknown) => unknown) as Json;
}

/** Lower-case hex SHA-256 of text or bytes. */
export function sha256Hex(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

/** Lower-case hex HMAC-SHA-256. For digests over secret content that others may see. */
export function hmacHex(key: Uint8Array, data: string): string {
  return createHmac("sha256", key).update(data).digest("hex");
}
