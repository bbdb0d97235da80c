import { codes } from "../errors/index.ts";
import type { FleetMember, FleetMemberStatus, LayerStatus } from "../api/index.ts";
import { applyConditions, readyConditions, type Decided } from "./conditions.ts";
import type { LayerVerdict, Problem } from "./step.ts";

/** What one pass over a member came to. */
export type MemberOutcome = {
  /** Why the pass could not be made, or stopped. */
  readonly problem?: Problem | undefined;
  readonly layers: readonly (LayerVerdict & { readonly revision?: string | undefined })[];
  /** What stands in the way of removing left-over objects. */
  readonly removal?: Problem | undefined;
  /** Owned objects, and the inventory's digest; undefined when the cluster was not reached. */
  readonly inventory?: { readonly objects: number; readonly digest: string } | undefined;
  /** When the last object was applied, RFC 3339 with milliseconds; undefined when nothing was applied in this pass. */
  readonly appliedTime?: string | undefined;
};

/** The status to write, computed once per pass. `now` is RFC 3339. */
export function memberStatus(member: FleetMember, outcome: MemberOutcome, now: string): FleetMemberStatus {
  const { status: before, spec, metadata } = member;
  const generation = metadata.generation ?? 0;
  const verdict = judge(member, outcome);
  const reached = verdict.status === "True";
  const requestedAt = metadata.annotations?.["reconcile.fluxcd.io/requestedAt"];
  const layers = outcome.problem === undefined ? outcome.layers.map(layerStatus) : (before?.layers ?? []);
  const { inventory } = outcome;
  const conditions = applyConditions(before?.conditions, readyConditions(verdict, progressOf(verdict, outcome)), { generation, now });
  const status: Record<keyof FleetMemberStatus, unknown> = {
    observedGeneration: generation,
    state: reached ? spec.state : (before?.state ?? "Present"),
    currentRevision: reached ? spec.revision : before?.currentRevision,
    lastHandledReconcileAt: requestedAt ?? before?.lastHandledReconcileAt,
    lastAppliedTime: outcome.appliedTime ?? before?.lastAppliedTime,
    objects: inventory?.objects ?? before?.objects,
    inventoryDigest: inventory?.digest ?? before?.inventoryDigest,
    layers,
    conditions,
  };
  return Object.fromEntries(Object.entries(status).filter(([, value]) => value !== undefined)) as unknown as FleetMemberStatus;
}

function judge({ spec }: FleetMember, { problem, layers, removal, inventory }: MemberOutcome): Decided {
  const no = (p: Problem, layer = ""): Decided => ({ type: "Ready", status: "False", reason: p.code, message: `${layer}${p.message}` });
  if (problem !== undefined) return no(problem);
  // The cause, not those who wait for it.
  const blocking = layers.find((l) => l.state !== "Ready" && l.problem?.code !== "DependencyNotReady");
  if (blocking !== undefined) {
    const layer = `layer ${blocking.name}: `;
    if (blocking.state === "Failed" && blocking.problem !== undefined) return no(blocking.problem, layer);
    return { type: "Ready", status: "Unknown", reason: "Progressing", message: `${layer}${blocking.problem?.message ?? "applying"}` };
  }
  if (removal !== undefined) return no(removal);
  if (spec.state === "Removed") return { type: "Ready", status: "True", reason: "Removed", message: "withdrawn from the cluster" };
  const message = `applied revision ${spec.revision}, ${inventory?.objects ?? 0} objects`;
  return { type: "Ready", status: "True", reason: "ReconciliationSucceeded", message };
}

function progressOf({ status, reason }: Decided, { layers }: MemberOutcome): "none" | "reconciling" | "stalled" {
  if (status === "True") return "none";
  if (status === "Unknown") return "reconciling";
  const never = reason in codes && codes[reason as keyof typeof codes].retry === "never";
  return never && layers.every((l) => l.state !== "Applying") ? "stalled" : "reconciling";
}

function layerStatus({ name, state, objects, problem, revision }: LayerVerdict & { readonly revision?: string | undefined }): LayerStatus {
  const reason = state === "Waiting" ? "Progressing" : problem?.code;
  return {
    name,
    state,
    objects,
    ...(problem === undefined ? {} : { reason: reason ?? problem.code, message: problem.message.slice(0, 1024) }),
    ...(revision === undefined ? {} : { revision }),
  };
}
