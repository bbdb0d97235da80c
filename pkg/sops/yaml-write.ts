import type { Comment, Leaf, ListNode, MapNode, Node, Value } from "./tree.ts";
import { decimal, digitsOf, numberOf } from "./value.ts";
import { scalarText, type ScalarText } from "./yaml-text.ts";

/** SOPS' own indentation when nothing is configured. */
export const yamlIndent = 4;
/** A longer key, in bytes, is written as `? key`. */
const simpleKeyBytesMax = 128;

/** Writes documents byte for byte as SOPS does (go-yaml v3, which never folds lines). */
export function writeYaml(documents: readonly MapNode[], indent = yamlIndent): string {
  const writer = new Writer(indent);
  for (const [i, document] of documents.entries()) writer.document(document, i > 0);
  return writer.text();
}

/** The comments of a container as go-yaml has them: in front of, behind and below its nodes. */
type Commented<T> = {
  readonly nodes: readonly { readonly node: T; readonly head: string; readonly line: string }[];
  readonly head: string;
  readonly foot: string;
};

const joined = (comments: readonly Buffer[]) =>
  comments.length === 0 ? "" : `#${comments.map((bytes) => bytes.toString()).join("\n#")}`;

const isComment = (item: { readonly kind: string }): item is Comment => item.kind === "comment";

function commented<T extends { readonly kind: string }>(
  items: readonly (T | Comment)[],
): Commented<T> {
  const nodes: { node: T; head: string; line: string }[] = [];
  let heads: Buffer[] = [];
  let inlines: Buffer[] = [];
  let head = "";
  for (const item of items) {
    if (isComment(item)) (item.inline ? inlines : heads).push(item.bytes);
    else {
      const first = nodes.length === 0;
      if (first) head = joined(heads);
      nodes.push({ node: item, head: first ? "" : joined(heads), line: joined(inlines) });
      [heads, inlines] = [[], []];
    }
  }
  const rest = joined([...heads, ...inlines]);
  return nodes.length === 0 ? { nodes, head: rest, foot: "" } : { nodes, head, foot: rest };
}

const lines = (...comments: readonly string[]) => comments.filter((text) => text !== "").join("\n");

/** Whose item a scalar or container is, which decides how far its content is indented. */
type Parent = "map" | "list" | "none";

/** A small machine as go-yaml's emitter is one: comments wait until the place where they are due. */
class Writer {
  readonly #indent: number;
  #out: string[] = [];
  #column = 0;
  #whitespace = true;
  #indention = true;
  #level = -1;
  /** After a comment below something, the next line at that column has an empty one above it. */
  #footLevel = -1;
  #head = "";
  #line = "";
  #foot = "";
  #tail = "";

  constructor(indent: number) {
    this.#indent = indent;
  }

  text(): string {
    return this.#out.join("");
  }

  document(root: MapNode, isFurther: boolean): void {
    this.#level = -1;
    if (isFurther) {
      this.#startLine();
      this.#indicator("---", true);
      this.#startLine();
    }
    this.#announce({ head: headOf(root).head });
    this.#map(root, "none", { head: "", line: "", foot: "" });
    this.#footLevel = 0;
    this.#writeFoot();
    this.#footLevel = -1;
    this.#startLine();
  }

