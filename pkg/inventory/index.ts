/** The exact list of objects that Capitan owns in a workload cluster, and how it is written down there. No I/O. */
export {
  type Entry,
  type Inventory,
  type DeletionPolicy,
  type Header,
  type Kept,
  type Ledger,
  type Pin,
  type Seen,
  emptyInventory,
  ledgerOf,
  withEntries,
  withoutKeys,
  ownedBy,
  sameEntries,
  sameIntent,
  approvalOf,
  digestOfInventory,
} from "./inventory.ts";
export { approvalFor, idOfEntry, isFluxDefinition } from "./approval.ts";
export {
  encodeInventory,
  Lines,
  decodeInventory,
  withHeader,
  inventoryNamespace,
  inventoryName,
  inventoryKeyName,
  managementInventoryName,
  type Document,
} from "./codec.ts";
