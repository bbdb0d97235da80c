import { sealValue } from "./cipher.ts";
import { quoted, SopsError } from "./error.ts";
import { readJson } from "./json-read.ts";
import { changeMetadata } from "./metadata.ts";
import { openFile, type Opened, type OpenOptions } from "./open.ts";
import { sealDocuments, timeText, type Chance, type Sealer } from "./seal.ts";
import { editOf, readPlain, splice, writeEncrypted, type Layout } from "./store.ts";
import type { Comment, Leaf, MapNode, Node, Value } from "./tree.ts";
import { valueOf } from "./tree.ts";
import { walk, type Visit } from "./walk.ts";

export type EditOptions = OpenOptions & { readonly layout?: Layout | undefined };

/** A file after a change; the same bytes when nothing changed. */
export type Edited = { readonly file: Buffer; readonly changed: boolean };

/**
 * Puts another plaintext into a file, under the same data key: what stays the same keeps its bytes, the
 * rest gets a fresh IV. When only encrypted values differ, only they and the MAC change in the text;
 * else the file is written anew, as sops does. Throws as `decryptFile` and `encryptFile`.
 */
export async function editFile(
  bytes: Buffer,
  options: EditOptions & { readonly plaintext: Buffer },
  chance: Chance,
): Promise<Edited> {
  const opened = await openFile(bytes, options);
  return reseal(opened, readPlain(options.plaintext, options.format), options, chance);
}

/**
 * Sets one value, given as JSON, in the first document. `path` is of keys and of positions in lists;
 * what is missing on it is made. Throws as `editFile`, and SopsFileInvalid for a path that leads nowhere.
 */
export async function setValue(
  bytes: Buffer,
  options: EditOptions & { readonly path: readonly (string | number)[]; readonly json: string },
  chance: Chance,
): Promise<Edited> {
  const opened = await openFile(bytes, options);
  const value = parseJson(options.json);
  const [first = { kind: "map", items: [] } satisfies MapNode, ...rest] = opened.documents;
  const changed = put(first, options.path, value);
  if (changed.kind !== "map") throw nowhere(options.path);
  return reseal(opened, [changed, ...rest], options, chance);
}

/** A JSON text as a tree. */
function parseJson(json: string): Node {
  const value = valueOf(readJson(`{"value": ${json}\n}`).root, "value");
  if (value === undefined) throw new SopsError("SopsFileInvalid", 1, "the value is no JSON");
  return value;
}

const nowhere = (path: readonly (string | number)[]) =>
  new SopsError("SopsFileInvalid", 1, `the path ${quoted(JSON.stringify(path))} leads nowhere`);

function put(node: Node | undefined, path: readonly (string | number)[], value: Node): Node {
  const [step, ...rest] = path;
  if (step === undefined) return value;
  if (typeof step === "number") return putItem(node, step, rest, value);
  if (node !== undefined && node.kind !== "map" && !isNull(node)) throw nowhere(path);
  const items = node?.kind === "map" ? node.items : [];
  const isThere = items.some((item) => item.kind === "pair" && item.key === step);
  const pair = (old: Node | undefined) =>
    ({ kind: "pair", key: step, value: put(old, rest, value) }) as const;
  if (!isThere) return { kind: "map", items: [...items, pair(undefined)] };
  return {
    kind: "map",
    items: items.map((item) =>
      item.kind === "pair" && item.key === step ? pair(item.value) : item,
    ),
  };
}

const isNull = (node: Node) => node.kind === "leaf" && node.value.type === "null";

function putItem(
  node: Node | undefined,
  index: number,
  rest: readonly (string | number)[],
  value: Node,
): Node {
  if (node !== undefined && node.kind !== "list") throw nowhere([index]);
  const items: (Node | Comment)[] = [...(node?.items ?? [])];
  const positions = [...items.keys()].filter((at) => items[at]?.kind !== "comment");
  if (index > positions.length) throw nowhere([index]);
  const at = positions[index] ?? items.length;
  const old = items[at];
  items.splice(at, 1, put(old?.kind === "comment" ? undefined : old, rest, value));
  return { kind: "list", items };
}

