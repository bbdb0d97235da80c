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
import type { Entry, Inventory } from "./inventory.ts";

/** Where the inventory lives in each workload cluster. */
export const inventoryNamespace = "capitan-system";
/** The ConfigMap with the header; with few entries also with the entries. */
export const inventoryName = "inventory";

/** One ConfigMap of the inventory: its name and data. */
export type Document = { readonly name: string; readonly data: Readonly<Record<string, string>> };

const format = 1;
/** About 200 bytes each: well below the 1 MiB that a ConfigMap may hold. */
const entriesPerShard = 2_000;
const shardsMax = 64;
const entriesMax = entriesPerShard * shardsMax;

/**
 * The documents of an inventory, in the order in which they must be written: shards first, the
 * header last, so that a reader never finds a header without its shards. The number of shards is in
 * the shards' names and only grows; with one, the header document holds the entries itself.
 */
export function encodeInventory(inventory: Inventory, shardsBefore: number): readonly Document[] {
  let shards = Math.max(1, shardsBefore);
  while (inventory.size > shards * entriesPerShard && shards < shardsMax) shards *= 2;
  const lines = Array.from({ length: shards }, (): string[] => []);
  const sorted = [...inventory.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  for (const entry of sorted) lines[shardOf(entry.key, shards)]?.push(canonicalJson(entry));
  const texts = lines.map((shard) => shard.join("\n"));
  const header = canonicalJson({ format, shards });
  if (shards === 1) return [{ name: inventoryName, data: { header, entries: texts[0] ?? "" } }];
  const documents = texts.map((entries, i) => ({
    name: `${inventoryName}-${shards}-${i}`,
    data: { entries },
  }));
  return [...documents, { name: inventoryName, data: { header } }];
}

function shardOf(key: string, shards: number): number {
  return createHash("sha256").update(key).digest().readUInt32BE(0) % shards;
}

/**
 * Reads the documents found in the cluster, which may have been edited by anybody.
 * Throws InventoryInvalid; a missing shard is an error, never an empty list.
 */
export function decodeInventory(documents: readonly Document[]): {
  readonly inventory: Inventory;
  readonly shards: number;
} {
  const byName = new Map(documents.map((document) => [document.name, document.data]));
  const header = byName.get(inventoryName);
  if (header === undefined) return { inventory: new Map(), shards: 1 };
  const shards = shardsOf(header["header"]);
  const names =
    shards === 1
      ? [inventoryName]
      : Array.from({ length: shards }, (_, i) => `${inventoryName}-${shards}-${i}`);
  const entries = names.flatMap((name) => {
    const text = byName.get(name)?.["entries"];
    if (text === undefined) throw invalid(name, "is missing or has no entries");
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => decodeEntry(line, name));
  });
  if (entries.length > entriesMax)
    throw invalid(inventoryName, `has more than ${entriesMax} entries`);
  return { inventory: new Map(entries.map((entry) => [entry.key, entry])), shards };
}

function shardsOf(text: string | undefined): number {
  const header = parseLine(text ?? "", inventoryName);
  const shards = asNumber(header["shards"]) ?? 0;
  if (header["format"] !== format)
    throw invalid(inventoryName, "has a format that this version does not know");
  if (!Number.isInteger(shards) || shards < 1 || shards > shardsMax)
    throw invalid(inventoryName, "has an impossible number of shards");
  return shards;
}

function decodeEntry(line: string, name: string): Entry {
  const { key, version, owner, layer, policy, want, own, uid, created, approved } = parseLine(
    line,
    name,
  );
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
  };
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
