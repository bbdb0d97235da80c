import type { Value } from "./tree.ts";
import { numberOf } from "./value.ts";
import { floatText } from "./yaml-write.ts";

/** A value in a file of lines: all of them are strings there, but an encrypted one may have another type. */
export function plainText({ type, bytes }: Value): Buffer {
  switch (type) {
    case "bool":
      return Buffer.from(bytes.toString().toLowerCase());
    case "float":
      return Buffer.from(lineFloat(numberOf(bytes)));
    case "time":
      return Buffer.from(bytes.toString().replace(/\.\d+/, ""));
    case "null":
    case "int":
    case "str":
    case "bytes":
    case "comment":
      return bytes;
  }
}

function lineFloat(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
  const text = floatText(value, "E");
  return /[.E]/.test(text) ? text : `${text}.0`;
}
