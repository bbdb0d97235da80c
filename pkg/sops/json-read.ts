import { quoted, SopsError, tooLarge, unreadable } from "./error.ts";
import type { Leaf, ListNode, MapNode, Node, Pair, Span, Value } from "./tree.ts";
import { limits } from "./tree.ts";
import { bool, decimal } from "./value.ts";
import type { MetadataPlace } from "./yaml-read.ts";

export type JsonDocument = { readonly root: MapNode; readonly metadata?: MetadataPlace };

/**
 * Reads a JSON object as SOPS does: order kept, numbers that are integers of 64 bits exact, all others
 * floats. Double keys and text behind the object, which sops takes, are refused. Throws SopsFileInvalid
 * with the line, never with content.
 */
export function readJson(text: string): JsonDocument {
  const reader = new Reader(text);
  const root = reader.document();
  const { metadata } = reader;
  return metadata === undefined ? { root } : { root, metadata };
}

const stringPattern = /"(?:[^"\\\p{Cc}]|[\u007f-\u009f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/uy;
const numberPattern = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/y;
const wordPattern = /true|false|null/y;
const spacePattern = /[ \t\r\n]*/y;
const int64 = { min: -(2n ** 63n), max: 2n ** 63n - 1n };

class Reader {
  metadata: MetadataPlace | undefined;
  #at = 0;
  #leaves = 0;
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  document(): MapNode {
    this.#space();
    if (this.#text[this.#at] !== "{") throw this.#wrong("the file is no JSON object");
    const root = this.#map(0);
    this.#space();
    if (this.#at < this.#text.length) throw this.#wrong("something follows the object");
    return root;
  }

  #wrong(why: string): Error {
    const line = this.#text.slice(0, this.#at).split("\n").length;
    return unreadable(`line ${line}: ${why}`);
  }

  #take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match === null) return undefined;
    this.#at += match[0].length;
    return match;
  }

  #space(): void {
    this.#take(spacePattern);
  }

  #takes(character: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #node(depth: number): Node {
    if (depth > limits.depth) throw tooLarge(`it is nested more than ${limits.depth} deep`);
    this.#space();
    const character = this.#text[this.#at];
    if (character === "{") return this.#map(depth);
    return character === "[" ? this.#list(depth) : this.#leaf();
  }

  #map(depth: number): MapNode {
    this.#at++;
    const items: Pair[] = [];
    const seen = new Set<string>();
    if (this.#takes("}")) return { kind: "map", items };
    do {
      this.#space();
      const start = this.#at;
      const key = this.#string();
      if (seen.has(key)) throw this.#wrong(`the key ${quoted(key)} is there twice`);
      seen.add(key);
      if (!this.#takes(":")) throw this.#wrong("a colon is missing");
      const value = this.#node(depth + 1);
      items.push({ kind: "pair", key, value });
      if (depth === 0 && key === "sops" && value.kind === "map")
        this.metadata = { start, end: this.#at, isFlow: true, indent: this.#indentAt(start) };
    } while (this.#takes(","));
    if (!this.#takes("}")) throw this.#wrong("a comma or a brace is missing");
    return { kind: "map", items };
  }

  /** How far the line is indented that a key begins; -1 when something else is on it. */
  #indentAt(start: number): number {
    const line = this.#text.slice(this.#text.lastIndexOf("\n", start) + 1, start);
    return line.trim() === "" ? line.length : -1;
  }

  #list(depth: number): ListNode {
    this.#at++;
    const items: Node[] = [];
    if (this.#takes("]")) return { kind: "list", items };
    do items.push(this.#node(depth + 1));
    while (this.#takes(","));
    if (!this.#takes("]")) throw this.#wrong("a comma or a bracket is missing");
    return { kind: "list", items };
  }

  #string(): string {
    const match = this.#take(stringPattern);
    if (match === undefined) throw this.#wrong("a string is missing or not closed");
    return JSON.parse(match[0]) as string;
  }

  #leaf(): Leaf {
    if (++this.#leaves > limits.leaves) throw tooLarge(`more than ${limits.leaves} values`);
    const start = this.#at;
    const isString = this.#text[start] === '"';
    const value = isString ? stringValue(this.#string()) : this.#bareValue();
    const span: Span = { start, end: this.#at };
    return { kind: "leaf", value, span, style: isString ? "quoted" : "plain" };
  }

  #bareValue(): Value {
    const word = this.#take(wordPattern)?.[0];
    if (word === "null") return { type: "null", bytes: Buffer.alloc(0) };
    if (word !== undefined) return bool(word === "true");
    const number = this.#take(numberPattern);
    if (number === undefined) throw this.#wrong("a value is missing or none");
    return numberValue(number, () => this.#wrong("a number beyond 64 bits"));
  }
}

const stringValue = (text: string): Value => ({ type: "str", bytes: Buffer.from(text) });

function numberValue([text, fraction, exponent]: RegExpExecArray, beyond: () => Error): Value {
  if (fraction === undefined && exponent === undefined && text.length < 25) {
    const value = BigInt(text);
    if (value >= int64.min && value <= int64.max)
      return { type: "int", bytes: Buffer.from(value.toString()) };
  }
  const value = Number(text);
  if (!Number.isFinite(value)) throw beyond();
  return { type: "float", bytes: Buffer.from(decimal(value)) };
}

/** The bytes of the binary store: one key, `data`. Throws SopsFileInvalid. */
export function binaryData(root: MapNode): Buffer {
  const data = root.items.find((item) => item.kind === "pair" && item.key === "data");
  const value = data?.kind === "pair" ? data.value : undefined;
  if (value?.kind !== "leaf" || value.value.type !== "str")
    throw new SopsError("SopsFileInvalid", 1, "a binary file has a text under data");
  return value.value.bytes;
}
