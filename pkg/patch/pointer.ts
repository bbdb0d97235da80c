import { isJsonMap, type Json, type JsonMap } from "../json/index.ts";

/** The steps of a JSON Pointer (RFC 6901); undefined when it is none. "" is the whole document. */
export function parsePointer(text: string): readonly string[] | undefined {
  if (text === "") return [];
  if (!text.startsWith("/") || /~(?![01])/.test(text)) return undefined;
  return text
    .slice(1)
    .split("/")
    .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
}

/** What is at the end of the steps; undefined when it is not there. Own fields only. */
export function valueAt(document: Json, steps: readonly string[]): Json | undefined {
  let value: Json | undefined = document;
  for (const step of steps) {
    if (isJsonMap(value)) value = Object.hasOwn(value, step) ? value[step] : undefined;
    else if (Array.isArray(value))
      value = (value as readonly Json[])[indexOf(step, value.length - 1)];
    else return undefined;
  }
  return value;
}

/** What to do at the last step, given what is around it; undefined when it cannot be done there. */
export type Edit = {
  readonly inMap: (map: JsonMap, key: string) => JsonMap | undefined;
  readonly inList: (list: readonly Json[], step: string) => readonly Json[] | undefined;
};

/** The document with one edit; what is not on the way is shared. Undefined when the way is not there. */
export function edited(document: Json, steps: readonly string[], edit: Edit): Json | undefined {
  const [step = "", ...rest] = steps;
  if (rest.length === 0) return editedHere(document, step, edit);
  const inner = valueAt(document, [step]);
  const changed = inner === undefined ? undefined : edited(inner, rest, edit);
  if (changed === undefined) return undefined;
  if (isJsonMap(document)) return withField(document, step, changed);
  return (document as readonly Json[]).with(Number(step), changed);
}

function editedHere(document: Json, step: string, edit: Edit): Json | undefined {
  if (Array.isArray(document)) return edit.inList(document as readonly Json[], step);
  return isJsonMap(document) ? edit.inMap(document, step) : undefined;
}

/** The index that a step names, up to `max`; -1 when it names none. */
export function indexOf(step: string, max: number): number {
  const isIndex = /^(?:0|[1-9]\d{0,8})$/.test(step) && Number(step) <= max;
  return isIndex ? Number(step) : -1;
}

/** The map with a field more or another; `__proto__` is a name like any other. */
export function withField(map: JsonMap, key: string, value: Json): JsonMap {
  return Object.fromEntries([...Object.entries(map), [key, value] as const]);
}

/** The map without a field. */
export function withoutField(map: JsonMap, key: string): JsonMap {
  return Object.fromEntries(Object.entries(map).filter(([name]) => name !== key));
}
