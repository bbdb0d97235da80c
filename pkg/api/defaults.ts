import { asList, asMap, isJsonMap } from "../json/index.ts";

type Json = Readonly<Record<string, unknown>>;

/** A value with what an API server would fill in by this schema: defaults, at every depth. */
export function withDefaults(schema: Json, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => withDefaults(asMap(schema["items"]), item));
  if (!isJsonMap(value)) return value;
  const filled: Record<string, unknown> = { ...value };
  for (const [name, sub] of Object.entries(asMap(schema["properties"]))) {
    const property = asMap(sub);
    const said = Object.hasOwn(value, name) ? value[name] : property["default"];
    if (said !== undefined) filled[name] = withDefaults(property, said);
  }
  return filled;
}

/** The names of what a schema demands and a value does not have, as paths. */
export function missingIn(schema: Json, value: unknown, path = ""): readonly string[] {
  if (Array.isArray(value))
    return value.flatMap((item, i) => missingIn(asMap(schema["items"]), item, `${path}[${i}]`));
  if (!isJsonMap(value)) return [];
  const demanded = asList(schema["required"]).map(String);
  const absent = demanded.filter((name) => !Object.hasOwn(value, name));
  const below = Object.entries(asMap(schema["properties"])).flatMap(([name, sub]) =>
    Object.hasOwn(value, name) ? missingIn(asMap(sub), value[name], `${path}.${name}`) : [],
  );
  return [...absent.map((name) => `${path}.${name}`), ...below];
}
