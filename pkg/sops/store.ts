import { isUtf8 } from "node:buffer";
import { dotenvMetadata, isReservedName, readDotenv, writeDotenv } from "./dotenv.ts";
import { SopsError, tooLarge, unreadable } from "./error.ts";
import { readIni } from "./ini-read.ts";
import { iniMetadata, writeIni } from "./ini-write.ts";
import { binaryData, readJson } from "./json-read.ts";
import { jsonIndent, jsonLine, jsonText, stringJson, writeJson } from "./json-write.ts";
import type { Comment, Leaf, MapNode, Span } from "./tree.ts";
import { limits, valueOf } from "./tree.ts";
import { readYaml, type MetadataPlace } from "./yaml-read.ts";
import { writeYaml, yamlIndent } from "./yaml-write.ts";

/** The formats of SOPS. */
export const formats = ["yaml", "json", "dotenv", "ini", "binary"] as const;
export type Format = (typeof formats)[number];

/** How files are laid out, from `stores` of `.sops.yaml`. */
export type Layout = {
  readonly yamlIndent?: number | undefined;
  readonly jsonIndent?: number | undefined;
  readonly binaryIndent?: number | undefined;
};

/** A piece of text that takes the place of another. */
export type Edit = Span & { readonly text: string };

/** A file as a text and the trees in it. */
export type Source = {
  readonly format: Format;
  readonly text: string;
  readonly encoding: "utf8" | "latin1";
  /** Without metadata. */
  readonly documents: readonly MapNode[];
  /** Undefined when the file is not encrypted. Only the first document's count. */
  readonly metadata: MapNode | undefined;
  /** Of each further document: whether it repeats the metadata of the first. */
  readonly repeats: readonly boolean[];
  /** What replaces the metadata wherever they stand. */
  readonly place: (metadata: MapNode) => readonly Edit[];
};

/** The format that a file's name stands for. */
export function formatOf(path: string): Format {
  if (/\.ya?ml$/i.test(path)) return "yaml";
  if (/\.json$/i.test(path)) return "json";
  if (path.endsWith(".env")) return "dotenv";
  return path.endsWith(".ini") ? "ini" : "binary";
}

/** Reads a file, encrypted or plain. Throws SopsFileInvalid (2) and SopsFileTooLarge. */
export function readSource(bytes: Buffer, format: Format): Source {
  if (bytes.length > limits.fileBytes) throw tooLarge(`more than ${limits.fileBytes} bytes`);
  const encoding = format === "dotenv" ? "latin1" : "utf8";
  if (encoding === "utf8" && !isUtf8(bytes)) throw unreadable("it is no UTF-8");
  const text = bytes.toString(encoding);
  return { format, text, encoding, ...readers[format](text) };
}

/** The tree of a plain file; of a binary one the bytes are its only value. */
export function readPlain(bytes: Buffer, format: Format): readonly MapNode[] {
  if (format !== "binary") {
    const source = readSource(bytes, format);
    refuseReserved(source);
    return source.documents;
  }
  if (bytes.length > limits.fileBytes) throw tooLarge(`more than ${limits.fileBytes} bytes`);
  const value: Leaf = { kind: "leaf", value: { type: "str", bytes }, style: "plain" };
  return [{ kind: "map", items: [{ kind: "pair", key: "data", value }] }];
}

function refuseReserved({ metadata }: Source): void {
  if (metadata !== undefined)
    throw new SopsError(
      "AlreadyEncrypted",
      203,
      "the key sops is kept for metadata, so the file counts as encrypted",
    );
}

type Read = Pick<Source, "documents" | "metadata" | "place" | "repeats">;

const readers: Readonly<Record<Format, (text: string) => Read>> = {
  yaml: readYamlSource,
  json: readJsonSource,
  binary: readJsonSource,
  dotenv: (text) => {
    const { root, metadata, lines } = readDotenv(text);
    return {
      documents: [root],
      metadata,
      repeats: [],
      place: (next) => {
        const [first, ...rest] = lines;
        if (first === undefined) return [];
        const replaced = { ...first, text: writeDotenv(dotenvMetadata(next)) };
        return [replaced, ...rest.map((line) => ({ ...line, text: "" }))];
      },
    };
  },
  ini: (text) => {
    const { root, metadata, place } = readIni(text);
    const section = (next: MapNode) => writeIni({ kind: "map", items: [iniMetadata(next)] });
    return {
      documents: [root],
      metadata,
      repeats: [],
      place: (next) => (place === undefined ? [] : [{ ...place, text: section(next) }]),
    };
  },
};

function readYamlSource(text: string): Read {
  const all = readYaml(text);
  const [first] = all;
  if (first === undefined) throw new SopsError("SopsFileInvalid", 92, "the file is empty");
  const places = all.flatMap(({ metadata }) => metadata ?? []);
  const blocks = all.map(({ metadata }) => text.slice(metadata?.start, metadata?.end).trimEnd());
  return {
    repeats: blocks.slice(1).map((block) => block === blocks[0]),
    documents: all.map(({ root }) => without(root)),
    metadata: metadataOf(first.root),
    place: (next) => places.map((place) => ({ ...place, text: yamlBlock(text, place, next) })),
  };
}

