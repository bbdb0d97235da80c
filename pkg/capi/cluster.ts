import { asMap } from "../json/index.ts";
import { annotations, type KubeObject } from "../object/index.ts";
import type { ClusterFacts } from "../fleet/index.ts";
import type { Resource } from "../object/index.ts";

export const capiGroup = "cluster.x-k8s.io";
/** The only version that is read: v1beta1 ends with CAPI 1.16. */
export const capiVersion = "v1beta2";

export const clusterResource: Resource = {
  group: capiGroup,
  version: capiVersion,
  kind: "Cluster",
  plural: "clusters",
  namespaced: true,
};

/** Reads a v1beta2 Cluster. Pause is `spec.paused` or the annotation's presence, whatever its value. */
export function clusterFacts({ metadata, ...object }: KubeObject): ClusterFacts {
  const spec = asMap(object["spec"]);
  const initialization = asMap(asMap(object["status"])["initialization"]);
  return {
    namespace: metadata.namespace ?? "",
    name: metadata.name,
    uid: metadata.uid ?? "",
    labels: metadata.labels ?? {},
    paused:
      spec["paused"] === true ||
      Object.hasOwn(metadata.annotations ?? {}, "cluster.x-k8s.io/paused"),
    deleting: metadata.deletionTimestamp !== undefined,
    controlPlaneInitialized: initialization["controlPlaneInitialized"] === true,
    suspendedUntil: metadata.annotations?.[annotations.suspendedUntil],
  };
}
