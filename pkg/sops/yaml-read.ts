import {
  Composer,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Parser,
  Scalar,
  type Document,
  type Node as YamlNode,
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

type Container = { readonly items: (Pair | Comment | Node)[]; readonly indent: number | undefined };
/** The item of a container that a node belongs to. */
type At = Place | undefined;

/** Turns one document into a tree. */
class Reader {
  readonly marks: Mark[] = [];
  metadata: MetadataPlace | undefined;
  #leaves = 0;
  readonly #lines: Lines;
  readonly #marking: boolean;
  readonly #anchors = new Map<string, YamlNode>();
  readonly #open = new Set<YamlNode>();

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
    if (depth > limits.depth) throw tooLarge(`it is nested more than ${limits.depth} deep`);
    if (isAlias(node)) return this.#alias(node.source, at, depth);
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    this.#open.add(node);
    const result = this.#content(node, at, depth);
    this.#open.delete(node);
    return result;
  }

  #content(node: YamlNode, at: Place, depth: number): Node {
    if (isMap(node)) return this.#map(node, at, depth);
    if (isSeq(node)) return this.#list(node, at, depth);
    if (isScalar(node)) return this.#leaf(node, at);
    throw unreadable("something that is neither map, list nor scalar");
  }

  #alias(name: string, at: Place, depth: number): Node {
    const target = this.#anchors.get(name);
    if (target === undefined || this.#open.has(target))
      throw unreadable(`the alias ${quoted(name)} leads nowhere`);
    return this.#content(target, at, depth + 1);
  }

  #map(node: YAMLMap, at: Place, depth: number): MapNode {
    const items: (Pair | Comment)[] = [];
    this.#fillMap(node, items, at, depth);
    if (node.flow === true) this.#mark(node, at, { opens: false, closes: items });
    return { kind: "map", items };
  }

  #fillMap(node: YAMLMap, items: (Pair | Comment)[], parent: At, depth = 0): void {
    const container = this.#container(items, node);
    const seen = new Set<string>();
    for (const { key, value } of node.items as { key: unknown; value: unknown }[]) {
      const { name, span } = this.#key(key);
      if (seen.has(name))
        throw unreadable(`line ${this.#line(span.start)}: the key ${quoted(name)} is there twice`);
      seen.add(name);
      const place = { ...container, index: items.length, parent };
      this.#mark(span, place, { opens: !isScalar(value) });
      const child = isNode(value) ? this.#node(value, place, depth + 1) : nothing;
      if (parent === undefined && name === "sops") this.#found(span, node, value, child);
      items.push({ kind: "pair", key: name, value: child });
    }
  }

  #container(items: Container["items"], node: YAMLMap | YAMLSeq): Container {
    const isBlock = node.flow !== true && this.#marking;
    return { items, indent: isBlock ? this.#lines.at(node.range?.[0] ?? 0).column : undefined };
  }

  #key(key: unknown): { readonly name: string; readonly span: Span } {
    const target = isAlias(key) ? this.#anchors.get(key.source) : key;
    if (!isScalar(target)) throw unreadable("a key that is no scalar");
    if (target.anchor !== undefined) this.#anchors.set(target.anchor, target);
    const span = spanOf(target);
    const value = this.#value(target);
    if (value.type !== "str")
      throw new SopsError(
        "SopsFileInvalid",
        23,
        `line ${this.#line(span.start)}: a key that is no string`,
      );
    return { name: target.source ?? "", span };
  }

  /** Remembers where the metadata stands, and how its own keys are indented. */
  #found(key: Span, map: YAMLMap, value: unknown, child: Node): void {
    const end = isNode(value) ? (value.range?.[1] ?? key.end) : key.end;
    const first = isMap(value) ? (value.items[0]?.key as YamlNode | undefined) : undefined;
    const base = this.#lines.at(key.start).column;
    const indent = this.#lines.at(first?.range?.[0] ?? 0).column - base;
    const isFlow = map.flow === true || (isMap(value) && value.flow === true);
    if (child.kind === "map") this.metadata = { start: key.start, end, isFlow, indent };
  }

  #list(node: YAMLSeq, at: Place, depth: number): ListNode {
    const items: (Node | Comment)[] = [];
    const container = this.#container(items, node);
    for (const item of node.items) {
      const place = { ...container, index: items.length, parent: at };
      if (!isNode(item)) items.push(nothing);
      else {
        if (isMap(item) || isSeq(item))
          this.#mark({ start: startOf(item), end: startOf(item) }, place, { opens: true });
        items.push(this.#node(item, place, depth + 1));
      }
    }
    if (node.flow === true) this.#mark(node, at, { opens: false, closes: items });
    return { kind: "list", items };
  }

  #leaf(node: Scalar, at: Place): Leaf {
    if (++this.#leaves > limits.leaves) throw tooLarge(`more than ${limits.leaves} values`);
    const span = spanOf(node);
    this.#mark(span, at, { opens: false });
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

  #mark(
    what: YamlNode | Span,
    place: At,
    { opens, closes }: { opens: boolean; closes?: Container["items"] },
  ): void {
    if (!this.#marking || place === undefined) return;
    if (closes === undefined) {
      const { start, end } = what as Span;
      this.marks.push({ start, end, place, opens });
      return;
    }
    // The closing bracket: a comment behind it belongs to the value, one in front of it into it.
    const end = (what as YamlNode).range?.[1] ?? 0;
    const within = place.items === closes ? undefined : closes;
    this.marks.push({ start: end - 1, end, place, opens, within });
  }
}

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