  #put(text: string): void {
    this.#out.push(text);
    this.#column += text.length;
  }

  #break(): void {
    this.#out.push("\n");
    this.#column = 0;
    this.#indention = true;
  }

  #startLine(): void {
    const level = Math.max(this.#level, 0);
    if (!this.#indention || this.#column > level || (this.#column === level && !this.#whitespace))
      this.#break();
    if (this.#footLevel === level) this.#break();
    if (this.#column < level) this.#put(" ".repeat(level - this.#column));
    this.#whitespace = true;
    this.#footLevel = -1;
  }

  #indicator(text: string, needsSpace: boolean, { space = false, indents = false } = {}): void {
    if (needsSpace && !this.#whitespace) this.#put(" ");
    this.#put(text);
    this.#whitespace = space;
    this.#indention &&= indents;
  }

  #increase(parent: Parent, isFlow: boolean): number {
    const level = this.#level;
    if (level < 0) this.#level = isFlow ? this.#indent : 0;
    else if (parent === "list") this.#level += 2;
    else this.#level = this.#indent * Math.floor((level + this.#indent) / this.#indent);
    return level;
  }

  #comment(text: string): void {
    for (const [i, line] of text.split("\n").entries()) {
      if (i > 0) {
        this.#break();
        if (line !== "") this.#startLine();
      }
      if (line === "") continue;
      this.#put(line);
      this.#indention = false;
    }
    if (this.#column > 0) this.#break();
    this.#whitespace = true;
  }

  #writeHead(): void {
    if (this.#tail !== "") {
      this.#startLine();
      this.#comment(this.#tail);
      this.#tail = "";
      this.#footLevel = Math.max(this.#level, 0);
    }
    if (this.#head === "") return;
    this.#startLine();
    this.#comment(this.#head);
    this.#head = "";
  }

  #writeLine(): void {
    if (this.#line === "") return;
    if (!this.#whitespace) this.#put(" ");
    this.#comment(this.#line);
    this.#line = "";
  }

  #writeFoot(): void {
    if (this.#foot === "") return;
    this.#startLine();
    this.#comment(this.#foot);
    this.#foot = "";
    this.#footLevel = Math.max(this.#level, 0);
  }

  #announce({ head = "", line = "", foot = "", tail = "" }): void {
    if (head !== "") this.#head = head;
    if (line !== "") this.#line = line;
    if (foot !== "") this.#foot = foot;
    if (tail !== "") this.#tail = tail;
  }

  #map(map: MapNode, parent: Parent, own: Own): void {
    const { nodes, foot } = commented(map.items);
    if (nodes.length === 0) {
      this.#emptyMap(parent, own);
      return;
    }
    const level = this.#increase(parent, false);
    for (const { node, head, line } of nodes) {
      this.#announce({ head });
      this.#writeHead();
      this.#startLine();
      const isSimple = this.#key(node.key);
      if (isSimple) this.#indicator(":", false);
      else {
        this.#startLine();
        this.#indicator(":", true, { indents: true });
      }
      this.#value(node.value, { head: "", line, foot: "" });
    }
    this.#announce({ tail: foot, line: own.line, foot: own.foot });
    this.#writeHead();
    this.#level = level;
  }

  #key(key: string): boolean {
    const scalar = scalarText({ type: "str", bytes: Buffer.from(key) });
    const isMerge = key === "<<";
    const bytes = Buffer.byteLength(key);
    const isSimple =
      !key.includes("\n") && !/[\u0085\u2028\u2029\r]/.test(key) && bytes <= simpleKeyBytesMax;
    if (!isSimple) this.#indicator("?", true, { indents: true });
    if (isMerge) this.#tag("!!merge");
    this.#scalar(scalar, "map", isSimple);
    return isSimple;
  }

  #tag(tag: string): void {
    if (!this.#whitespace) this.#put(" ");
    this.#put(tag);
    this.#whitespace = false;
    this.#indention = false;
  }

  #value(node: Node, own: Own): void {
    const { head } = headOf(node);
    if (node.kind === "leaf") {
      this.#announce({ line: own.line });
      this.#leaf(node, "map");
      this.#writeLine();
      this.#writeFoot();
      return;
    }
    this.#announce({ head });
    if (isEmptyNode(node)) {
      this.#empty(node, "map", own);
      return;
    }
    // What waits here goes where go-yaml's machine writes it: before the content.
    this.#writeLine();
    this.#writeFoot();
    if (node.kind === "map") this.#map(node, "map", own);
    else this.#list(node, "map", own);
  }

  #list(list: ListNode, parent: Parent, own: Own): void {
    const { nodes, foot } = commented(list.items);
    const level = this.#increase(parent, false);
    for (const [i, { node, head, line }] of nodes.entries()) {
      const isLast = i === nodes.length - 1;
      this.#item(node, { head, line, foot: isLast ? foot : "" });
    }
    this.#announce({ line: own.line, foot: own.foot });
    this.#level = level;
  }

  #item(node: Node, own: Own): void {
    const isLeaf = node.kind === "leaf";
    this.#announce({ head: lines(own.head, headOf(node).head) });
    if (isLeaf) this.#announce({ line: own.line, foot: own.foot });
    this.#writeHead();
    this.#startLine();
    this.#indicator("-", true, { indents: true });
    if (isLeaf) this.#leaf(node, "list");
    this.#writeLine();
    this.#writeFoot();
    if (node.kind === "leaf") return;
    if (isEmptyNode(node)) this.#empty(node, "list", own);
    else if (node.kind === "map") this.#map(node, "list", own);
    else this.#list(node, "list", own);
  }

  #empty(node: MapNode | ListNode, parent: Parent, own: Own): void {
    if (node.kind === "map") this.#emptyMap(parent, own);
    else this.#emptyList(own);
  }

  #emptyMap(parent: Parent, own: Own): void {
    this.#indicator("{", true, { space: true });
    const level = this.#increase(parent, true);
    this.#announce({ line: own.line, foot: own.foot });
    this.#writeHead();
    this.#level = level;
    this.#indicator("}", false);
    this.#writeLine();
    this.#writeFoot();
  }

  #emptyList(own: Own): void {
    this.#indicator("[", true, { space: true });
    this.#announce({ line: own.line, foot: own.foot });
    if (this.#column === 0) this.#startLine();
    this.#indicator("]", false);
    this.#writeLine();
    this.#writeFoot();
  }

  #leaf({ value }: Leaf, parent: Parent): void {
    const scalar = valueText(value);
    if (scalar.tag !== undefined) this.#tag(scalar.tag);
    this.#scalar(scalar, parent, false);
  }

  #scalar({ text, style }: ScalarText, parent: Parent, isSimpleKey: boolean): void {
    if (style === "literal" && !isSimpleKey) {
      this.#literal(text, parent);
      return;
    }
    if (text === "") return;
    this.#indicator(text, true);
  }

  #literal(text: string, parent: Parent): void {
    const hint = /^[ \n\r\u0085\u2028\u2029]/.test(text) ? `${this.#indent}` : "";
    const chomp = text.endsWith("\n") ? (text === "\n" || text.endsWith("\n\n") ? "+" : "") : "-";
    this.#indicator(`|${hint}${chomp}`, true);
    if (this.#line === "") this.#break();
    else this.#writeLine();
    this.#whitespace = true;
    const level = this.#increase(parent, true);
    const body = text.split("\n");
    for (const [i, line] of body.entries()) {
      if (line !== "") {
        this.#startLine();
        this.#put(line);
        this.#indention = false;
      }
      if (i < body.length - 1) this.#break();
    }
    this.#level = level;
  }
}

