import { codes } from "../errors/index.ts";
import { conditionOf, type Fleet, type FleetMember, type FleetStatus } from "../api/index.ts";
import { annotations } from "../object/index.ts";
import { applyConditions, readyConditions, type Decided } from "./conditions.ts";
import { clusterKey, clusterOf, type ClusterFacts } from "../cluster/index.ts";
import { isSelected } from "../fleet/index.ts";
import type { Problem } from "../engine/index.ts";

export type FleetOutcome = {
  readonly clusters: readonly ClusterFacts[];
  readonly members: readonly FleetMember[];
  /** The revision that members are to run, if one could be resolved. */
  readonly revision: string | undefined;
  /** Why sources could not be resolved. */
  readonly problem: Problem | undefined;
  readonly resolvedTime: string | undefined;
  /** The newest generation whose sources were resolved. */
  readonly resolvedGeneration?: number | undefined;
  /** Clusters that left within the last hour. */
  readonly left?: FleetStatus["left"];
  /** How many Clusters of other namespaces the selector would match. */
  readonly elsewhere: number;
};

const worstMax = 10;

/** Whether the member runs what the Fleet wants, and says so about its newest spec. */
export function isMemberReady(member: FleetMember, revision: string | undefined): boolean {
  const { metadata, spec, status } = member;
  const current =
    status?.observedGeneration === metadata.generation && status?.currentRevision === spec.revision;
  return (
    current &&
    spec.revision === revision &&
    conditionOf(status?.conditions, "Ready")?.status === "True"
  );
}

/** The Fleet's status, computed once per pass. `now` is RFC 3339. */
export function fleetStatus(fleet: Fleet, outcome: FleetOutcome, now: string): FleetStatus {
  const { metadata, status: before } = fleet;
  const of = standings(fleet, outcome);
  const count = (kind: Standing["kind"]) => of.filter((s) => s.kind === kind).length;
  const ready = count("ready");
  const decided = judge(fleet, outcome, of);
  const generation = metadata.generation ?? 0;
  const { left: _left, ...kept } = before ?? {};
  const isComplete = of.length > 0 && ready === of.length;
  return {
    ...kept,
    observedGeneration: generation,
    summary: `${ready}/${of.length}`,
    ...(isComplete ? { currentRevision: outcome.revision } : {}),
    ...resolution(outcome),
    ...requestedAtOf(fleet),
    clusters: { matched: of.length, ready, updating: count("updating"), failed: count("failed") },
    worst: worst(of, leaving(fleet, outcome)),
    conditions: applyConditions(before?.conditions, readyConditions(decided, progressOf(decided)), {
      generation,
      now,
    }),
  };
}

/** What the Fleet resolved to, as far as it did. */
function resolution(outcome: FleetOutcome): Partial<FleetStatus> {
  const { revision, resolvedTime, resolvedGeneration, left = [] } = outcome;
  return {
    ...(revision === undefined ? {} : { updateRevision: revision }),
    ...(resolvedGeneration === undefined ? {} : { resolvedGeneration }),
    ...(left.length === 0 ? {} : { left }),
    ...(resolvedTime === undefined ? {} : { lastResolvedTime: resolvedTime }),
  };
}

function requestedAtOf({ metadata }: Fleet): Partial<FleetStatus> {
  const requestedAt = metadata.annotations?.[annotations.requestedAt];
  return requestedAt === undefined ? {} : { lastHandledReconcileAt: requestedAt };
}

function standings(fleet: Fleet, { clusters, members, revision }: FleetOutcome) {
  const byCluster = new Map(members.map((member) => [clusterKey(clusterOf(member)), member]));
  return clusters
    .filter((cluster) => isSelected(fleet, cluster))
    .map((cluster) => standingOf(cluster, byCluster.get(clusterKey(cluster)), revision));
}

function worst(of: readonly Standing[], going: readonly Standing[]) {
  const open = [...of.filter((s) => s.kind !== "ready"), ...going];
  return open.slice(0, worstMax).map(worstOf);
}

function worstOf({ cluster, reason, message }: Standing) {
  return { cluster, reason, message: message.slice(0, 512) };
}

function progressOf({ status, reason }: Decided): "none" | "reconciling" | "stalled" {
  if (status === "True") return "none";
  return isNever(reason) ? "stalled" : "reconciling";
}

