import { CapitanError, type Code } from "../errors/index.ts";
import type { Place } from "./tree.ts";

/** Names that a message lists at most, and the length of each. */
const namesMax = 20;
const nameCharsMax = 60;

/** An error at a place of a template: `FILE:LINE:COLUMN: what`. */
export function problem(code: Code, file: string, place: Place, what: string): CapitanError {
  return new CapitanError(code, `${file}:${place.line}:${place.column}: ${what}`);
}

/** The names of a map for a message, in order, each as it is written in a path. */
export function namesOf(keys: readonly string[]): string {
  if (keys.length === 0) return "none";
  const names = keys.toSorted().slice(0, namesMax).map(nameInPath);
  return keys.length > namesMax ? `${names.join(", ")}, …` : names.join(", ");
}

/** A field's name as a path wants it: `[a.b/c]` when it is more than a word. */
export function nameInPath(name: string): string {
  if (/^[A-Za-z_][\w-]*$/.test(name)) return name;
  const shown = JSON.stringify(name.slice(0, nameCharsMax)).slice(1, -1);
  return `[${shown}]`;
}
