import type { FleetMember } from "../api/index.ts";
import { clusterOf, isManagement } from "../cluster/index.ts";

type Named = { readonly namespace: string; readonly name: string };

/**
 * The Cluster that the cluster with this identity (uid of its namespace kube-system) is already
 * known as, when that is not `cluster`: two Clusters lead to one place, by a kubeconfig that was
 * mixed up, and what the one wants would fight or remove what the other wants. When both claim it,
 * it is that of the one whose `namespace/name` sorts first. Undefined when `cluster` may have it.
 */
export function knownAsAnother(
  clusterId: string,
  cluster: Named,
  members: readonly FleetMember[],
  exists: (cluster: Named) => boolean,
): Named | undefined {
  // What the hub brings to itself it writes down elsewhere, so that both are alone with their list.
  if (isManagement(cluster)) return undefined;
  const claimants = members
    .filter(({ status }) => status?.clusterID === clusterId)
    .map(clusterOf)
    .filter((claimant) => !isManagement(claimant));
  const others = claimants.filter((claimant) => !isSame(claimant, cluster) && exists(claimant));
  const isOurs = claimants.some((claimant) => isSame(claimant, cluster));
  return others.find((other) => !isOurs || sortsBefore(other, cluster));
}

const isSame = (a: Named, b: Named) => a.namespace === b.namespace && a.name === b.name;
const sortsBefore = (a: Named, b: Named) => `${a.namespace}/${a.name}` < `${b.namespace}/${b.name}`;
