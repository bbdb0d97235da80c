import { CapitanError } from "../errors/index.ts";
import { isJsonMap, mergePatch, type JsonMap } from "../json/index.ts";
import { parseYaml } from "../object/index.ts";

/** Maps and lists inside each other in values. */
const valuesDepthMax = 64;

/**
 * Merges values, later ones win: maps merge, lists replace, null deletes. What is given is not changed.
 * Throws InputInvalid when they are nested too deeply.
 */
export function mergeValues(sources: readonly JsonMap[]): JsonMap {
  return sources.reduce<JsonMap>((merged, source) => {
    const result = mergePatch(merged, checkDepth(source, "values"));
    return isJsonMap(result) ? result : {};
  }, {});
}

/** Reads a file of values: one YAML document, a map; an empty one has none. Throws ManifestInvalid, InputInvalid. */
export function parseValues(text: string, file: string): JsonMap {
  const value = parseYaml(text, file);
  if (value === null) return {};
  if (!isJsonMap(value))
    throw new CapitanError("InputInvalid", `${file}: values are a map of names and values`);
  return checkDepth(value, file);
}

function checkDepth(values: JsonMap, where: string): JsonMap {
  if (isWithin(values, valuesDepthMax)) return values;
  const what = `more than ${valuesDepthMax} maps and lists inside each other`;
  throw new CapitanError("InputInvalid", `${where}: ${what}`);
}

function isWithin(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null) return true;
  return depth > 0 && Object.values(value).every((item) => isWithin(item, depth - 1));
}
