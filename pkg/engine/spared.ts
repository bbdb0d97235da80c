import { idOfEntry, inventoryNamespace, type Entry } from "../inventory/index.ts";
import { keyOf, nameOf } from "../object/index.ts";
import { isApprovedInFiles } from "./approved.ts";
import type { Facts } from "./step.ts";

/** Namespaces that every cluster needs; they are never deleted, whoever made them. */
const keptNamespaces = new Set([
  "default",
  "kube-system",
  "kube-public",
  "kube-node-lease",
  inventoryNamespace,
]);
/** What Capitan's own rights are called. */
const ownRights = /^capitan-controller(-|$)/;
/** The Secret of a cluster's age identity: the cluster and the generation. */
const identityName = /^(.+)-age-[1-9][0-9]*$/;

/** Whether an object stays in the cluster, without our mark. */
export function isReleased(entry: Entry, facts: Facts): boolean {
  const { live, layers, withdraws } = facts;
  const isLeft = entry.policy === "Orphan" && !withdraws;
  if (isLeft || entry.created === false || isNeeded(entry, facts)) return true;
  // Only what is to be ignored is left over although a layer names it.
  if (layers.some((layer) => layer.objects.some((o) => o.key === entry.key))) return true;
  // Whether we created it was never learned: judge by the object.
  return entry.created === undefined && live.get(entry.key)?.createdByUs === false;
}

/** What a cluster, or Capitan, cannot be without: it stays, without our mark. */
function isNeeded(entry: Entry, { self, layers }: Facts): boolean {
  const { group, kind, namespace, name } = idOfEntry(entry);
  if (group === "" && kind === "Namespace") return keptNamespaces.has(name);
  if (kind === "CustomResourceDefinition" && name.endsWith(".capitan.dev")) return true;
  if (self === undefined) return false;
  // A Fleet that is deleted itself is not waited for by what it withdraws.
  if (entry.key === self) return layers.length === 0;
  const isOwnRight = group === "rbac.authorization.k8s.io" && ownRights.test(name);
  return isOwnRight || namespace === inventoryNamespace;
}

/**
 * Why this object stays although no layer has it any more: it is the Fleet that delivers here, which
 * no commit takes away, or the age identity of a Cluster that stays.
 */
export function whySpared(
  entry: Entry,
  leftovers: readonly Entry[],
  facts: Facts,
): string | undefined {
  // A Fleet that is deleted itself is not held up: what may not go is let go.
  if (facts.layers.length === 0) return undefined;
  const name = nameOf(idOfEntry(entry));
  if (entry.key === facts.self)
    return `${name} is the Fleet that delivers here, and is never removed by what it delivers: put it back into the layers, or delete it by hand`;
  if (!isInUse(entry, leftovers, facts)) return undefined;
  return `${name} is an age identity of a Cluster that stays: it goes with the Cluster, or when a RemovalApproval names it`;
}

/** Whether this is the age identity of a Cluster that stays, whoever made that, and would be deleted although nobody has agreed to it. */
export function isInUse(entry: Entry, leftovers: readonly Entry[], facts: Facts): boolean {
  const cluster = clusterOfIdentity(entry);
  if (cluster === undefined || leftovers.some(({ key }) => key === cluster)) return false;
  if (isReleased(entry, facts)) return false;
  const isThere = facts.inventory.has(cluster) || facts.inspected.get(cluster)?.exists === true;
  return isThere && entry.approved !== true && !isApprovedInFiles(entry, facts);
}

/** The Clusters whose age identities are to go and of which this pass has not seen yet whether they are there. */
export function unseenClusters(
  leftovers: readonly Entry[],
  { inventory, inspected }: Facts,
): readonly string[] {
  const clusters = new Set(leftovers.flatMap((entry) => clusterOfIdentity(entry) ?? []));
  return [...clusters].filter((key) => !inventory.has(key) && !inspected.has(key));
}

/** The key of the Cluster whose age identity this is, by its name. */
export function clusterOfIdentity(entry: Entry): string | undefined {
  const { group, kind, namespace, name: secret } = idOfEntry(entry);
  const name = group === "" && kind === "Secret" ? identityName.exec(secret)?.[1] : undefined;
  return name === undefined
    ? undefined
    : keyOf({ group: "cluster.x-k8s.io", kind: "Cluster", namespace, name });
}
