import { unflatten } from "./flatten.ts";
import { quoted, tooLarge, unreadable } from "./error.ts";
import type { Comment, Leaf, MapNode, Pair, Span } from "./tree.ts";
import { limits } from "./tree.ts";

export type IniDocument = {
  readonly root: MapNode;
  readonly metadata?: MapNode;
  /** The section of the metadata, header included. */
  readonly place?: Span;
};

/** Where keys are that no section has. */
export const defaultSection = "DEFAULT";

const space = "[\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const leading = new RegExp(`^${space}+`);
const trailing = new RegExp(`${space}+$`);
const trimStart = (text: string) => text.replace(leading, "");
/** As Go trims: other characters than JavaScript. */
export const trim = (text: string): string => trimEnd(trimStart(text));

/** Without a pattern that begins anew at each blank of a long row. */
function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && trailing.test(text[end - 1] ?? "")) end--;
  return text.slice(0, end);
}

/**
 * Reads an INI file as SOPS does: sections of keys, every value a string without its quotes and
 * without what follows a `;` or `#`. Double sections and keys are refused. Throws SopsFileInvalid.
 */
export function readIni(text: string): IniDocument {
  const reader = new Reader(text);
  reader.read();
  const { sections, place } = reader;
  const metadata = sections.get("sops");
  const items = [...sections]
    .filter(([name]) => name !== "sops")
    .map(([key, value]): Pair => ({ kind: "pair", key, value: { kind: "map", items: value } }));
  const root: MapNode = { kind: "map", items };
  if (metadata === undefined || place === undefined) return { root };
  return { root, place, metadata: unflatten(unescaped(metadata)) };
}

/** Line ends in the metadata are written as `\n`. */
function unescaped(items: readonly (Pair | Comment)[]): MapNode {
  return {
    kind: "map",
    items: items.map((item) => {
      if (item.kind === "comment" || item.value.kind !== "leaf") return item;
      const bytes = Buffer.from(item.value.value.bytes.toString().replaceAll("\\n", "\n"));
      return { ...item, value: { ...item.value, value: { type: "str", bytes } } };
    }),
  };
}

class Reader {
  readonly sections = new Map<string, (Pair | Comment)[]>([[defaultSection, []]]);
  place: Span | undefined;
  readonly #text: string;
  #at = 0;
  #line = 0;
  #keys = 0;
  #section: (Pair | Comment)[];
  #names = new Set<string>();
  #comments: { readonly text: string; readonly start: number }[] = [];
  #metadataStart = -1;

  constructor(text: string) {
    this.#text = text;
    if (text.startsWith("\ufeff")) this.#at = 1;
    this.#section = this.sections.get(defaultSection) ?? [];
  }

  read(): void {
    while (this.#at < this.#text.length) {
      const start = this.#at;
      const raw = this.#next();
      const line = trimStart(raw);
      const offset = start + raw.length - line.length;
      if (line === "") continue;
      if (line.startsWith("#") || line.startsWith(";"))
        this.#comments.push({ text: line, start: offset });
      else if (line.startsWith("[")) this.#header(line, offset);
      else this.#pair(line, offset);
    }
    this.#closeMetadata(this.#text.length);
  }

