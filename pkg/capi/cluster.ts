import { asList, asMap, asNumber, asString, type JsonMap } from "../json/index.ts";
import { annotations, type KubeObject } from "../object/index.ts";
import type { ClusterFacts } from "../cluster/index.ts";
import type { Resource } from "../object/index.ts";
import type { ClusterInput } from "../template/index.ts";

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
    withdrawnUntil: metadata.annotations?.[annotations.withdraw],
    context: contextOf(metadata, spec),
  };
}

/** Annotations that say nothing about the cluster: they change for other reasons, or hold a copy of everything. */
const noise = new Set<string>([
  annotations.suspendedUntil,
  annotations.withdraw,
  "kubectl.kubernetes.io/last-applied-configuration",
  "cluster.x-k8s.io/paused",
]);

/** What templates may read of a Cluster. Topology variables by name, as in the ClusterClass. */
function contextOf(metadata: KubeObject["metadata"], spec: JsonMap): ClusterInput {
  const topology = topologyOf(asMap(spec["topology"]));
  const { host, port } = asMap(spec["controlPlaneEndpoint"]);
  const kept = Object.entries(metadata.annotations ?? {}).filter(([key]) => !noise.has(key));
  const kindOf = (ref: string) => asString(asMap(spec[ref])["kind"]) ?? null;
  return {
    name: metadata.name,
    namespace: metadata.namespace ?? "",
    labels: metadata.labels ?? {},
    annotations: Object.fromEntries(kept),
    version: topology.version,
    topology,
    controlPlaneEndpoint: { host: asString(host) ?? null, port: asNumber(port) ?? null },
    kinds: { infrastructure: kindOf("infrastructureRef"), controlPlane: kindOf("controlPlaneRef") },
  };
}

function topologyOf(topology: JsonMap): ClusterInput["topology"] {
  const variables = asList(topology["variables"]).map((variable) => {
    const { name, value } = asMap(variable);
    return [asString(name) ?? "", value ?? null] as const;
  });
  return {
    class: asString(asMap(topology["classRef"])["name"]) ?? null,
    version: asString(topology["version"]) ?? null,
    variables: Object.fromEntries(variables),
  };
}
