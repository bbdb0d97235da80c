import type { FleetMember } from "../api/index.ts";
import { bareCluster } from "../template/index.ts";
import type { ClusterFacts } from "./facts.ts";

type Named = { readonly namespace: string; readonly name: string };

/** The hub itself, as a place for layers. It has no namespace, so that no Cluster is ever called so. */
export const managementCluster: Named = { namespace: "", name: "management" };

/** Whether this names the hub itself, and no Cluster. */
export const isManagement = ({ namespace }: { readonly namespace: string }): boolean =>
  namespace === "";

/** Where a member is: on a Cluster of its namespace, or on the hub itself. */
export function clusterOf({ metadata, spec }: Pick<FleetMember, "metadata" | "spec">): Named {
  const { kind, name } = spec.clusterRef;
  return kind === "Management" ? managementCluster : { namespace: metadata.namespace ?? "", name };
}

/** What there is to know of the hub as a cluster: its name, and the namespace of the Fleet that asks. */
export function managementFacts(namespace: string): ClusterFacts {
  const { name } = managementCluster;
  return {
    ...managementCluster,
    uid: "",
    labels: {},
    paused: false,
    deleting: false,
    controlPlaneInitialized: true,
    context: bareCluster(name, namespace),
  };
}