/** One value of a new plaintext, and its encrypted text. */
type Sealed = { readonly text: string };

function reseal(
  opened: Opened,
  plain: readonly MapNode[],
  options: EditOptions,
  chance: Chance,
): Edited & { readonly file: Buffer } {
  const { source, rule, metadata, dataKey } = opened;
  const sealed: Sealed[] = [];
  const sealer = keepingSealer(opened, chance);
  const recording: Sealer = (value, visit) => {
    const text = sealer(value, visit);
    sealed.push({ text });
    return text;
  };
  const result = sealDocuments(plain, rule, recording, metadata.macOnlyEncrypted);
  const isSameShape = shapeOf(plain, opened) === shapeOf(opened.documents, opened);
  const edits = isSameShape ? editsOf(opened, sealed) : undefined;
  if (edits?.length === 0) return { file: splice(source, []), changed: false };
  const lastModified = timeText(chance.now());
  const mac: Value = { type: "str", bytes: Buffer.from(result.mac) };
  const next = changeMetadata(opened.metadataMap, {
    lastModified,
    mac: sealValue(mac, dataKey, lastModified, chance.random),
  });
  const file =
    edits === undefined
      ? writeEncrypted(result.documents, next, options.format, options.layout)
      : splice(source, [...edits, ...source.place(next)]);
  return { file, changed: true };
}

/** Gives a value the ciphertext that it had at the same path, each one once. */
function keepingSealer({ entries, dataKey }: Opened, { random }: Chance): Sealer {
  const kept = new Map<string, string[]>();
  for (const { node, visit, value, sealed } of entries) {
    if (!sealed) continue;
    const name = nameOf(value, visit);
    const texts = kept.get(name) ?? [];
    texts.push(textOf(node));
    kept.set(name, texts);
  }
  return (value, visit) =>
    kept.get(nameOf(value, visit))?.shift() ?? sealValue(value, dataKey, visit.aad, random);
}

const textOf = (node: Leaf | Comment) =>
  (node.kind === "leaf" ? node.value.bytes : node.bytes).toString();
const nameOf = ({ type, bytes }: Value, { aad }: Visit) =>
  `${type} ${bytes.toString("latin1")} ${aad}`;

/** All of a document but its encrypted values: texts with the same shape differ in these only. */
function shapeOf(documents: readonly MapNode[], { rule }: Opened): string {
  const shape: unknown[] = [];
  for (const document of documents) {
    shape.push(keysOf(document));
    walk(document, rule, (node, { aad, encrypted }) => {
      const value = node.kind === "leaf" ? node.value : { type: "comment", bytes: node.bytes };
      const isSealed = encrypted && value.bytes.length > 0;
      shape.push(aad, isSealed ? node.kind : [value.type, value.bytes.toString("latin1")]);
      return node;
    });
  }
  return JSON.stringify(shape);
}

function keysOf(node: Node | Comment): unknown {
  if (node.kind === "comment") return 0;
  if (node.kind === "leaf") return node.value.type === "null" ? null : 1;
  if (node.kind === "list") return node.items.map(keysOf);
  return {
    map: node.items.map((item) => (item.kind === "comment" ? 0 : [item.key, keysOf(item.value)])),
  };
}

/** Undefined when a value has no place of its own in the text. */
function editsOf({ source, entries }: Opened, sealed: readonly Sealed[]) {
  const old = entries.filter((entry) => entry.sealed);
  const fresh = sealed.filter(({ text }) => text !== "");
  if (old.length !== fresh.length) return undefined;
  const edits = [];
  for (const [i, { node }] of old.entries()) {
    const text = fresh[i]?.text ?? "";
    if (text === textOf(node)) continue;
    const edit = editOf(source, node, text);
    if (edit === undefined) return undefined;
    edits.push(edit);
  }
  return edits;
}
