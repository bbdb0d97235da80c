import { canonicalJson, sha256Hex } from "../json/index.ts";

/** Delete what we created; Orphan leaves it and only takes our mark off. */
export type DeletionPolicy = "Delete" | "Orphan";

/** One owned object. Fields after `policy` are unknown between the intent to apply it and the reply. */
export type Entry = {
  /** group/Kind/namespace/name. */
  readonly key: string;
  /** The API version at which it was last applied. */
  readonly version: string;
  /** The owner label's value: which Fleet. */
  readonly owner: string;
  readonly layer: string;
  readonly policy: DeletionPolicy;
  /** Digest of what was applied; an HMAC for Secrets. */
  readonly want?: string;
  /** Ownership digest that the API server answered with. */
  readonly own?: string;
  readonly uid?: string;
  /** Whether our apply created it. An object that was there before is never deleted. */
  readonly created?: boolean;
  /** Its deletion, which needs approval, has been approved. */
  readonly approved?: boolean;
};

/** Entries by key, of all Fleets on the cluster. */
export type Inventory = ReadonlyMap<string, Entry>;

export const emptyInventory: Inventory = new Map();

/** The inventory with these entries put in or replaced. */
export function withEntries(inventory: Inventory, entries: readonly Entry[]): Inventory {
  return new Map([...inventory, ...entries.map((entry) => [entry.key, entry] as const)]);
}

/** The inventory without these keys. */
export function withoutKeys(inventory: Inventory, keys: Iterable<string>): Inventory {
  const gone = new Set(keys);
  return new Map([...inventory].filter(([key]) => !gone.has(key)));
}

/** The entries of one owner. */
export function ownedBy(inventory: Inventory, owner: string): readonly Entry[] {
  return [...inventory.values()].filter((entry) => entry.owner === owner);
}

/** Whether two inventories say the same. */
export function sameEntries(a: Inventory, b: Inventory): boolean {
  if (a.size !== b.size) return false;
  return [...a].every(([key, entry]) => sameEntry(entry, b.get(key)));
}

function sameEntry(a: Entry, b: Entry | undefined): boolean {
  if (a === b) return true;
  const fields = [
    "version",
    "owner",
    "layer",
    "policy",
    "want",
    "own",
    "uid",
    "created",
    "approved",
  ] as const;
  return b !== undefined && fields.every((field) => a[field] === b[field]);
}

/** A short digest of the whole list, for the hub. */
export function digestOfInventory(inventory: Inventory): string {
  const entries = [...inventory.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  return sha256Hex(canonicalJson(entries)).slice(0, 16);
}
