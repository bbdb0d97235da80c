import { sha256Hex } from "../json/index.ts";

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
  /** A field that the layer dropped and that another applier keeps in the object. */
  readonly kept?: Kept;
  /** The rest of the footprint that the API server answered with. Only a hint: without it the object is verified once. */
  readonly seen?: Seen;
};

/** Who keeps which field, as its path in `fieldsV1`, its keys joined by NUL. */
export type Kept = { readonly manager: string; readonly path: string };

/** What tells a write that cannot be explained from one of status. */
export type Seen = {
  readonly version: string;
  readonly generation?: number | undefined;
  readonly main: string;
  readonly meta: string;
};

/** One Fleet's mark in the inventory's header. */
export type Pin = {
  /** Raised before each batch of writes; the hub remembers it. Higher than remembered: another hub writes. */
  readonly sequence: number;
  /** The FleetRevision that was last begun. */
  readonly revision: string;
  /** `namespace/name` of the Fleet, for people. */
  readonly fleet: string;
};

/** What the inventory says about itself. */
export type Header = {
  /** uid of the cluster's namespace kube-system: another cluster's inventory is none. */
  readonly cluster: string;
  /** By owner. */
  readonly pins: ReadonlyMap<string, Pin>;
};

/** Everything that is written down in a workload cluster. `header` is undefined when nothing is. */
export type Ledger = { readonly header: Header | undefined; readonly inventory: Inventory };

/** Entries by key, of all Fleets on the cluster. */
export type Inventory = ReadonlyMap<string, Entry>;

export const emptyInventory: Inventory = new Map();

/** What a cluster's ledger says about this cluster: another one's, brought by a backup, says nothing. */
export function ledgerOf(ledger: Ledger, clusterId: string): Ledger {
  const { header } = ledger;
  const isOthers = header !== undefined && header.cluster !== "" && header.cluster !== clusterId;
  return isOthers ? { header: undefined, inventory: emptyInventory } : ledger;
}

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

/** What an entry says of an object, other than how the API server answered its last apply. */
const intent = [
  "version",
  "owner",
  "layer",
  "policy",
  "want",
  "uid",
  "created",
  "approved",
] as const;

/** Whether two inventories say the same, hints apart. */
export function sameEntries(a: Inventory, b: Inventory): boolean {
  return same(a, b, [...intent, "own"]);
}

/** Whether two inventories differ at most in what is learned when the same objects are applied once more. */
export function sameIntent(a: Inventory, b: Inventory): boolean {
  return same(a, b, intent);
}

function same(a: Inventory, b: Inventory, fields: readonly (keyof Entry)[]): boolean {
  if (a.size !== b.size) return false;
  return [...a].every(([key, entry]) => sameEntry(entry, b.get(key), fields));
}

function sameEntry(a: Entry, b: Entry | undefined, fields: readonly (keyof Entry)[]): boolean {
  if (a === b) return true;
  return (
    b !== undefined &&
    fields.every((field) => a[field] === b[field]) &&
    a.kept?.path === b.kept?.path
  );
}

/** A short digest of which objects there are and what was applied to them, for the hub. */
export function digestOfInventory(entries: readonly Entry[]): string {
  const lines = entries.map(
    ({ key, layer, want = "", uid = "" }) => `${key} ${layer} ${want} ${uid}`,
  );
  return sha256Hex(lines.sort().join("\n")).slice(0, 16);
}

/** The digest by which exactly this set is approved; the order does not matter. */
export function approvalOf(scope: string, keys: readonly string[]): string {
  return sha256Hex([scope, ...[...keys].sort()].join("\n")).slice(0, 16);
}
