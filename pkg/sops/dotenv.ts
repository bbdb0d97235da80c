import { isUtf8 } from "node:buffer";
import { flatten, unflatten } from "./flatten.ts";
import { quoted, tooLarge, unreadable } from "./error.ts";
import type { Comment, MapNode, Pair, Span } from "./tree.ts";
import { limits, text } from "./tree.ts";
import { plainText } from "./plain-text.ts";

const prefix = "sops_";

export type DotenvDocument = {
  readonly root: MapNode;
  readonly metadata?: MapNode;
  /** The lines of the metadata, each with its line end. */
  readonly lines: readonly Span[];
};

/**
 * Reads a dotenv file as SOPS does: nothing is trimmed or unquoted. `file` has one character for each
 * byte, because values may be no UTF-8. Throws SopsFileInvalid with the line's number.
 */
export function readDotenv(file: string): DotenvDocument {
  const items: (Pair | Comment)[] = [];
  const metadata: Pair[] = [];
  const lines: Span[] = [];
  const seen = new Set<string>();
  for (const { item, line, number } of readLines(file)) {
    if (item.kind === "comment") {
      items.push(item);
      continue;
    }
    if (seen.has(item.key))
      throw unreadable(`line ${number}: the key ${quoted(item.key)} is there twice`);
    seen.add(item.key);
    if (seen.size > limits.leaves) throw tooLarge(`more than ${limits.leaves} values`);
    if (isReservedName(item.key)) {
      metadata.push({ ...item, key: item.key.slice(prefix.length) });
      lines.push(line);
    } else items.push(item);
  }
  const root: MapNode = { kind: "map", items };
  if (metadata.length === 0) return { root, lines };
  return { root, lines, metadata: unflatten({ kind: "map", items: metadata }) };
}

/** Every line that is not empty, its end included, and its number. */
function* readLines(file: string) {
  let start = 0;
  for (const [i, text] of file.split("\n").entries()) {
    const end = Math.min(start + text.length + 1, file.length);
    const number = i + 1;
    if (text !== "") yield { item: readLine(text, start, number), line: { start, end }, number };
    start += text.length + 1;
  }
}

function readLine(line: string, start: number, number: number): Pair | Comment {
  const end = start + line.length;
  if (line.startsWith("#")) {
    const bytes = Buffer.from(line.slice(1), "latin1");
    return { kind: "comment", bytes, inline: false, span: { start: start + 1, end } };
  }
  const equals = line.indexOf("=");
  if (equals < 0) throw unreadable(`line ${number}: no equals sign`);
  const key = Buffer.from(line.slice(0, equals), "latin1");
  if (!isUtf8(key)) throw unreadable(`line ${number}: a name that is no UTF-8`);
  const bytes = Buffer.from(line.slice(equals + 1).replaceAll("\\n", "\n"), "latin1");
  const span = { start: start + equals + 1, end };
  return {
    kind: "pair",
    key: key.toString(),
    value: { kind: "leaf", value: { type: "str", bytes }, span, style: "plain" },
  };
}

/** Writes a dotenv file as SOPS does, one character for each byte. Throws SopsFileInvalid for what has no place in one. */
export function writeDotenv(root: MapNode): string {
  return root.items.map(lineOf).join("");
}

function lineOf(item: Pair | Comment): string {
  if (item.kind === "comment") return `#${item.bytes.toString("latin1")}\n`;
  if (item.value.kind !== "leaf")
    throw unreadable(`a dotenv file has no place for what is under ${quoted(item.key)}`);
  const value = plainText(item.value.value).toString("latin1").replaceAll("\n", "\\n");
  return `${Buffer.from(item.key).toString("latin1")}=${value}\n`;
}

/** The lines of the metadata. */
export function dotenvMetadata(metadata: MapNode): MapNode {
  const items = flatten(metadata).map(([key, value]): Pair => ({
    kind: "pair",
    key: `${prefix}${key}`,
    value: text(value),
  }));
  return { kind: "map", items };
}

/** Whether a name is kept for the metadata. */
export const isReservedName = (key: string): boolean => key.startsWith(prefix);
