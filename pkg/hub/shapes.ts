import type { Fleet, FleetMember, FleetMemberSpec } from "../api/index.ts";
import { isManagement, type ClusterFacts } from "../cluster/index.ts";
import { memberLabels } from "../fleet/index.ts";
import { asMap, isJsonMap } from "../json/index.ts";
import type { KubeObject } from "../object/index.ts";

/** What came past the CRD, written into etcd or before it was there, must not stop the others. */
export function isFleet(object: KubeObject): boolean {
  const spec = asMap(object["spec"]);
  const says = isJsonMap(spec["clusterSelector"]) || spec["target"] === "Management";
  return says && Array.isArray(spec["layers"]);
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
  return { apiVersion: "capitan.dev/v1alpha1", kind: "FleetMember", metadata, spec };
}

/** What is told about a Fleet or a member. */
export type HubEvent = {
  readonly regarding: Fleet | FleetMember;
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly action: string;
  readonly note: string;
};

/** An Event as it is created. */
export function eventObject(event: HubEvent, id: string, time: string): KubeObject {
  const { regarding, type, reason, action, note } = event;
  const { kind, metadata } = regarding;
  const { namespace = "", name, uid } = metadata;
  return {
    apiVersion: "events.k8s.io/v1",
    kind: "Event",
    metadata: { namespace, name: `${name.slice(0, 200)}.${id}` },
    eventTime: time.replace("Z", "000Z"),
    reportingController: "capitan.dev/controller",
    reportingInstance: "capitan-controller",
    regarding: { apiVersion: "capitan.dev/v1alpha1", kind, namespace, name, uid },
    type,
    reason,
    action,
    note: note.slice(0, 1024),
  };
}