type Standing = {
  readonly kind: "ready" | "updating" | "failed";
  readonly cluster: string;
  readonly reason: string;
  readonly message: string;
};

function standingOf(
  cluster: ClusterFacts,
  member: FleetMember | undefined,
  revision: string | undefined,
): Standing {
  if (member === undefined) return withoutMember(cluster);
  const ready = conditionOf(member.status?.conditions, "Ready");
  const { reason, message } = ready ?? {
    reason: "Progressing",
    message: "has not been looked at yet",
  };
  const base = { cluster: cluster.name, reason, message };
  if (isAway(member)) return away(cluster);
  if (isMemberReady(member, revision)) return { kind: "ready", ...base };
  const fresh = member.status?.observedGeneration === member.metadata.generation;
  return { kind: fresh && ready?.status === "False" ? "failed" : "updating", ...base };
}

/** Whether a member has nothing on its cluster any more, which is not what a Fleet is there for. */
function isAway({ spec, status }: FleetMember): boolean {
  return spec.state === "Removed" && conditionOf(status?.conditions, "Ready")?.reason === "Removed";
}

function away({ name, withdrawnUntil = "it is wanted again" }: ClusterFacts): Standing {
  const message = `everything has left until ${withdrawnUntil}`;
  return { kind: "updating", cluster: name, reason: "Removed", message };
}

function withoutMember({ name, paused }: ClusterFacts): Standing {
  if (!paused) {
    return { kind: "updating", cluster: name, reason: "Progressing", message: "has no member yet" };
  }
  const message = "the Cluster is paused: no member is made";
  return { kind: "updating", cluster: name, reason: "ClusterPaused", message };
}

function judge(fleet: Fleet, outcome: FleetOutcome, of: readonly Standing[]): Decided {
  const { problem } = outcome;
  if (problem !== undefined) return decided("False", problem.code, problem.message);
  const [stuck] = leaving(fleet, outcome);
  if (stuck !== undefined) {
    const message = `withdrawing from ${stuck.cluster}: ${stuck.message}`;
    return stuck.kind === "failed"
      ? decided("False", stuck.reason, message)
      : decided("Unknown", "Progressing", message);
  }
  if (of.length === 0) return withoutClusters(fleet, outcome);
  const open = of.filter((s) => s.kind !== "ready");
  const [first] = [...open.filter((s) => s.kind === "failed"), ...open];
  if (fleet.spec.suspend) {
    const message = "suspended: nothing is resolved and no member is changed";
    return decided(first === undefined ? "True" : "Unknown", "Suspended", message);
  }
  const count = `${of.length - open.length} of ${of.length} clusters ready`;
  if (first === undefined) return decided("True", "ReconciliationSucceeded", count);
  const message = `${count}; ${first.cluster}: ${first.message}`;
  return first.kind === "failed"
    ? decided("False", first.reason, message)
    : decided("Unknown", "Progressing", message);
}

function decided(status: Decided["status"], reason: string, message: string): Decided {
  return { type: "Ready", status, reason, message };
}

function withoutClusters({ metadata }: Fleet, { elsewhere }: FleetOutcome): Decided {
  const where = `no Cluster in namespace ${metadata.namespace ?? ""} matches clusterSelector`;
  const others = `; ${elsewhere} Clusters in other namespaces carry these labels`;
  return decided("True", "NoClusters", elsewhere === 0 ? where : `${where}${others}`);
}

/** Members that are to go and have not gone: first those that something holds. */
function leaving(fleet: Fleet, { clusters, members }: FleetOutcome): readonly Standing[] {
  const byKey = new Map(clusters.map((cluster) => [clusterKey(cluster), cluster]));
  const gone = members.flatMap((member) => {
    const cluster = byKey.get(clusterKey(clusterOf(member)));
    if (cluster === undefined || cluster.deleting || isSelected(fleet, cluster)) return [];
    return [standingOf(cluster, member, undefined)];
  });
  return [...gone.filter((s) => s.kind === "failed"), ...gone.filter((s) => s.kind !== "failed")];
}

function isNever(reason: string): boolean {
  return reason in codes && codes[reason as keyof typeof codes].retry === "never";
}
