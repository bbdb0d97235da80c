/** JSON values: reading them with care, writing them the same way every time, hashing them. No I/O. */
export type { Json, JsonMap } from "./value.ts";
export { isJsonMap, asMap, asString, asNumber, asList } from "./value.ts";
export { canonicalJson, encodeJson, parseJson, sha256Hex, hmacHex } from "./text.ts";
export { mergePatch } from "./merge.ts";