type Own = { readonly head: string; readonly line: string; readonly foot: string };

/** The comments in front of a container's first node are its own. */
function headOf(node: Node): { readonly head: string } {
  return node.kind === "leaf" ? { head: "" } : commented<{ readonly kind: string }>(node.items);
}

const isEmptyNode = (node: MapNode | ListNode) => node.items.every(isComment);

/** A value as go-yaml writes it. */
function valueText(value: Value): ScalarText {
  switch (value.type) {
    case "null":
      return { text: "null", style: "plain" };
    case "bool":
      return { text: value.bytes.toString() === "True" ? "true" : "false", style: "plain" };
    case "int":
    case "time":
      return { text: value.bytes.toString(), style: "plain" };
    case "float":
      return { text: floatText(numberOf(value.bytes), "e"), style: "plain" };
    case "str":
    case "bytes":
    case "comment":
      return scalarText(value);
  }
}

/** Go's shortest form of a float: an exponent of at least two digits for big and small ones. */
export function floatText(value: number, e: "e" | "E"): string {
  if (Number.isNaN(value)) return ".nan";
  if (!Number.isFinite(value)) return value > 0 ? ".inf" : "-.inf";
  const { digits, point } = digitsOf(value);
  const exponent = point - 1;
  if (exponent >= -4 && exponent < 6) return decimal(value);
  const fraction = digits.length > 1 ? `.${digits.slice(1)}` : "";
  const power = `${Math.abs(exponent)}`.padStart(2, "0");
  const sign = value < 0 ? "-" : "";
  return `${sign}${digits[0]}${fraction}${e}${exponent < 0 ? "-" : "+"}${power}`;
}
