import {
  Composer,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Parser,
  type Document,
  type Node as YamlNode,
  type Scalar,
  type CST,
  type YAMLMap,
  type YAMLSeq,
} from "yaml";
import { isCapitanError } from "../errors/index.ts";
import { quoted, SopsError, tooLarge, unreadable } from "./error.ts";
import type { Comment, Leaf, ListNode, MapNode, Node, Pair, Span, Style } from "./tree.ts";
import { limits } from "./tree.ts";
import { commentsOf, Lines, placeComments, type Mark, type Place } from "./yaml-comments.ts";
import { resolvePlain, resolveTagged } from "./yaml-scalar.ts";

/** Where a document's `sops` key stands: what is put there again has the same indentation. */
export type MetadataPlace = Span & { readonly isFlow: boolean; readonly indent: number };

export type YamlDocument = { readonly root: MapNode; readonly metadata?: MetadataPlace };

/**
 * Reads YAML as SOPS does: all documents, each a map; comments in the tree; aliases expanded. Keys
 * that come twice are refused in every document, where sops looks at the first one only. Throws
 * SopsFileInvalid and SopsFileTooLarge with the line, never with content.
 */
export function readYaml(text: string): readonly YamlDocument[] {
  const { tokens, documents } = compose(text);
  const lines = new Lines(text);
  const comments = text.includes("#") ? commentsOf(tokens) : [];
  let at = 0;
  return documents.map((document, i) => {
    const end = documents[i + 1]?.range[0] ?? Infinity;
    const own = [];
    for (; at < comments.length; at++) {
      const comment = comments[at];
      if (comment === undefined || comment.offset >= end) break;
      own.push(comment);
    }
    const reader = new Reader(lines, own.length > 0);
    const root = reader.document(document);
    if (own.length > 0) placeComments(own, reader.marks, lines, root.items);
    const { metadata } = reader;
    return metadata === undefined ? { root } : { root, metadata };
  });
}

function compose(text: string): {
  readonly tokens: readonly CST.Token[];
  readonly documents: readonly Document.Parsed[];
} {
  try {
    const tokens = [...new Parser().parse(text)];
    const composer = new Composer({
      schema: "failsafe",
      uniqueKeys: false,
      stringKeys: false,
      prettyErrors: false,
      merge: false,
    });
    return { tokens, documents: [...composer.compose(tokens)] };
  } catch (error) {
    // A stack that is too small, for instance.
    if (isCapitanError(error)) throw error;
    throw tooLarge("it is nested too deeply");
  }
}

type Item = Pair | Comment | Node;
type Container = Pick<Place, "items" | "indent" | "column">;
/** The item of a container that a node belongs to. */
type At = Place | undefined;

/** What an anchor is on, and what each alias to it adds. */
type Anchored = { readonly node: Node; readonly leaves: number; readonly height: number };

const tooDeep = () => tooLarge(`it is nested more than ${limits.depth} deep`);
const tooManyLeaves = () => tooLarge(`more than ${limits.leaves} values`);

/** Turns one document into a tree. */
class Reader {
  readonly marks: Mark[] = [];
  metadata: MetadataPlace | undefined;
  #leaves = 0;
  #height = 0;
  readonly #lines: Lines;
  readonly #marking: boolean;
  readonly #anchors = new Map<string, Anchored>();

  constructor(lines: Lines, marking: boolean) {
    this.#lines = lines;
    this.#marking = marking;
  }

  document(document: Document.Parsed): {
    readonly kind: "map";
    readonly items: (Pair | Comment)[];
  } {
    const [problem] = document.errors;
    if (problem !== undefined)
      throw unreadable(`line ${this.#line(problem.pos[0])}: ${problem.code}: not valid YAML`);
    const { contents } = document;
    if (contents === null || isEmpty(contents)) return { kind: "map", items: [] };
    if (!isMap(contents)) throw unreadable("a document that is no map");
    const items: (Pair | Comment)[] = [];
    this.#fillMap(contents, items, undefined);
    return { kind: "map", items };
  }