  /** A line with its end. */
  #next(): string {
    const end = this.#text.indexOf("\n", this.#at);
    const stop = end < 0 ? this.#text.length : end + 1;
    const line = this.#text.slice(this.#at, stop);
    this.#at = stop;
    this.#line++;
    return line;
  }

  #wrong(why: string): Error {
    return unreadable(`line ${this.#line}: ${why}`);
  }

  #closeMetadata(end: number): void {
    if (this.#metadataStart >= 0) this.place = { start: this.#metadataStart, end };
    this.#metadataStart = -1;
  }

  #header(line: string, offset: number): void {
    const close = line.lastIndexOf("]");
    if (close < 0) throw this.#wrong("a section that is not closed");
    const name = line.slice(1, close);
    if (name === "") throw this.#wrong("a section without a name");
    const known = this.sections.get(name);
    if (known !== undefined && !(name === defaultSection && known.length === 0))
      throw this.#wrong(`the section ${quoted(name)} is there twice`);
    this.#closeMetadata(offset);
    if (name === "sops") this.#metadataStart = offset;
    this.#inline(line.slice(close + 1), offset + close + 1);
    this.#section = this.#takeComment();
    this.#names = new Set();
    this.sections.set(name, this.#section);
  }

  #inline(rest: string, start: number): void {
    const at = rest.search(/[#;]/);
    if (at >= 0) this.#comments.push({ text: rest.slice(at), start: start + at });
  }

  /** What was gathered above a key or section, as one comment. */
  #takeComment(): (Pair | Comment)[] {
    const gathered = this.#comments;
    this.#comments = [];
    const whole = trim(gathered.map(({ text }) => text).join(""));
    if (whole === "") return [];
    const mark = whole.startsWith(";") ? /^[; ]+/ : /^[# ]+/;
    const text = whole.replace(mark, "");
    const [only] = gathered;
    const start = (only?.start ?? 0) + whole.length - text.length;
    const span = gathered.length === 1 ? { start, end: start + text.length } : undefined;
    return [{ kind: "comment", bytes: Buffer.from(text), inline: false, span }];
  }

  #pair(line: string, offset: number): void {
    const { name, length } = this.#name(line);
    if (this.#names.has(name)) throw this.#wrong(`the key ${quoted(name)} is there twice`);
    this.#names.add(name);
    if (++this.#keys > limits.leaves) throw tooLarge(`more than ${limits.leaves} values`);
    const value = this.#value(line.slice(length), offset + length);
    this.#section.push({ kind: "pair", key: name, value });
    this.#section.push(...this.#takeComment());
  }

  #name(line: string): { readonly name: string; readonly length: number } {
    const quote = /^"""(?=.{4})|^"|^`/.exec(line)?.[0];
    if (quote !== undefined) {
      const close = line.indexOf(quote, quote.length);
      const rest = close < 0 ? -1 : line.slice(close + quote.length).search(/[=:]/);
      if (rest < 0) throw this.#wrong("a key that is not closed");
      return {
        name: trim(line.slice(quote.length, close)),
        length: close + quote.length + rest + 1,
      };
    }
    const end = line.search(/[=:]/);
    if (end <= 0) throw this.#wrong("no key and value");
    const name = trim(line.slice(0, end));
    if (name === "-") throw this.#wrong("a key that numbers itself");
    return { name, length: end + 1 };
  }

  #value(rest: string, offset: number): Leaf {
    const line = trimStart(rest);
    const start = offset + rest.length - line.length;
    const quote =
      line.length > 3 && line.startsWith('"""') ? '"""' : line.startsWith("`") ? "`" : "";
    if (quote !== "") return this.#quoted(line, start, quote);
    const text = trimEnd(line);
    if (text.endsWith("\\")) return this.#continued(text.slice(0, -1), start);
    const comment = text.search(/[#;]/);
    if (comment >= 0) this.#comments.push({ text: text.slice(comment), start: start + comment });
    const value = comment < 0 ? text : trimEnd(text.slice(0, comment));
    return valueAt(unquoted(value), { start, end: start + value.length });
  }

  #quoted(line: string, start: number, quote: string): Leaf {
    const close = line.lastIndexOf(quote);
    if (close >= quote.length)
      return valueAt(line.slice(quote.length, close), { start, end: start + close + quote.length });
    let value = line.slice(quote.length);
    for (;;) {
      if (this.#at >= this.#text.length) throw this.#wrong("a value that is not closed");
      const from = this.#at;
      const next = this.#next();
      const end = next.lastIndexOf(quote);
      if (end < 0) value += next;
      else {
        this.#inline(next.slice(end), from + end);
        return valueAt(value + next.slice(0, end), { start, end: from + end + quote.length });
      }
    }
  }

  #continued(first: string, start: number): Leaf {
    let value = first;
    while (this.#at < this.#text.length) {
      const next = trim(this.#next());
      value += next;
      if (!next.endsWith("\\")) break;
      value = value.slice(0, -1);
    }
    return valueAt(value, { start, end: this.#at });
  }
}

/** Without quotes around it, when there are none inside. */
function unquoted(value: string): string {
  const quote = value[0];
  const isQuoted = (quote === '"' || quote === "'") && value.indexOf(quote, 1) === value.length - 1;
  return value.length >= 2 && isQuoted ? value.slice(1, -1) : value;
}

const valueAt = (value: string, span: Span): Leaf => ({
  kind: "leaf",
  value: { type: "str", bytes: Buffer.from(value) },
  span,
  style: "plain",
});
