import { codes } from "../errors/index.ts";
import { annotations } from "../object/index.ts";
import type { FleetMember, FleetMemberStatus, LayerStatus } from "../api/index.ts";
import { applyConditions, readyConditions, type Decided } from "./conditions.ts";
import type { LayerVerdict, Problem } from "../engine/index.ts";

/** What one pass over a member came to. */
export type MemberOutcome = {
  /** Why the pass could not be made, or stopped. */
  readonly problem?: Problem | undefined;
  readonly layers: readonly (LayerVerdict & { readonly revision?: string | undefined })[];
  /** What stands in the way of removing left-over objects. */
  readonly removal?: Problem | undefined;
  /** Owned objects, and the inventory's digest; undefined when the cluster was not reached. */
  readonly inventory?: { readonly objects: number; readonly digest: string } | undefined;
  /** uid of the cluster's namespace kube-system. */
  readonly clusterID?: string | undefined;
  /** When the last object was applied, RFC 3339 with milliseconds; undefined when nothing was applied in this pass. */
  readonly appliedTime?: string | undefined;
};

/** The status to write, computed once per pass. `now` is RFC 3339. */
export function memberStatus(
  member: FleetMember,
  outcome: MemberOutcome,
  now: string,
): FleetMemberStatus {
  const { status: before, spec, metadata } = member;
  const generation = metadata.generation ?? 0;
  const verdict = judge(member, outcome);
  const { problem, layers, inventory, appliedTime, clusterID } = outcome;
  const news = {
    observedGeneration: generation,
    ...(verdict.status === "True" ? { state: spec.state, currentRevision: spec.revision } : {}),
    ...(problem === undefined ? { layers: layers.map(layerStatus) } : {}),
    ...(inventory === undefined
      ? {}
      : { objects: inventory.objects, inventoryDigest: inventory.digest }),
    ...(appliedTime === undefined ? {} : { lastAppliedTime: appliedTime }),
    ...(clusterID === undefined ? {} : { clusterID }),
    ...requestedAtOf(member),
    conditions: applyConditions(
      before?.conditions,
      readyConditions(verdict, progressOf(verdict, outcome)),
      { generation, now },
    ),
  };
  return { ...before, ...news };
}

/** What a repair moves in a status, and nobody waits for. */
const movedByRepairs = { lastAppliedTime: undefined, inventoryDigest: undefined };

/** A member's status but for what every repair moves. */
export function withoutRepairs(status: FleetMemberStatus | undefined): object {
  return { ...status, ...movedByRepairs };
}

function requestedAtOf({ metadata }: FleetMember): { lastHandledReconcileAt?: string } {
  const requestedAt = metadata.annotations?.[annotations.requestedAt];
  return requestedAt === undefined ? {} : { lastHandledReconcileAt: requestedAt };
}

function judge(
  { spec }: FleetMember,
  { problem, layers, removal, inventory }: MemberOutcome,
): Decided {
  if (problem !== undefined) return refusal(problem, "");
  // The cause, not those who wait for it.
  const blocking = layers.find(
    (l) => l.state !== "Ready" && l.problem?.code !== "DependencyNotReady",
  );
  if (blocking !== undefined) return blockedBy(blocking);
  if (removal !== undefined) return refusal(removal, "");
  if (spec.state === "Removed") return success("Removed", "withdrawn from the cluster");
  const objects = `${inventory?.objects ?? 0} objects`;
  return success("ReconciliationSucceeded", `applied revision ${spec.revision}, ${objects}`);
}

function blockedBy({ name, state, problem }: LayerVerdict): Decided {
  if (state === "Failed" && problem !== undefined) return refusal(problem, `layer ${name}: `);
  const message = `layer ${name}: ${problem?.message ?? "applying"}`;
  return { type: "Ready", status: "Unknown", reason: "Progressing", message };
}

const success = (reason: string, message: string): Decided => ({
  type: "Ready",
  status: "True",
  reason,
  message,
});

const refusal = ({ code, message }: Problem, where: string): Decided => ({
  type: "Ready",
  status: "False",
  reason: code,
  message: message.startsWith(where) ? message : `${where}${message}`,
});

function progressOf(
  { status, reason }: Decided,
  { layers }: MemberOutcome,
): "none" | "reconciling" | "stalled" {
  if (status === "True") return "none";
  if (status === "Unknown") return "reconciling";
  const never = reason in codes && codes[reason as keyof typeof codes].retry === "never";
  return never && layers.every((l) => l.state !== "Applying") ? "stalled" : "reconciling";
}

function layerStatus({
  name,
  state,
  objects,
  problem,
  revision,
}: LayerVerdict & { readonly revision?: string | undefined }): LayerStatus {
  const reason = state === "Waiting" ? "Progressing" : problem?.code;
  return {
    name,
    state,
    objects,
    ...(problem === undefined
      ? {}
      : { reason: reason ?? problem.code, message: problem.message.slice(0, 1024) }),
    ...(revision === undefined ? {} : { revision }),
  };
}
