import { SopsError } from "./error.ts";
import type { Value } from "./tree.ts";

const integer = /^[+-]?\d{1,25}$/;
const int64 = { min: -(2n ** 63n), max: 2n ** 63n - 1n };
const float = /^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|Inf|Infinity|NaN)$/i;
const truths = new Set(["1", "t", "T", "true", "TRUE", "True"]);
const untruths = new Set(["0", "f", "F", "false", "FALSE", "False"]);

/**
 * What a decrypted text means by its `type`. The bytes come back as sops would write them again.
 * Throws SopsTampered (25) when the text is none of its type: `type` is not authenticated.
 */
export function readValue(type: string, plain: Buffer): Value {
  switch (type) {
    case "str":
    case "comment":
    case "bytes":
      return { type, bytes: plain };
    case "int":
      return intValue(plain.toString("latin1"));
    case "float":
      return floatValue(plain.toString("latin1"));
    case "bool":
      return boolValue(plain.toString("latin1"));
    case "time":
      return timeValue(plain.toString("latin1"));
    default:
      throw wrong("is of a type that SOPS does not know");
  }
}

const wrong = (why: string) => new SopsError("SopsTampered", 25, why);

function intValue(text: string): Value {
  if (!integer.test(text)) throw wrong("is no integer, as its type says");
  const value = BigInt(text.replace(/^\+/, ""));
  if (value < int64.min || value > int64.max) throw wrong("is an integer beyond 64 bits");
  return { type: "int", bytes: Buffer.from(value.toString()) };
}

function floatValue(text: string): Value {
  if (!float.test(text)) throw wrong("is no number, as its type says");
  const named = /^([+-]?)(inf|nan)/i.exec(text);
  const value =
    named === null
      ? Number(text)
      : named[2]?.toLowerCase() === "nan"
        ? NaN
        : named[1] === "-"
          ? -Infinity
          : Infinity;
  if (named === null && !Number.isFinite(value)) throw wrong("is a number beyond 64 bits");
  return { type: "float", bytes: Buffer.from(decimal(value)) };
}

function boolValue(text: string): Value {
  if (truths.has(text)) return bool(true);
  if (untruths.has(text)) return bool(false);
  throw wrong("is no boolean, as its type says");
}

/** A boolean; SOPS writes them as Python does. */
export const bool = (value: boolean): Value => ({
  type: "bool",
  bytes: Buffer.from(value ? "True" : "False"),
});

function timeValue(text: string): Value {
  const time = parseTime(text);
  if (time === undefined) throw wrong("is no time, as its type says");
  return { type: "time", bytes: Buffer.from(time) };
}

/** A float as SOPS hashes and encrypts it: the shortest digits, never an exponent. */
export function decimal(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
  if (Object.is(value, -0)) return "-0";
  const { sign, digits, point } = digitsOf(value);
  if (point <= 0) return `${sign}0.${"0".repeat(-point)}${digits}`;
  if (point >= digits.length) return sign + digits.padEnd(point, "0");
  return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`;
}

/** The shortest digits of a number and where its decimal point is among them. */
export function digitsOf(value: number): {
  readonly sign: string;
  readonly digits: string;
  readonly point: number;
} {
  const [mantissa = "", exponent = "0"] = Math.abs(value).toExponential().split("e");
  const digits = mantissa.replace(".", "");
  return { sign: value < 0 ? "-" : "", digits, point: Number(exponent) + 1 };
}

/** The number that a float's bytes stand for. */
export function numberOf(bytes: Buffer): number {
  const text = bytes.toString("latin1");
  if (text === "NaN") return NaN;
  if (text === "+Inf") return Infinity;
  return text === "-Inf" ? -Infinity : Number(text);
}

const timePattern =
  /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)$/;

/** A time of RFC 3339 with its own offset and only the digits it needs; undefined when it is none. */
export function parseTime(text: string): string | undefined {
  const match = timePattern.exec(text);
  if (match === null) return undefined;
  const [, year, month, day, hour, minute, second, fraction = "", zone = ""] = match;
  if (!isDate(Number(year), Number(month), Number(day))) return undefined;
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return undefined;
  const offset = normalZone(zone);
  if (offset === undefined) return undefined;
  const digits = fraction.replace(/0+$/, "");
  const rest = digits === "" ? "" : `.${digits}`;
  return `${year}-${month}-${day}T${hour}:${minute}:${second}${rest}${offset}`;
}

function normalZone(zone: string): string | undefined {
  if (zone === "Z" || /^[+-]00:00$/.test(zone)) return "Z";
  return Number(zone.slice(1, 3)) > 23 || Number(zone.slice(4)) > 59 ? undefined : zone;
}

function isDate(year: number, month: number, day: number): boolean {
  if (month < 1 || month > 12 || day < 1) return false;
  const isLeap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  const days = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
  return day <= (days[month - 1] ?? 0);
}
