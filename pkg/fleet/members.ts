import { conditionOf, type Fleet, type FleetMember, type FleetMemberSpec } from "../api/index.ts";
import { labels, matchesSelector } from "../object/index.ts";
import { memberName } from "./names.ts";
import type { ClusterInput } from "../template/index.ts";

/** What the Fleet needs to know of a Cluster. */
export type ClusterFacts = {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly paused: boolean;
  readonly deleting: boolean;
  readonly controlPlaneInitialized: boolean;
  /** RFC 3339: until then nothing is written to the cluster. */
  readonly suspendedUntil?: string | undefined;
  /** What templates may read of it. */
  readonly context: ClusterInput;
};

export type FleetFacts = {
  readonly fleet: Fleet;
  /** All Clusters of the Fleet's namespace. */
  readonly clusters: readonly ClusterFacts[];
  /** All members of the Fleet. */
  readonly members: readonly FleetMember[];
  /** The revision that members are to be pinned to; undefined when nothing could be resolved yet. */
  readonly revision: string | undefined;
};

/** One write on a member. All actions of one plan are independent of each other. */
export type MemberAction =
  | {
      readonly kind: "write";
      readonly name: string;
      readonly cluster: ClusterFacts;
      readonly spec: FleetMemberSpec;
    }
  /** Only when the member has reported Removed, or its Cluster is gone (to be confirmed by a read). */
  | {
      readonly kind: "delete";
      readonly name: string;
      readonly cluster: string;
      readonly confirmClusterGone: boolean;
    };

/** Whether the Fleet wants to be on the Cluster. A Cluster that is being deleted is left alone. */
export function isSelected(fleet: Fleet, cluster: ClusterFacts): boolean {
  const wanted = fleet.metadata.deletionTimestamp === undefined && !cluster.deleting;
  return wanted && matchesSelector(fleet.spec.clusterSelector, cluster.labels);
}

/** Which members to write so that each selected Cluster has one at the revision, and others withdraw. */
export function planMembers(facts: FleetFacts): readonly MemberAction[] {
  const clusters = new Map(facts.clusters.map((cluster) => [cluster.name, cluster]));
  const existing = facts.members.flatMap((member) =>
    planExisting(member, clusters.get(member.spec.clusterRef.name), facts),
  );
  const taken = new Set(facts.members.map((member) => member.spec.clusterRef.name));
  const missing = facts.clusters.filter(
    (cluster) => isSelected(facts.fleet, cluster) && !taken.has(cluster.name),
  );
  return [...existing, ...missing.flatMap((cluster) => planNew(cluster, facts))];
}

function planNew(cluster: ClusterFacts, { fleet, revision }: FleetFacts): readonly MemberAction[] {
  // `clusterctl move` pauses a Cluster and brings its members along: none is made meanwhile.
  if (revision === undefined || cluster.paused) return [];
  const { namespace = "", name } = fleet.metadata;
  const spec: FleetMemberSpec = {
    fleetRef: { namespace, name },
    clusterRef: { name: cluster.name },
    revision,
    state: "Present",
  };
  return [{ kind: "write", name: memberName({ namespace, name }, cluster.name), cluster, spec }];
}

function planExisting(
  member: FleetMember,
  cluster: ClusterFacts | undefined,
  { fleet, revision }: FleetFacts,
): readonly MemberAction[] {
  const { name } = member.metadata;
  if (cluster === undefined)
    return [
      { kind: "delete", name, cluster: member.spec.clusterRef.name, confirmClusterGone: true },
    ];
  if (cluster.deleting)
    return fleet.metadata.deletionTimestamp === undefined
      ? []
      : [{ kind: "delete", name, cluster: cluster.name, confirmClusterGone: false }];
  if (isSelected(fleet, cluster)) {
    const spec: FleetMemberSpec = {
      ...member.spec,
      revision: revision ?? member.spec.revision,
      state: "Present",
    };
    return sameSpec(spec, member.spec) ? [] : [{ kind: "write", name, cluster, spec }];
  }
  if (member.spec.state === "Present")
    return [{ kind: "write", name, cluster, spec: { ...member.spec, state: "Removed" } }];
  return isRemoved(member)
    ? [{ kind: "delete", name, cluster: cluster.name, confirmClusterGone: false }]
    : [];
}

const sameSpec = (a: FleetMemberSpec, b: FleetMemberSpec) =>
  a.revision === b.revision && a.state === b.state;

function isRemoved({ metadata, status }: FleetMember): boolean {
  const ready = conditionOf(status?.conditions, "Ready");
  const said = ready?.status === "True" && ready.reason === "Removed";
  return said && ready.observedGeneration === metadata.generation;
}

/** The labels by which people find a member. */
export function memberLabels(fleet: string, cluster: string): Record<string, string> {
  return {
    [labels.fleet]: fleet.slice(0, 63),
    [labels.cluster]: cluster.slice(0, 63),
    "cluster.x-k8s.io/cluster-name": cluster.slice(0, 63),
  };
}
