import type { ClusterOfSecret, SecretRotation, SecretRotationStatus } from "../api/index.ts";
import type { Problem } from "../engine/index.ts";
import type { Standing } from "../secretrotation/index.ts";
import { applyConditions, readyConditions, type Decided } from "./conditions.ts";

/** What one look told of one cluster. */
export type ClusterOutcome = {
  readonly name: string;
  readonly standing: Standing | { readonly kind: "stalled"; readonly problem: Problem };
  /** How many workloads were told to restart, by now. */
  readonly restarted: number;
};

export type SecretOutcome = {
  readonly clusters?: readonly ClusterOutcome[];
  /** Why nothing could be decided. */
  readonly problem?: Problem;
};

/**
 * The status of a SecretRotation, from one look. A cluster that is done stays done: what it runs later is
 * no more of this rotation. What a failed look did not tell stays as it was.
 */
export function secretRotationStatus(
  { metadata, spec, status: before }: SecretRotation,
  outcome: SecretOutcome,
  now: string,
): SecretRotationStatus {
  const clusters = rowsOf(before?.clusters ?? [], outcome.clusters ?? [], new Set(spec.clusters));
  const { generation = 0 } = metadata;
  const isDone = clusters.length > 0 && clusters.every(isSettledRow);
  const ready = readyOf(clusters, isDone, outcome.problem);
  const decided = readyConditions(ready, isDone ? "none" : progressOf(ready));
  return {
    ...before,
    observedGeneration: generation,
    summary: summaryOf(clusters),
    clusters,
    ...(isDone ? { completedTime: now } : {}),
    conditions: applyConditions(before?.conditions, decided, { generation, now }),
  };
}

/** Whether nothing is waited for at a cluster any more. */
export const isSettledRow = ({ state }: ClusterOfSecret): boolean =>
  state === "Done" || state === "Gone";

const progressOf = ({ status }: Decided) => (status === "False" ? "stalled" : "reconciling");

function rowsOf(
  before: readonly ClusterOfSecret[],
  seen: readonly ClusterOutcome[],
  named: ReadonlySet<string>,
): readonly ClusterOfSecret[] {
  const rows = new Map(before.filter(isSettledRow).map((row) => [row.name, row] as const));
  const kept = seen.length === 0 ? before : [];
  for (const row of kept) rows.set(row.name, row);
  for (const outcome of seen) {
    const row = rowOf(outcome, named.has(outcome.name));
    if (row !== undefined) rows.set(row.name, row);
  }
  return [...rows.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Undefined for a cluster that is none of this rotation's business. */
function rowOf(
  { name, standing, restarted }: ClusterOutcome,
  isNamed: boolean,
): ClusterOfSecret | undefined {
  switch (standing.kind) {
    case "gone":
      return isNamed
        ? { name, state: "Gone", message: "the Cluster is not there any more" }
        : undefined;
    case "unconcerned":
      return isNamed
        ? waiting(name, "AwaitingPublish", `${name} gets none of the files yet`)
        : undefined;
    case "wait":
      return waiting(name, standing.reason, standing.message);
    case "stalled": {
      const { code: reason, message } = standing.problem;
      return { name, state: "Stalled", reason, message: message.slice(0, 1024) };
    }
    case "runs":
      return { name, state: "Done", revision: standing.revision, restarted };
  }
}

const waiting = (name: string, reason: string, message: string): ClusterOfSecret => ({
  name,
  state: "Waiting",
  reason,
  message: message.slice(0, 1024),
});

function summaryOf(clusters: readonly ClusterOfSecret[]): string {
  const done = clusters.filter(({ state }) => state === "Done").length;
  const restarted = clusters.reduce((sum, row) => sum + (row.restarted ?? 0), 0);
  return `${done}/${clusters.length} run it, ${restarted} workloads restarted`;
}

function readyOf(
  clusters: readonly ClusterOfSecret[],
  isDone: boolean,
  problem: Problem | undefined,
): Decided {
  const summary = summaryOf(clusters);
  if (isDone) return ready("True", "RotationSucceeded", summary);
  if (problem !== undefined) return ready("False", problem.code, problem.message);
  const [first] = (["Stalled", "Waiting"] as const).flatMap((state) =>
    clusters.filter((each) => each.state === state),
  );
  if (first === undefined) {
    const message = "no cluster of this namespace gets any of the files: is repository.path right?";
    return ready("Unknown", "AwaitingPublish", message);
  }
  const { state, name, reason = "Progressing", message = reason } = first;
  const status = state === "Stalled" ? "False" : "Unknown";
  return ready(status, reason, `${summary}; ${name}: ${message}`);
}

const ready = (status: Decided["status"], reason: string, message: string): Decided => ({
  type: "Ready",
  status,
  reason,
  message,
});