  #line(offset: number): number {
    return this.#lines.at(offset).line + 1;
  }

  #node(node: YamlNode, at: Place, depth: number): Node {
    this.#height = Math.max(this.#height, depth);
    if (depth > limits.depth) throw tooDeep();
    if (isAlias(node)) return this.#alias(node.source, depth);
    if (node.anchor === undefined) return this.#content(node, at, depth);
    const before = this.#leaves;
    const outer = this.#height;
    this.#height = depth;
    const result = this.#content(node, at, depth);
    const cost = { leaves: this.#leaves - before, height: this.#height - depth };
    this.#anchors.set(node.anchor, { node: result, ...cost });
    this.#height = Math.max(this.#height, outer);
    return result;
  }

  #content(node: YamlNode, at: Place, depth: number): Node {
    if (isMap(node)) return this.#map(node, at, depth);
    if (isSeq(node)) return this.#list(node, at, depth);
    if (isScalar(node)) return this.#leaf(node, at);
    throw unreadable("something that is neither map, list nor scalar");
  }

  /** What an alias stands for is in the tree again, and counted again. */
  #alias(name: string, depth: number): Node {
    const target = this.#anchors.get(name);
    if (target === undefined) throw unreadable(`the alias ${quoted(name)} leads nowhere`);
    this.#leaves += target.leaves;
    this.#height = Math.max(this.#height, depth + target.height);
    if (this.#leaves > limits.leaves) throw tooManyLeaves();
    if (depth + target.height > limits.depth) throw tooDeep();
    return target.node;
  }

  #map(node: YAMLMap, at: Place, depth: number): MapNode {
    const items: (Pair | Comment)[] = [];
    this.#fillMap(node, items, at, depth);
    if (node.flow === true && at !== undefined) this.#markEnd(node, at, items);
    return { kind: "map", items };
  }

  #fillMap(node: YAMLMap, items: (Pair | Comment)[], parent: At, depth = 0): void {
    const container = this.#container(items, node, parent);
    const seen = new Set<string>();
    for (const { key, value } of node.items as { key: unknown; value: unknown }[]) {
      const { name, span } = this.#key(key);
      if (seen.has(name))
        throw unreadable(`line ${this.#line(span.start)}: the key ${quoted(name)} is there twice`);
      seen.add(name);
      const child = this.#pair(value, span, { ...container, index: items.length, parent }, depth);
      if (parent === undefined && name === "sops") this.#found(span, node, value);
      items.push({ kind: "pair", key: name, value: child });
    }
  }

  #pair(value: unknown, key: Span, place: Place, depth: number): Node {
    const mark = this.#mark(key, place, !isScalar(value) || value.source === "");
    const child = isNode(value) ? this.#node(value, place, depth + 1) : nothing;
    // Behind an anchor, a comment belongs to what the anchor is on.
    if (mark !== undefined && hasAnchor(value) && child.kind !== "leaf")
      mark.within = child.items as Item[];
    return child;
  }

  #container(items: Item[], node: YAMLMap | YAMLSeq, parent: At): Container {
    if (node.flow === true || !this.#marking)
      return { items, indent: undefined, column: undefined };
    const column = this.#lines.columnOf(startOf(node));
    const isAtKey = isSeq(node) && parent?.column === column;
    return { items, column, indent: isAtKey ? undefined : column };
  }

  #key(key: unknown): { readonly name: string; readonly span: Span } {
    if (!isScalar(key)) throw unreadable("a key that is no scalar");
    const span = spanOf(key);
    const value = this.#value(key);
    const where = `line ${this.#line(span.start)}`;
    if (key.anchor !== undefined) throw unreadable(`${where}: a key with an anchor`);
    if (value.type !== "str")
      throw new SopsError("SopsFileInvalid", 23, `${where}: a key that is no string`);
    return { name: key.source ?? "", span };
  }

  /** Remembers where the metadata stands, and how its own keys are indented. */
  #found(key: Span, map: YAMLMap, value: unknown): void {
    if (!isMap(value)) return;
    const first = value.items[0]?.key;
    const base = this.#lines.at(key.start).column;
    this.metadata = {
      start: key.start,
      end: value.range?.[1] ?? key.end,
      isFlow: map.flow === true || value.flow === true,
      indent: isScalar(first) ? this.#lines.at(startOf(first)).column - base : 0,
    };
  }

  #list(node: YAMLSeq, at: Place, depth: number): ListNode {
    const items: (Node | Comment)[] = [];
    const container = this.#container(items, node, at);
    for (const item of node.items) {
      const place = { ...container, index: items.length, parent: at };
      if (!isNode(item)) items.push(nothing);
      else {
        const here = { start: startOf(item), end: startOf(item) };
        const mark = isMap(item) || isSeq(item) ? this.#mark(here, place, true) : undefined;
        const child = this.#node(item, place, depth + 1);
        if (mark !== undefined && child.kind === "map" && place.index > 0)
          mark.inner = child.items as Item[];
        items.push(child);
      }
    }
    if (node.flow === true && at !== undefined) this.#markEnd(node, at, items);
    return { kind: "list", items };
  }

  #leaf(node: Scalar, at: Place): Leaf {
    if (++this.#leaves > limits.leaves) throw tooManyLeaves();
    const span = spanOf(node);
    if (span.end > span.start) this.#mark(span, at, false);
    return { kind: "leaf", value: this.#value(node), span, style: styleOf(node) };
  }

  #value(node: Scalar) {
    const text = node.source ?? "";
    try {
      if (node.tag !== undefined && node.tag !== "!") return resolveTagged(text, node.tag);
      if (node.type === "PLAIN") return resolvePlain(text);
      return { type: "str", bytes: Buffer.from(text) } as const;
    } catch (error) {
      if (error instanceof SopsError) throw error.within(`line ${this.#line(startOf(node))}`);
      throw error;
    }
  }

  #mark({ start, end }: Span, place: At, opens: boolean): Mark | undefined {
    if (!this.#marking || place === undefined) return undefined;
    const mark: Mark = { start, end, place, opens };
    this.marks.push(mark);
    return mark;
  }

  /** The closing bracket: a comment behind it belongs into the container. */
  #markEnd({ range }: YamlNode, place: Place, items: Item[]): void {
    const end = range?.[1] ?? 0;
    const mark = this.#mark({ start: end - 1, end }, place, false);
    if (mark !== undefined) mark.within = items;
  }
}

const hasAnchor = (value: unknown) => (isMap(value) || isSeq(value)) && value.anchor !== undefined;
const nothing: Leaf = {
  kind: "leaf",
  value: { type: "null", bytes: Buffer.alloc(0) },
  style: "plain",
};
const isNode = (value: unknown): value is YamlNode =>
  isScalar(value) || isMap(value) || isSeq(value) || isAlias(value);
const isEmpty = (node: YamlNode) =>
  isScalar(node) && node.type === "PLAIN" && resolvePlain(node.source ?? "").type === "null";
const startOf = (node: YamlNode) => node.range?.[0] ?? 0;
const spanOf = (node: Scalar): Span => ({ start: startOf(node), end: node.range?.[1] ?? 0 });

function styleOf({ type }: Scalar): Style {
  if (type === "PLAIN") return "plain";
  return type === "BLOCK_LITERAL" || type === "BLOCK_FOLDED" ? "block" : "quoted";
}