function readJsonSource(text: string): Read {
  const { root, metadata } = readJson(text);
  return {
    repeats: [],
    documents: [without(root)],
    metadata: metadataOf(root),
    place: (next) =>
      metadata === undefined ? [] : [{ ...metadata, text: jsonBlock(text, metadata, next) }],
  };
}

const without = (root: MapNode): MapNode => ({
  kind: "map",
  items: root.items.filter((item) => item.kind === "comment" || item.key !== "sops"),
});

function metadataOf(root: MapNode): MapNode | undefined {
  const node = valueOf(root, "sops");
  if (node === undefined || node.kind === "map") return node;
  throw new SopsError("SopsFileInvalid", 1, "the key sops is no map");
}

/** The block as SOPS writes it, indented as it was. */
function yamlBlock(text: string, place: MetadataPlace, metadata: MapNode): string {
  if (place.isFlow) return jsonBlock(text, { ...place, indent: -1 }, metadata);
  const indent = place.indent >= 2 && place.indent <= 9 ? place.indent : yamlIndent;
  const block = writeYaml([sopsMap(metadata)], indent);
  return text[place.end - 1] === "\n" ? block : block.slice(0, -1);
}

const sopsMap = (metadata: MapNode): MapNode => ({
  kind: "map",
  items: [{ kind: "pair", key: "sops", value: metadata }],
});

function jsonBlock(text: string, { start, indent }: MetadataPlace, metadata: MapNode): string {
  const key = stringJson("sops");
  if (indent < 0) return `${key}: ${jsonLine(metadata)}`;
  const unit = text.slice(start - indent, start);
  return `${key}: ${jsonText(metadata, unit, unit)}`;
}

/** A file's text with some pieces replaced. */
export function splice({ text, encoding }: Source, edits: readonly Edit[]): Buffer {
  const pieces: string[] = [];
  let at = 0;
  for (const edit of edits.toSorted((a, b) => a.start - b.start)) {
    if (edit.start < at) continue; // an alias names a place again
    pieces.push(text.slice(at, edit.start), edit.text);
    at = edit.end;
  }
  pieces.push(text.slice(at));
  return Buffer.from(pieces.join(""), encoding);
}

/** Puts an encrypted value where another one stands, in the same style; undefined when it has no place of its own. */
export function editOf(
  { format, text }: Source,
  node: Leaf | Comment,
  value: string,
): Edit | undefined {
  const { span } = node;
  if (span === undefined) return undefined;
  if (node.kind === "comment") return { ...span, text: value };
  const { style } = node;
  if (format === "json" || format === "binary") return { ...span, text: stringJson(value) };
  if (style === "block") {
    const end = text[span.end - 1] === "\n" ? "\n" : "";
    return { ...span, text: `${value}${end}` };
  }
  return { ...span, text: style === "quoted" ? `"${value}"` : value };
}

/** Writes plain documents as `sops decrypt` prints them. Throws SopsFileInvalid for what a format has no place for. */
export function writePlain(
  documents: readonly MapNode[],
  format: Format,
  layout: Layout = {},
): Buffer {
  const root: MapNode = documents[0] ?? { kind: "map", items: [] };
  switch (format) {
    case "yaml":
      return Buffer.from(writeYaml(documents, layout.yamlIndent ?? yamlIndent));
    case "json":
      return Buffer.from(writeJson(root, layout.jsonIndent ?? jsonIndent));
    case "dotenv":
      return Buffer.from(writeDotenv(root), "latin1");
    case "ini":
      return Buffer.from(writeIni(root));
    case "binary":
      return binaryData(root);
  }
}

/** Writes encrypted documents with their metadata, as sops does. Throws AlreadyEncrypted (203) for reserved names. */
export function writeEncrypted(
  documents: readonly MapNode[],
  metadata: MapNode,
  format: Format,
  layout: Layout = {},
): Buffer {
  const items = metadataItems(metadata, format);
  const whole = documents.map((document): MapNode => {
    const names = document.items.flatMap((item) => (item.kind === "pair" ? [item.key] : []));
    if (names.some((name) => (format === "dotenv" ? isReservedName(name) : name === "sops")))
      throw new SopsError("AlreadyEncrypted", 203, "a name that is kept for metadata");
    return { kind: "map", items: [...document.items, ...items] };
  });
  if (format === "binary")
    return writePlain(whole, "json", { jsonIndent: layout.binaryIndent ?? jsonIndent });
  return writePlain(whole, format, layout);
}

function metadataItems(metadata: MapNode, format: Format): MapNode["items"] {
  if (format === "dotenv") return dotenvMetadata(metadata).items;
  if (format === "ini") return [iniMetadata(metadata)];
  return sopsMap(metadata).items;
}
