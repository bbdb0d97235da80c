import { canonicalJson, sha256Hex } from "../json/index.ts";
import type { ManagedField, ObjectMeta } from "./types.ts";

/** The field manager of every server-side apply on workload clusters. */
export const fieldManager = "capitan";

/** Labels that Capitan sets or reads. */
export const labels = {
  /** On every owned object of a workload cluster: short hash of the owning Fleet's stable names. */
  owner: "capitan.dev/owner",
  /** On FleetMembers and FleetRevisions. */
  fleet: "capitan.dev/fleet",
  cluster: "capitan.dev/cluster",
  /** On the Secret of an age identity: which one of its holder's. */
  ageGeneration: "capitan.dev/age-generation",
  /** On the Secret of an age identity of the manager: the name of the Secret that holds the first one. */
  managerKey: "capitan.dev/manager-key",
} as const;

/** Annotations that Capitan reads. */
export const annotations = {
  approveRemoval: "capitan.dev/approve-removal",
  /** On an object of a layer: `IfNotPresent` or `Ignore`. */
  apply: "capitan.dev/apply",
  /** On a Cluster: nothing is written to it until this RFC 3339 time. */
  suspendedUntil: "capitan.dev/suspended-until",
  /** On a Cluster: everything leaves it until this RFC 3339 time. */
  withdraw: "capitan.dev/withdraw",
  /** On a FleetMember: the last sequence number that was used, or was about to be, on its cluster. */
  sequence: "capitan.dev/sequence",
  /** clusterctl is taking this object away because it is on another hub now. */
  deleteForMove: "clusterctl.cluster.x-k8s.io/delete-for-move",
  /** clusterctl waits while an object that it is to move carries this. */
  blockMove: "clusterctl.cluster.x-k8s.io/block-move",
  /** On the Secret that marks an age identity: what has become of it, ending or retired. */
  ageState: "capitan.dev/age-state",
  /** On the Secret of an age identity: when it was made (RFC 3339). A move or a restore makes Secrets anew. */
  created: "capitan.dev/created",
  /** On the Secret of an age identity: its recipient, which is public. */
  recipient: "capitan.dev/recipient",
  /** On a Cluster: the name of the ClusterTemplate that it was made from, for people. */
  template: "capitan.dev/template",
  /** On a workload: the Secrets for which it wants to restart, `secret/NAME[,secret/OTHER]`. */
  restartOn: "capitan.dev/restart-on",
  /** On the template of its pods: which state of each of these Secrets they were started for. */
  restartedFor: "capitan.dev/restarted-for",
  requestedAt: "reconcile.fluxcd.io/requestedAt",
} as const;

/** The Apply entry of our field manager, or undefined: there is at most one. */
export function ownEntry(metadata: ObjectMeta): ManagedField | undefined {
  return metadata.managedFields?.find(
    (f) => f.manager === fieldManager && f.operation === "Apply" && !f.subresource,
  );
}

/**
 * A digest of what the API server says we own of an object, or "" when it says we own nothing.
 * Two equal digests mean: nobody changed or removed a field of ours. `time` belongs in it, since it
 * betrays restores and others who apply under our name.
 */
export function ownershipOf(metadata: ObjectMeta): string {
  const entry = ownEntry(metadata);
  if (entry === undefined) return "";
  return sha256Hex(
    canonicalJson([entry.apiVersion ?? "", entry.fieldsV1 ?? {}, entry.time ?? ""]),
  ).slice(0, 32);
}
