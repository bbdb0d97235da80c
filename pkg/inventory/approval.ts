import { nameOf, parseKey, type ObjectId } from "../object/index.ts";
import { approvalOf, type Entry } from "./inventory.ts";

/** Deleting one of these deletes what is inside, or what it stands for. */
const dangerousKinds = new Set([
  "/Namespace",
  "apiextensions.k8s.io/CustomResourceDefinition",
  "/PersistentVolumeClaim",
  "/PersistentVolume",
  "cluster.x-k8s.io/Cluster",
  // With it goes everything that the cluster's own Flux applied by it.
  "kustomize.toolkit.fluxcd.io/Kustomization",
  // With it goes everything that it brought, wherever that is.
  "capitan.dev/Fleet",
]);
/** Fewer objects than this are never many. */
const manyMin = 10;
const fluxDefinition = /\.toolkit\.fluxcd\.io$/;

type Reasons = { readonly prunesMany?: boolean; readonly withdraws?: boolean };

/** What asks for an approval, and the value that gives it. */
export type Approval = { readonly approval: string; readonly message: string };

/**
 * Whether deleting these objects of a member needs approval: (a) what holds others, (b) most of the
 * member's objects, unless all of them are to go from the cluster (`withdraws`), (c) something on more
 * than three clusters at once (`prunesMany`), (e) Flux. The approval is a digest of exactly this set on
 * this cluster.
 */
export function approvalFor(
  cluster: string,
  deleted: readonly Entry[],
  owned: number,
  { prunesMany, withdraws }: Reasons = {},
): Approval | undefined {
  const dangerous = deleted.filter((entry) => {
    const { group, kind } = idOfEntry(entry);
    return dangerousKinds.has(`${group}/${kind}`);
  });
  const isMost = withdraws !== true && isMostOf(deleted.length, owned);
  const asks = isMost || (prunesMany === true && deleted.length > 0);
  if (dangerous.length === 0 && !asks) return undefined;
  const many = isMost ? "delete most of its objects" : manyClusters;
  const what = fluxIn(deleted) + (dangerous.length > 0 ? inside(dangerous) : many);
  const approval = approvalOf(
    cluster,
    deleted.map(({ key, uid = "" }) => `${key} ${uid}`),
  );
  const message = `would ${what} (${deleted.length} of ${owned} objects); to allow it: capitan.dev/approve-removal=${approval}`;
  return { approval, message };
}

const isMostOf = (deleted: number, owned: number) => deleted >= manyMin && deleted * 2 > owned;

const manyClusters =
  "delete objects, as on three other clusters within the hour, although the revision is the same: an input has changed";

const fluxIn = (deleted: readonly Entry[]) =>
  deleted.some(isFluxDefinition) ? "withdraw Flux and " : "";

function inside(dangerous: readonly Entry[]): string {
  const names = dangerous.slice(0, 3).map((entry) => nameOf(idOfEntry(entry)));
  const more = dangerous.length > 3 ? ` and ${dangerous.length - 3} more` : "";
  return `delete ${names.join(", ")}${more} with everything inside`;
}

/** Whether the entry is a CRD of Flux. */
export function isFluxDefinition(entry: Entry): boolean {
  const { kind, name } = idOfEntry(entry);
  return kind === "CustomResourceDefinition" && fluxDefinition.test(name);
}

/** Which object an entry is about. */
export function idOfEntry({ key }: Entry): ObjectId {
  return parseKey(key) ?? { group: "", kind: "", namespace: "", name: key };
}
