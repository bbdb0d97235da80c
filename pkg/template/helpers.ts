import { sha256Hex, type Json } from "../json/index.ts";
import { versionsIn } from "../oci/index.ts";
import { kindOf, type Arguments } from "./arguments.ts";
import { blockYaml, flowYaml, isCollection, jsonText } from "./yaml-text.ts";
import { edgeOf } from "./block-scalar.ts";
import { indented, padding } from "./indent.ts";

/** A helper: how it is written, and what it does. It sees its arguments and nothing else. */
type Helper = {
  readonly usage: string;
  readonly least: number;
  readonly most: number;
  readonly options?: readonly string[];
  /** Whether the first argument may be missing. */
  readonly mayMiss?: true;
  /** Whether the result is text that is written as it is; else it is a value, which is checked. */
  readonly isText?: true;
  readonly call: (args: Arguments) => Json | undefined;
};

/** Every helper there is. None reads a file, the clock, the network, the environment, or another value. */
export const helpers = {
  quote: one("quote VALUE", quoted, { isText: true }),
  yaml: one("yaml VALUE [indent=COLUMNS]", yaml, { isText: true, options: ["indent"] }),
  json: one("json VALUE", (args) => jsonText(args.at(0)), { isText: true }),
  indent: two("indent TEXT COLUMNS", indentText, { isText: true }),
  b64: one("b64 TEXT", (args) => Buffer.from(args.text(0)).toString("base64")),
  sha256: one("sha256 TEXT", (args) => sha256Hex(args.text(0))),
  lower: one("lower TEXT", (args) => args.text(0).toLowerCase()),
  upper: one("upper TEXT", (args) => args.text(0).toUpperCase()),
  default: two("default VALUE OTHERWISE", (args) => args.maybe(0) ?? args.at(1), { mayMiss: true }),
  required: two('required VALUE "MESSAGE"', required, { mayMiss: true }),
  has: { ...two('has VALUE or has MAP "KEY"', has, { mayMiss: true }), least: 1 },
  get: two('get MAP "KEY"', get, { mayMiss: true }),
  eq: two("eq A B", (args) => equal(args, args.at(0), args.at(1))),
  ne: two("ne A B", (args) => !equal(args, args.at(0), args.at(1))),
  in: { ...two("in VALUE LIST or in VALUE A B…", isIn), most: 32 },
  and: { ...two("and A B…", (args) => indexes(args).every((i) => isTrue(args.at(i)))), most: 32 },
  or: { ...two("or A B…", (args) => indexes(args).some((i) => isTrue(args.at(i)))), most: 32 },
  not: one("not A", (args) => !isTrue(args.at(0))),
  semver: two('semver VERSION "RANGE"', inRange),
} as const satisfies Readonly<Record<string, Helper>>;

export type HelperName = keyof typeof helpers;

export function isHelperName(name: string): name is HelperName {
  return Object.hasOwn(helpers, name);
}

/** The helper of a name, without what only this one has. */
export function helperOf(name: HelperName): Helper {
  return helpers[name];
}

/** What `#if` takes for true: not false, 0, "", null, nor an empty list, as in Handlebars. */
export function isTrue(value: Json | undefined): boolean {
  if (Array.isArray(value)) return value.length > 0;
  return Boolean(value);
}

type Extra = Pick<Helper, "options" | "mayMiss" | "isText">;

function one(usage: string, call: Helper["call"], extra: Extra = {}): Helper {
  return { usage, least: 1, most: 1, call, ...extra };
}

function two(usage: string, call: Helper["call"], extra: Extra = {}): Helper {
  return { usage, least: 2, most: 2, call, ...extra };
}

const indexes = (args: Arguments) => Array.from({ length: args.count }, (_, i) => i);

function quoted(args: Arguments): string {
  const value = args.at(0);
  if (value === null || typeof value === "object")
    throw args.problem(
      "InputInvalid",
      `${args.shown(0)} is ${kindOf(value)}: quote wants a scalar`,
    );
  refuseAfterQuote(args, "quote");
  return jsonText(typeof value === "string" ? value : flowYaml(value));
}

