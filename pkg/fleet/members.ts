import { conditionOf, type Fleet, type FleetMember, type FleetMemberSpec } from "../api/index.ts";
import { labels, matchesSelector } from "../object/index.ts";
import {
  clusterKey,
  clusterOf,
  isManagement,
  isWithdrawn,
  type ClusterFacts,
} from "../cluster/index.ts";
import { memberName } from "./names.ts";

export type FleetFacts = {
  readonly fleet: Fleet;
  /** All Clusters of the Fleet's namespace, and the hub itself. */
  readonly clusters: readonly ClusterFacts[];
  /** All members of the Fleet. */
  readonly members: readonly FleetMember[];
  readonly now: Date;
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

/** Whether the Fleet delivers to the hub itself. */
export const targetsManagement = ({ spec }: Pick<Fleet, "spec">): boolean =>
  spec.target === "Management";

/** Whether the Fleet wants to be on the Cluster. A Cluster that is being deleted is left alone. */
export function isSelected(fleet: Fleet, cluster: ClusterFacts): boolean {
  const wanted = fleet.metadata.deletionTimestamp === undefined && !cluster.deleting;
  if (!wanted || isManagement(cluster)) return wanted && targetsManagement(fleet);
  const { clusterSelector } = fleet.spec;
  return clusterSelector !== undefined && matchesSelector(clusterSelector, cluster.labels);
}

/** Which members to write so that each selected Cluster has one at the revision, and others withdraw. */
export function planMembers(facts: FleetFacts): readonly MemberAction[] {
  const clusters = new Map(facts.clusters.map((cluster) => [clusterKey(cluster), cluster]));
  const existing = facts.members.flatMap((member) =>
    planExisting(member, clusters.get(keyOf(member)), facts),
  );
  const taken = new Set(facts.members.map(keyOf));
  const missing = facts.clusters.filter(
    (cluster) => isSelected(facts.fleet, cluster) && !taken.has(clusterKey(cluster)),
  );
  return [...existing, ...missing.flatMap((cluster) => planNew(cluster, facts))];
}

const keyOf = (member: FleetMember) => clusterKey(clusterOf(member));

function planNew(
  cluster: ClusterFacts,
  { fleet, revision, now }: FleetFacts,
): readonly MemberAction[] {
  // `clusterctl move` pauses a Cluster and brings its members along: none is made meanwhile.
  if (revision === undefined || cluster.paused || isWithdrawn(cluster, now)) return [];
  const { namespace = "", name } = fleet.metadata;
  const spec: FleetMemberSpec = {
    fleetRef: { namespace, name },
    clusterRef: { ...(isManagement(cluster) ? { kind: "Management" } : {}), name: cluster.name },
    revision,
    state: "Present",
  };
  return [{ kind: "write", name: memberName({ namespace, name }, cluster), cluster, spec }];
}

function planExisting(
  member: FleetMember,
  cluster: ClusterFacts | undefined,
  { fleet, revision, now }: FleetFacts,
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
    const spec: FleetMemberSpec = isWithdrawn(cluster, now)
      ? { ...member.spec, state: "Removed" }
      : { ...member.spec, revision: revision ?? member.spec.revision, state: "Present" };
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

/** The labels by which people find a member; Cluster API's only where there is a Cluster. */
export function memberLabels(fleet: string, cluster: ClusterFacts): Record<string, string> {
  const name = cluster.name.slice(0, 63);
  return {
    [labels.fleet]: fleet.slice(0, 63),
    [labels.cluster]: name,
    ...(isManagement(cluster) ? {} : { "cluster.x-k8s.io/cluster-name": name }),
  };
}
