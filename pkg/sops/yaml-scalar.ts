import { SopsError } from "./error.ts";
import type { Value } from "./tree.ts";
import { bool, decimal, parseTime } from "./value.ts";

const words = new Map<string, Value>([
  ...["true", "True", "TRUE"].map((word) => [word, bool(true)] as const),
  ...["false", "False", "FALSE"].map((word) => [word, bool(false)] as const),
  ...["", "~", "null", "Null", "NULL"].map((word) => [word, named("null", "")] as const),
  ...[".nan", ".NaN", ".NAN"].map((word) => [word, named("float", "NaN")] as const),
  ...[".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"].map(
    (word) => [word, named("float", "+Inf")] as const,
  ),
  ...["-.inf", "-.Inf", "-.INF"].map((word) => [word, named("float", "-Inf")] as const),
]);

function named(type: Value["type"], bytes: string): Value {
  return { type, bytes: Buffer.from(bytes) };
}

const mayBeWord = /^(?:$|[.~+-]|[tTfFnN][a-zA-Z]{3,4}$)/;
const number = /^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$/;
const digits = { max: 2n ** 63n - 1n, min: -(2n ** 63n), maxUnsigned: 2n ** 64n - 1n };
/** Longer ones are no 64-bit numbers in any base. */
const numberLengthMax = 400;

/**
 * What a plain scalar means to SOPS, whose YAML is go-yaml v3: neither YAML 1.1 nor 1.2. Throws
 * SopsFileInvalid for the integers that SOPS cannot hold.
 */
export function resolvePlain(text: string): Value {
  if (mayBeWord.test(text)) {
    const word = words.get(text);
    if (word !== undefined) return word;
  }
  return /^[-+.0-9]/.test(text) && text.length <= numberLengthMax
    ? (resolveNumber(text) ?? named("str", text))
    : named("str", text);
}

function resolveNumber(text: string): Value | undefined {
  if (text.startsWith(".")) return floatOf(text);
  const time = timestampOf(text);
  if (time !== undefined) return named("time", time);
  const plain = text.replaceAll("_", "");
  const integer = integerOf(plain);
  if (integer === undefined) return floatOf(plain);
  if (integer >= digits.min && integer <= digits.max) return named("int", integer.toString());
  if (integer > 0n && integer <= digits.maxUnsigned && !plain.startsWith("+"))
    throw new SopsError("SopsFileInvalid", 23, "an integer above 9223372036854775807");
  return floatOf(plain);
}

/** As Go's ParseInt with base 0: a leading 0 is octal, 0x, 0o and 0b in any case. */
function integerOf(plain: string): bigint | undefined {
  const match =
    /^([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[oO]([0-7]+)|0[bB]([01]+)|0([0-7]*)|([1-9][0-9]*))$/.exec(
      plain,
    );
  if (match === null) return undefined;
  const [, sign, hex, octal, binary, zero, decimalDigits] = match;
  const prefixed = [
    [hex, "0x"],
    [octal, "0o"],
    [binary, "0b"],
    [zero === "" ? "0" : zero, "0o"],
    [decimalDigits, ""],
  ].find(([value]) => value !== undefined);
  const value = BigInt(`${prefixed?.[1] ?? ""}${prefixed?.[0] ?? "0"}`);
  return sign === "-" ? -value : value;
}

function floatOf(plain: string): Value | undefined {
  if (!number.test(plain)) return undefined;
  const value = Number(plain);
  return Number.isFinite(value) ? named("float", decimal(value)) : undefined;
}

const two = (text = "") => text.padStart(2, "0");

/** The four forms of go-yaml; undefined when it is none, or a day that does not exist. */
function timestampOf(text: string): string | undefined {
  const match =
    /^(\d{4})-(\d\d?)-(\d\d?)(?:([Tt ])(\d\d?):(\d\d?):(\d\d?)(?:[.,](\d+))?(Z|[-+]\d\d:\d\d)?)?$/.exec(
      text,
    );
  if (match === null) return undefined;
  const [, year, month, day, separator] = match;
  const [fraction, zone] = match.slice(8);
  const date = [year, month, day].map(two).join("-");
  if (separator === undefined) return parseTime(`${date}T00:00:00Z`);
  if ((zone === undefined) !== (separator === " ")) return undefined;
  const time = match.slice(5, 8).map(two).join(":");
  const rest = fraction === undefined ? "" : `.${fraction}`;
  return parseTime(`${date}T${time}${rest}${zone ?? "Z"}`);
}

/** A scalar with a tag of its own. Throws SopsFileInvalid when text and tag do not fit. */
export function resolveTagged(text: string, tag: string): Value {
  const short = tag.replace(/^tag:yaml\.org,2002:/, "!!");
  if (short === "!!binary") return binaryOf(text);
  const wanted = { "!!int": "int", "!!float": "float", "!!bool": "bool", "!!null": "null" }[short];
  const type = wanted ?? (short === "!!timestamp" ? "time" : undefined);
  if (type === undefined) return named("str", text);
  const value = resolvePlain(text);
  if (value.type === type) return value;
  if (type === "float" && value.type === "int")
    return named("float", decimal(Number(value.bytes.toString("latin1"))));
  throw new SopsError("SopsFileInvalid", 2, `a scalar is not ${short}, as it says`);
}

function binaryOf(text: string): Value {
  const compact = text.replace(/[\r\n]/g, "");
  const bytes = Buffer.from(compact, "base64");
  if (bytes.toString("base64") !== compact)
    throw new SopsError("SopsFileInvalid", 2, "a scalar is not !!binary, as it says");
  return { type: "str", bytes };
}