function yaml(args: Arguments): string {
  const value = args.at(0);
  refuseAfterQuote(args, "yaml");
  const { line = "" } = args;
  const isFirst = line.trim() === "";
  const indent = args.size("indent") ?? (isFirst ? line.length : undefined);
  if (indent === undefined || !isCollection(value)) return flowYaml(value);
  const block = blockYaml(value, indent);
  if (isFirst) return `${padding(args, indent)}${block}`;
  const edge = edgeOf(line, line.length);
  if (indent > edge) return `\n${" ".repeat(indent)}${block}`;
  throw args.problem("TemplateInvalid", `indent= must be more than ${edge} here, to stay inside`);
}

function refuseAfterQuote({ line = "", problem }: Arguments, name: string): void {
  if (/["']$/.test(line))
    throw problem("TemplateInvalid", `${name} writes its own quotes: take away those around it`);
}

function indentText(args: Arguments): string {
  const text = args.text(0);
  const columns = args.at(1);
  if (typeof columns !== "number" || !Number.isInteger(columns) || columns < 0 || columns > 100)
    throw args.problem("TemplateInvalid", "indent wants a number of columns from 0 to 100");
  if ((args.line ?? "").trim() !== "")
    throw args.problem("TemplateInvalid", "indent must be the first on its line");
  if (!args.isBlockText(columns))
    throw args.problem(
      "TemplateInvalid",
      "indent belongs into a block scalar (key: |), beyond its key",
    );
  const body = indented(text, columns);
  if (body !== undefined) return `${padding(args, columns)}${body}`;
  const what = "begins with a blank or has line breaks that YAML would change: use quote";
  throw args.problem("InputInvalid", `${args.shown(0)} ${what}`);
}

function required(args: Arguments): Json {
  const value = args.maybe(0);
  if (value !== undefined && value !== null) return value;
  throw args.problem("InputMissing", `${args.shown(0)}: ${args.text(1).slice(0, 200)}`);
}

function has(args: Arguments): boolean {
  const value = args.maybe(0);
  if (args.count === 1) return value !== undefined && value !== null;
  if (value === undefined || value === null) return false;
  const map = args.map(0);
  const key = args.text(1);
  return Object.hasOwn(map, key) && map[key] !== null && map[key] !== undefined;
}

/** Undefined when there is no such key: whoever calls it knows whether that is allowed. */
function get(args: Arguments): Json | undefined {
  if (args.maybe(0) === undefined) return undefined;
  const map = args.map(0);
  const key = args.text(1);
  return Object.hasOwn(map, key) ? map[key] : undefined;
}

/** Equal strings, numbers, truth values; everything may be compared with null. */
function equal(args: Arguments, a: Json, b: Json): boolean {
  if (a === null || b === null) return a === b;
  const [kindA, kindB] = [kindOf(a), kindOf(b)];
  const isScalar = typeof a !== "object" && typeof b !== "object";
  // A bigint is a number too; one that is equal to a number is equal to it.
  if (isScalar && kindA === kindB) return String(a) === String(b);
  throw args.problem("InputInvalid", `${kindA} cannot be compared with ${kindB}`);
}

function isIn(args: Arguments): boolean {
  const value = args.at(0);
  const second = args.at(1);
  if (args.count === 2 && Array.isArray(second))
    return second.some((item: Json) => equal(args, value, item));
  return indexes(args)
    .slice(1)
    .some((i) => equal(args, value, args.at(i)));
}

function inRange(args: Arguments): boolean {
  const [version, wanted] = [args.text(0), args.text(1)];
  const plain = version.replace(/^v/, "");
  const found = wanted.length > 256 ? undefined : versionsIn([plain], wanted);
  if (found === undefined)
    throw args.problem(
      "TemplateInvalid",
      `${JSON.stringify(wanted.slice(0, 60))} is no range of versions`,
    );
  if (!/^\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?$/.test(plain) || plain.length > 128)
    throw args.problem("InputInvalid", `${args.shown(0)} is no version such as v1.34.1`);
  return found.length > 0;
}
