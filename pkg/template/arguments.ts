import type { Code } from "../errors/index.ts";
import type { Json, JsonMap } from "../json/index.ts";

/** What a helper is called with. Arguments are worked out when they are asked for, each with its checks. */
export type Arguments = {
  readonly count: number;
  /** The value of an argument. Throws InputMissing when there is none; null is a value. */
  readonly at: (index: number) => Json;
  /** As `at`, but undefined when the last name of the path is missing. */
  readonly maybe: (index: number) => Json | undefined;
  /** As `at`, when it is a string. Throws InputInvalid. */
  readonly text: (index: number) => string;
  /** As `at`, when it is a map. Throws InputInvalid. */
  readonly map: (index: number) => JsonMap;
  /** How an argument is written in the template, for messages. */
  readonly shown: (index: number) => string;
  /** A whole number from 0 to 100, given by name; undefined when it is not given. */
  readonly size: (option: string) => number | undefined;
  /** What stands before on the line that is written to; undefined inside another expression. */
  readonly line: string | undefined;
  /** Whether text in this column would belong to a block scalar; true inside another expression. */
  readonly isBlockText: (column: number) => boolean;
  /** The error to throw. */
  readonly problem: (code: Code, what: string) => Error;
};

/** What a value is, for messages. */
export function kindOf(value: Json): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a map";
  if (typeof value === "boolean") return "true or false";
  return typeof value === "string" ? "a string" : "a number";
}
