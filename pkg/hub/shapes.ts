import type {
  Fleet,
  FleetMember,
  FleetMemberSpec,
  FleetRevisionSpec,
  Reporting,
} from "../api/index.ts";
import { isManagement, type ClusterFacts } from "../cluster/index.ts";
import { memberLabels } from "../fleet/index.ts";
import { asMap, isJsonMap } from "../json/index.ts";
import { labels, type KubeObject } from "../object/index.ts";

const apiVersion = "capitan.dev/v1alpha1";

/** What is told about an object of the hub. */
export type HubEvent = {
  readonly regarding: Reporting;
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly action: string;
  readonly note: string;
};

/** What came past the CRD, written into etcd or before it was there, must not stop the others. */
export function isFleet(object: KubeObject): boolean {
  const spec = asMap(object["spec"]);
  const says = isJsonMap(spec["clusterSelector"]) || spec["target"] === "Management";
  return says && Array.isArray(spec["layers"]);
}

/** Whether it says what every KeyRotation must say. */
export function isRotation(object: KubeObject): boolean {
  const spec = asMap(object["spec"]);
  return isJsonMap(spec["repository"]) && Array.isArray(spec["clusters"]);
}

/** Whether it says what every SecretRotation must say. */
export function isSecretRotation(object: KubeObject): boolean {
  const spec = asMap(object["spec"]);
  return isJsonMap(spec["repository"]) && Array.isArray(spec["files"]);
}

/** Whether it says what every member must say. */
export function isMember(object: KubeObject): boolean {
  const spec = asMap(object["spec"]);
  const names = [asMap(spec["fleetRef"])["name"], asMap(spec["clusterRef"])["name"]];
  return names.every((name) => typeof name === "string") && typeof spec["revision"] === "string";
}

/** A member that the API server has checked. */
export function asMember(object: KubeObject): FleetMember {
  return object as unknown as FleetMember;
}

/** A member as it is applied. It goes with its Cluster, if there is one, and does not hold it. */
export function memberObject(
  name: string,
  cluster: ClusterFacts,
  spec: FleetMemberSpec,
): KubeObject {
  const owner = {
    apiVersion: "cluster.x-k8s.io/v1beta2",
    kind: "Cluster",
    name: cluster.name,
    uid: cluster.uid,
    controller: false,
    blockOwnerDeletion: false,
  };
  const metadata = {
    namespace: spec.fleetRef.namespace,
    name,
    labels: memberLabels(spec.fleetRef.name, cluster),
    ...(isManagement(cluster) ? {} : { ownerReferences: [owner] }),
  };
  return { apiVersion, kind: "FleetMember", metadata, spec };
}

/** A revision as it is applied. It goes with its Fleet. */
export function revisionObject(fleet: Fleet, name: string, spec: FleetRevisionSpec): KubeObject {
  const { namespace = "" } = fleet.metadata;
  const owner = {
    apiVersion,
    kind: "Fleet",
    name: fleet.metadata.name,
    uid: fleet.metadata.uid ?? "",
    controller: true,
    blockOwnerDeletion: false,
  };
  const metadata = {
    namespace,
    name,
    labels: {
      [labels.fleet]: fleet.metadata.name.slice(0, 63),
      "clusterctl.cluster.x-k8s.io/move": "",
    },
    ownerReferences: [owner],
  };
  return { apiVersion, kind: "FleetRevision", metadata, spec };
}

/** An Event as it is created; `id` makes its name unique. */
export function eventObject(
  { regarding, type, reason, action, note }: HubEvent,
  { id, time }: { readonly id: string; readonly time: string },
): KubeObject {
  const { namespace = "", name, uid } = regarding.metadata;
  return {
    apiVersion: "events.k8s.io/v1",
    kind: "Event",
    metadata: { namespace, name: `${name.slice(0, 200)}.${id}` },
    eventTime: time.replace("Z", "000Z"),
    reportingController: "capitan.dev/controller",
    reportingInstance: "capitan-controller",
    regarding: { apiVersion, kind: regarding.kind, namespace, name, uid },
    type,
    reason,
    action,
    note: note.slice(0, 1024),
  };
}
