import { unreadable } from "./error.ts";
import type { MapNode, Node, Value } from "./tree.ts";
import { numberOf } from "./value.ts";

/** How JSON is laid out: `-1` is a tab, as in `stores.json.indent`. */
export type JsonIndent = number;

export const jsonIndent: JsonIndent = -1;

/** Writes an object byte for byte as SOPS does, with a last line end. Comments have no place in JSON. */
export function writeJson(root: MapNode, indent = jsonIndent): string {
  return `${jsonText(root, indent < 0 ? "\t" : " ".repeat(indent), "")}\n`;
}

/** A node as JSON whose lines after the first begin with `margin`. */
export function jsonText(node: Node, unit: string, margin: string): string {
  if (node.kind === "leaf") return valueJson(node.value);
  const inner = margin + unit;
  const items: string[] = [];
  for (const item of node.items) {
    if (item.kind === "comment") continue;
    if (item.kind !== "pair") items.push(jsonText(item, unit, inner));
    else items.push(`${stringJson(item.key)}: ${jsonText(item.value, unit, inner)}`);
  }
  const [open, close] = node.kind === "map" ? "{}" : "[]";
  if (items.length === 0) return `${open}${close}`;
  return `${open}\n${inner}${items.join(`,\n${inner}`)}\n${margin}${close}`;
}

/** A node as JSON on one line, with a blank behind each colon, by which Flux knows a file. */
export function jsonLine(node: Node): string {
  if (node.kind === "leaf") return valueJson(node.value);
  const items = node.items.flatMap((item) => {
    if (item.kind === "comment") return [];
    return item.kind === "pair"
      ? [`${stringJson(item.key)}: ${jsonLine(item.value)}`]
      : [jsonLine(item)];
  });
  return node.kind === "map" ? `{${items.join(", ")}}` : `[${items.join(", ")}]`;
}

const unsafe = /[<>&\u2028\u2029]/g;

/** A string with the escapes of Go's encoder. */
export function stringJson(text: string): string {
  return JSON.stringify(text.toWellFormed()).replace(
    unsafe,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function valueJson({ type, bytes }: Value): string {
  switch (type) {
    case "null":
      return "null";
    case "bool":
      return bytes.toString() === "True" ? "true" : "false";
    case "int":
      return bytes.toString();
    case "float":
      return floatJson(numberOf(bytes));
    case "str":
    case "time":
    case "bytes":
    case "comment":
      return stringJson(bytes.toString());
  }
}

function floatJson(value: number): string {
  if (!Number.isFinite(value)) throw unreadable("JSON has no number that is infinite or none");
  return Object.is(value, -0) ? "-0" : String(value);
}
