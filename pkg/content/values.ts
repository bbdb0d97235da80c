import { CapitanError } from "../errors/index.ts";
import { isJsonMap, type JsonMap } from "../json/index.ts";
import { parseYaml } from "../object/index.ts";

/** Reads values from YAML or JSON. An empty text is no values. Throws ValuesInvalid, never with a value. */
export function parseValues(text: string, what: string): JsonMap {
  if (text.trim() === "") return {};
  let value: unknown;
  try {
    value = parseYaml(text, what);
  } catch (error) {
    const why = error instanceof CapitanError ? error.message : `${what}: not valid YAML`;
    throw new CapitanError("ValuesInvalid", why);
  }
  if (value === null) return {};
  if (isJsonMap(value)) return value;
  throw new CapitanError("ValuesInvalid", `${what}: values must be a map`);
}
