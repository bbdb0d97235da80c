import { isJsonMap, type Json } from "./value.ts";

/**
 * JSON merge patch (RFC 7386): maps merge, null deletes, everything else replaces. Neither argument
 * is changed. A key is never more than a key: `__proto__` too becomes a field like any other.
 */
export function mergePatch(target: Json | undefined, patch: Json): Json {
  if (!isJsonMap(patch)) return patch;
  const merged = new Map(Object.entries(isJsonMap(target) ? target : {}));
  for (const [key, value] of Object.entries(patch)) {
    if (value === undefined) continue;
    if (value === null) merged.delete(key);
    else merged.set(key, mergePatch(merged.get(key), value));
  }
  return Object.fromEntries(merged);
}
