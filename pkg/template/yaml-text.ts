import { encodeJson, isJsonMap, type Json } from "../json/index.ts";
import { isPlain } from "./scalar.ts";

/** YAML reads a key that is followed by its colon only up to 1,024 characters; a longer one is marked. */
const keyCharsMax = 1000;

/**
 * A value as block-style YAML: keys in order, every line after the first indented by so many blanks,
 * no line break at the end. Strings that are not plainly strings are quoted as in JSON.
 */
export function blockYaml(value: Json, indent: number): string {
  return linesOf(value).join(`\n${" ".repeat(indent)}`);
}

/** A value as YAML on one line, which is JSON: it fits wherever a value fits. */
export function flowYaml(value: Json): string {
  return isCollection(value) ? jsonText(value) : scalarText(value);
}

/** JSON with sorted keys, so that equal values give equal text, and nothing that YAML would change. */
export function jsonText(value: Json): string {
  return encodeJson(sorted(value));
}

/** Whether `blockYaml` needs a line of its own for it. */
export function isCollection(value: Json): boolean {
  return entryCount(value) > 0;
}

function entryCount(value: Json): number {
  if (Array.isArray(value)) return value.length;
  return isJsonMap(value) ? Object.keys(value).length : 0;
}

function linesOf(value: Json): readonly string[] {
  if (!isCollection(value)) return [scalarText(value)];
  if (Array.isArray(value)) {
    return value.flatMap((item: Json) => under("- ", linesOf(item)));
  }
  return sortedEntries(value).flatMap(([key, field]) => {
    const name = scalarText(key);
    const head = name.length > keyCharsMax ? [`? ${name}`, ":"] : [`${name}:`];
    if (isCollection(field)) return [...head, ...linesOf(field).map((line) => `  ${line}`)];
    return [...head.slice(0, -1), `${head.at(-1)} ${scalarText(field)}`];
  });
}

function under(mark: string, [first = "", ...rest]: readonly string[]): readonly string[] {
  return [`${mark}${first}`, ...rest.map((line) => `  ${line}`)];
}

function scalarText(value: Json): string {
  return typeof value === "string" && isPlain(value) ? value : jsonText(value);
}

function sortedEntries(value: Json): readonly (readonly [string, Json])[] {
  if (!isJsonMap(value)) return [];
  return Object.keys(value)
    .sort()
    .map((key) => [key, value[key] ?? null] as const);
}

function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isJsonMap(value)) return value;
  return Object.fromEntries(sortedEntries(value).map(([key, field]) => [key, sorted(field)]));
}
