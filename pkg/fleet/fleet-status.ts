import { codes } from "../errors/index.ts";
import { conditionOf, type Fleet, type FleetMember, type FleetStatus } from "../api/index.ts";
import { applyConditions, readyConditions, type Decided } from "./conditions.ts";
import { isSelected, type ClusterFacts } from "./members.ts";
import type { Problem } from "./step.ts";

export type FleetOutcome = {
  readonly clusters: readonly ClusterFacts[];
  readonly members: readonly FleetMember[];
  /** The revision that members are to run, if one could be resolved. */
  readonly revision: string | undefined;
  /** Why sources could not be resolved. */
  readonly problem: Problem | undefined;
  readonly resolvedTime: string | undefined;
  /** How many Clusters of other namespaces the selector would match. */
  readonly elsewhere: number;
};

const worstMax = 10;

/** Whether the member runs what the Fleet wants, and says so about its newest spec. */
export function isMemberReady(member: FleetMember, revision: string | undefined): boolean {
  const { metadata, spec, status } = member;
  const current = status?.observedGeneration === metadata.generation && status?.currentRevision === spec.revision;
  return current && spec.revision === revision && conditionOf(status?.conditions, "Ready")?.status === "True";
}

/** The Fleet's status, computed once per pass. `now` is RFC 3339. */
export function fleetStatus(fleet: Fleet, outcome: FleetOutcome, now: string): FleetStatus {
  const { metadata, status: before } = fleet;
  const matched = outcome.clusters.filter((cluster) => isSelected(fleet, cluster));
  const members = new Map(outcome.members.map((member) => [member.spec.clusterRef.name, member]));
  const of = matched.map((cluster) => standingOf(cluster, members.get(cluster.name), outcome.revision));
  const ready = of.filter((s) => s.kind === "ready").length;
  const clusters = { matched: matched.length, ready, updating: of.filter((s) => s.kind === "updating").length, failed: of.filter((s) => s.kind === "failed").length };
  const decided = judge(fleet, outcome, of);
  const progress = decided.status === "True" ? "none" : isNever(decided.reason) ? "stalled" : "reconciling";
  const status: Record<keyof FleetStatus, unknown> = {
    observedGeneration: metadata.generation ?? 0,
    summary: `${ready}/${matched.length}`,
    currentRevision: matched.length > 0 && ready === matched.length ? outcome.revision : before?.currentRevision,
    updateRevision: outcome.revision ?? before?.updateRevision,
    lastHandledReconcileAt: metadata.annotations?.["reconcile.fluxcd.io/requestedAt"] ?? before?.lastHandledReconcileAt,
    lastResolvedTime: outcome.resolvedTime ?? before?.lastResolvedTime,
    clusters,
    worst: of.flatMap((s) => (s.kind === "ready" ? [] : [{ cluster: s.cluster, reason: s.reason, message: s.message.slice(0, 512) }])).slice(0, worstMax),
    conditions: applyConditions(before?.conditions, readyConditions(decided, progress), { generation: metadata.generation ?? 0, now }),
  };
  return Object.fromEntries(Object.entries(status).filter(([, value]) => value !== undefined)) as unknown as FleetStatus;
}

type Standing = { readonly kind: "ready" | "updating" | "failed"; readonly cluster: string; readonly reason: string; readonly message: string };

function standingOf(cluster: ClusterFacts, member: FleetMember | undefined, revision: string | undefined): Standing {
  const { name } = cluster;
  if (member === undefined) {
    const message = cluster.paused ? "the Cluster is paused: no member is made" : "has no member yet";
    return { kind: "updating", cluster: name, reason: cluster.paused ? "ClusterPaused" : "Progressing", message };
  }
  const ready = conditionOf(member.status?.conditions, "Ready");
  const reason = ready?.reason ?? "Progressing";
  const message = ready?.message ?? "has not been looked at yet";
  if (isMemberReady(member, revision)) return { kind: "ready", cluster: name, reason, message };
  const fresh = member.status?.observedGeneration === member.metadata.generation;
  return { kind: fresh && ready?.status === "False" ? "failed" : "updating", cluster: name, reason, message };
}

function judge(fleet: Fleet, { problem, elsewhere }: FleetOutcome, of: readonly Standing[]): Decided {
  const ready = (status: Decided["status"], reason: string, message: string): Decided => ({ type: "Ready", status, reason, message });
  if (problem !== undefined) return ready("False", problem.code, problem.message);
  if (fleet.metadata.deletionTimestamp !== undefined) return ready("Unknown", "Deleting", "withdrawing from its clusters");
  if (of.length === 0) {
    const others = elsewhere === 0 ? "" : `; ${elsewhere} Clusters in other namespaces carry these labels`;
    return ready("True", "NoClusters", `no Cluster in namespace ${fleet.metadata.namespace ?? ""} matches clusterSelector${others}`);
  }
  const open = of.filter((s) => s.kind !== "ready");
  const [first] = [...open.filter((s) => s.kind === "failed"), ...open];
  if (fleet.spec.suspend) return ready(first === undefined ? "True" : "Unknown", "Suspended", "suspended: nothing is resolved and no member is changed");
  if (first === undefined) return ready("True", "ReconciliationSucceeded", `${of.length} of ${of.length} clusters ready`);
  const message = `${of.length - open.length} of ${of.length} clusters ready; ${first.cluster}: ${first.message}`;
  return first.kind === "failed" ? ready("False", first.reason, message) : ready("Unknown", "Progressing", message);
}

function isNever(reason: string): boolean {
  return reason in codes && codes[reason as keyof typeof codes].retry === "never";
}
