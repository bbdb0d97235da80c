import { createHash } from "node:crypto";
import { CapitanError } from "../errors/index.ts";
import {
  asMap,
  asNumber,
  asString,
  canonicalJson,
  parseJson,
  type JsonMap,
} from "../json/index.ts";
import { parseKey } from "../object/index.ts";
import type { Entry, Header, Inventory, Kept, Ledger, Pin, Seen } from "./inventory.ts";

/** Where the inventory lives in each workload cluster. */
export const inventoryNamespace = "capitan-system";
/** The ConfigMap with the header; with few entries also with the entries. */
export const inventoryName = "inventory";
/**
 * The same for what the hub brings to itself: the hub may be a workload cluster too, of its own or of
 * another hub, and each list has one writer.
 */
export const managementInventoryName = "management-inventory";

/** The Secret beside it, with the key of digests over Secrets. */
export const inventoryKeyName = "inventory-key";

/** One ConfigMap of the inventory: its name and data. */
export type Document = { readonly name: string; readonly data: Readonly<Record<string, string>> };

const format = 1;
/** About 350 bytes each: little to write again after a repair. */
const entriesPerShard = 100;
const shardsMax = 256;
const entriesMax = entriesPerShard * shardsMax;

/**
 * The documents of an inventory, in the order in which they must be written: shards first, the
 * header last, so that a reader never finds a header without its shards. The number of shards is in
 * the shards' names and only grows; with one, the header document holds the entries itself.
 */
export function encodeInventory(
  { header, inventory }: { readonly header: Header; readonly inventory: Inventory },
  headerName: string,
  shardsBefore: number,
  written = new Lines(),
): readonly Document[] {
  if (inventory.size > entriesMax)
    throw invalid(headerName, `would hold ${inventory.size} objects, more than ${entriesMax}`);
  let shards = Math.max(1, shardsBefore);
  while (inventory.size > shards * entriesPerShard && shards < shardsMax) shards *= 2;
  const lines = Array.from({ length: shards }, (): string[] => []);
  const sorted = [...inventory.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  for (const entry of sorted) {
    const { line, hash } = written.of(entry);
    lines[hash % shards]?.push(line);
  }
  const texts = lines.map((shard) => shard.join("\n"));
  const head = encodeHeader(header, shards);
  if (shards === 1) return [{ name: headerName, data: { header: head, entries: texts[0] ?? "" } }];
  const documents = texts.map((entries, i) => ({
    name: `${headerName}-${shards}-${i}`,
    data: { entries },
  }));
  return [...documents, { name: headerName, data: { header: head } }];
}

/** The header's document with another header; entries that lie in it too stay as they are. */
export function withHeader({ name, data }: Document, header: Header, shards: number): Document {
  return { name, data: { ...data, header: encodeHeader(header, shards) } };
}

function encodeHeader({ cluster, pins }: Header, shards: number): string {
  return canonicalJson({ format, shards, cluster, pins: Object.fromEntries(pins) });
}

type Line = { readonly line: string; readonly hash: number };

/** Entries as they are written, each made once: most of a long list stays as it was. */
export class Lines {
  readonly #lines = new WeakMap<Entry, Line>();

  of(entry: Entry): Line {
    const held = this.#lines.get(entry);
    if (held !== undefined) return held;
    const hash = createHash("sha256").update(entry.key).digest().readUInt32BE(0);
    const made = { line: canonicalJson(entry), hash };
    this.#lines.set(entry, made);
    return made;
  }
}

/**
 * Reads the documents found in the cluster, which may have been edited by anybody.
 * Throws InventoryInvalid; a missing shard is an error, never an empty list.
 */
export function decodeInventory(
  documents: readonly Document[],
  headerName = inventoryName,
): Ledger & { readonly shards: number } {
  const byName = new Map(documents.map((document) => [document.name, document.data]));
  const text = byName.get(headerName);
  if (text === undefined) return { header: undefined, inventory: new Map(), shards: 1 };
  const { shards, header } = decodeHeader(text["header"], headerName);
  const names =
    shards === 1
      ? [headerName]
      : Array.from({ length: shards }, (_, i) => `${headerName}-${shards}-${i}`);
  const entries = names.flatMap((name) => {
    const lines = byName.get(name)?.["entries"];
    if (lines === undefined) throw invalid(name, "is missing or has no entries");
    return lines
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => decodeEntry(line, name));
  });
  if (entries.length > entriesMax) throw invalid(headerName, `has more than ${entriesMax} entries`);
  return { header, inventory: new Map(entries.map((entry) => [entry.key, entry])), shards };
}

function decodeHeader(
  text: string | undefined,
  headerName: string,
): { shards: number; header: Header } {
  const found = parseLine(text ?? "", headerName);
  const shards = asNumber(found["shards"]) ?? 0;
  if (found["format"] !== format)
    throw invalid(headerName, "has a format that this version does not know");
  if (!Number.isInteger(shards) || shards < 1 || shards > shardsMax)
    throw invalid(headerName, "has an impossible number of shards");
  const pins = Object.entries(asMap(found["pins"])).map(
    ([owner, pin]) => [owner, decodePin(asMap(pin), headerName)] as const,
  );
  return { shards, header: { cluster: asString(found["cluster"]) ?? "", pins: new Map(pins) } };
}

function decodePin({ sequence, revision, fleet }: JsonMap, headerName: string): Pin {
  const number = asNumber(sequence) ?? -1;
  if (!Number.isSafeInteger(number) || number < 0)
    throw invalid(headerName, "has an impossible sequence number");
  return { sequence: number, revision: asString(revision) ?? "", fleet: asString(fleet) ?? "" };
}

function decodeEntry(line: string, name: string): Entry {
  const { key, version, owner, layer, policy, want, own, uid, created, approved, seen, kept } =
    parseLine(line, name);
  const usable =
    typeof key === "string" &&
    parseKey(key) !== undefined &&
    typeof version === "string" &&
    typeof owner === "string" &&
    typeof layer === "string";
  if (!usable || (policy !== "Delete" && policy !== "Orphan"))
    throw invalid(name, "has an entry that is not one of ours");
  return {
    key,
    version,
    owner,
    layer,
    policy,
    ...optional("want", asString(want)),
    ...optional("own", asString(own)),
    ...optional("uid", asString(uid)),
    ...optional("created", typeof created === "boolean" ? created : undefined),
    ...optional("approved", approved === true ? approved : undefined),
    ...optional("seen", decodeSeen(seen)),
    ...optional("kept", decodeKept(kept)),
  };
}

function decodeKept(value: unknown): Kept | undefined {
  const { manager, path } = asMap(value);
  return typeof manager === "string" && typeof path === "string" ? { manager, path } : undefined;
}

/** Hints that cannot be read are none. */
function decodeSeen(value: unknown): Seen | undefined {
  const { version, generation, main, meta } = asMap(value);
  if (typeof version !== "string" || typeof main !== "string" || typeof meta !== "string") {
    return undefined;
  }
  return { version, main, meta, ...optional("generation", asNumber(generation)) };
}

function optional<K extends string, V>(key: K, value: V | undefined): Partial<Record<K, V>> {
  return value === undefined ? {} : ({ [key]: value } as Partial<Record<K, V>>);
}

function parseLine(line: string, name: string): JsonMap {
  try {
    return asMap(parseJson(line));
  } catch {
    throw invalid(name, "is not JSON");
  }
}

const invalid = (name: string, what: string) =>
  new CapitanError("InventoryInvalid", `ConfigMap ${inventoryNamespace}/${name} ${what}`);
