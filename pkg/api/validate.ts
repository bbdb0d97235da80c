import { RE2JS } from "re2js";
import { asList, asMap, asNumber, asString, isJsonMap } from "../json/index.ts";

type Schema = Readonly<Record<string, unknown>>;

/** What an API server would refuse: where, as a path, and why. Never holds the value itself. */
export type SchemaProblem = { readonly path: string; readonly what: string };

/**
 * Everything in which a value differs from a structural schema, CEL rules aside, unknown names
 * included. Patterns are RE2's. Throws SyntaxError for a pattern that is none.
 */
export function problemsIn(schema: Schema, value: unknown, path = ""): readonly SchemaProblem[] {
  const type = asString(schema["type"]);
  if (type === undefined) return [];
  const wrong = (what: string): SchemaProblem => ({ path, what });
  if (!isOfType(value, type)) return [wrong(`must be ${named[type] ?? "another"}`)];
  const words = asList(schema["enum"]);
  if (words.length > 0 && !words.includes(value))
    return [wrong(`must be one of ${words.map(String).join(", ")}`)];
  if (isJsonMap(value)) return problemsInMap(schema, value, path);
  if (Array.isArray(value)) return problemsInList(schema, value, path);
  const limited = typeof value === "string" ? wrongText(schema, value) : wrongNumber(schema, value);
  return limited.map(wrong);
}

const named: Readonly<Record<string, string>> = {
  string: "a string",
  integer: "a whole number",
  number: "a number",
  boolean: "true or false",
  array: "a list",
  object: "a map",
};

function isOfType(value: unknown, type: string): boolean {
  if (type === "object") return isJsonMap(value);
  if (type === "array") return Array.isArray(value);
  if (type === "integer") return typeof value === "bigint" || Number.isSafeInteger(value);
  if (type === "number") return typeof value === "bigint" || typeof value === "number";
  return typeof value === type;
}

function problemsInMap(
  schema: Schema,
  value: Readonly<Record<string, unknown>>,
  path: string,
): readonly SchemaProblem[] {
  const properties = asMap(schema["properties"]);
  const others = schema["additionalProperties"];
  const isOpen = schema["x-kubernetes-preserve-unknown-fields"] === true;
  const inside = (name: string) => (path === "" ? name : `${path}.${name}`);
  const missing = asList(schema["required"])
    .map(String)
    .filter((name) => value[name] === undefined)
    .map((name) => ({ path: inside(name), what: "is missing" }));
  const below = Object.entries(value).flatMap(([name, item]) => {
    const sub = Object.hasOwn(properties, name) ? properties[name] : others;
    if (isJsonMap(sub)) return item === undefined ? [] : problemsIn(sub, item, inside(name));
    return isOpen ? [] : [{ path: inside(name), what: "there is no such field" }];
  });
  const count = wrongSize(Object.keys(value).length, schema, "Properties", "entries");
  return [...count.map((what) => ({ path, what })), ...missing, ...below];
}

function problemsInList(
  schema: Schema,
  value: readonly unknown[],
  path: string,
): readonly SchemaProblem[] {
  const items = asMap(schema["items"]);
  const count = wrongSize(value.length, schema, "Items", "items");
  const below = value.flatMap((item, i) => problemsIn(items, item, `${path}[${i}]`));
  return [...count.map((what) => ({ path, what })), ...below];
}

function wrongText(schema: Schema, value: string): readonly string[] {
  const { pattern } = schema;
  const size = wrongSize(Array.from(value).length, schema, "Length", "characters");
  if (typeof pattern !== "string" || RE2JS.compile(pattern).matcher(value).find()) return size;
  return [...size, `must match ${pattern}`];
}

function wrongNumber(schema: Schema, value: unknown): readonly string[] {
  const { minimum = -Infinity, maximum = Infinity } = {
    minimum: asNumber(schema["minimum"]),
    maximum: asNumber(schema["maximum"]),
  };
  if (Number(value) < minimum) return [`must be at least ${minimum}`];
  return Number(value) > maximum ? [`must be at most ${maximum}`] : [];
}

function wrongSize(size: number, schema: Schema, of: string, what: string): readonly string[] {
  const least = asNumber(schema[`min${of}`]) ?? 0;
  const most = asNumber(schema[`max${of}`]) ?? Infinity;
  if (size < least) return [`must have at least ${least} ${what}`];
  return size > most ? [`must have at most ${most} ${what}`] : [];
}
