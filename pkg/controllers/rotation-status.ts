import type { ClusterRotation, KeyRotation, KeyRotationStatus } from "../api/index.ts";
import { codes } from "../errors/index.ts";
import type { Problem } from "../engine/index.ts";
import { applyConditions, readyConditions } from "../fleet/index.ts";
import { wantedGeneration, type Reader, type Standing } from "../rotation/index.ts";

export type RotationOutcome = {
  readonly standings?: readonly Standing[];
  readonly exposed?: KeyRotationStatus["exposed"];
  readonly done?: boolean;
  /** Why nothing could be decided. */
  readonly problem?: Problem;
};

/** The status of a KeyRotation, from one look. What a failed look did not tell stays as it was. */
export function rotationStatus(
  { metadata, spec, status: before }: KeyRotation,
  { standings, exposed, done = false, problem }: RotationOutcome,
  now: string,
): KeyRotationStatus {
  const clusters =
    standings?.map((standing) => clusterStatus(standing, spec, before)) ?? before?.clusters ?? [];
  const generation = metadata.generation ?? 0;
  const summary = summaryOf(clusters, spec.clusters.length);
  const ready = readyOf(clusters, { problem, done, summary });
  const isStalled = ready.status === "False" && Object.hasOwn(codes, ready.reason);
  const progress = done ? "none" : isStalled ? "stalled" : "reconciling";
  const conditions = applyConditions(
    before?.conditions,
    readyConditions({ type: "Ready", ...ready }, progress),
    { generation, now },
  );
  return {
    ...before,
    observedGeneration: generation,
    summary,
    clusters,
    ...(exposed === undefined ? {} : { exposed }),
    ...(done ? { completedTime: now } : {}),
    conditions,
  };
}

function clusterStatus(
  { reader, stage }: Standing,
  { clusters }: KeyRotation["spec"],
  before: KeyRotationStatus | undefined,
): ClusterRotation {
  const ends = clusters.find(({ name }) => name === reader.name)?.ends ?? 0;
  const wanted = wantedGeneration(reader, ends)?.generation;
  const old = before?.clusters?.find(({ name }) => name === reader.name);
  const proof = proofOf(reader, wanted) ?? old?.proof;
  return {
    name: reader.name,
    ...stateOf(stage),
    ...(wanted === undefined ? {} : { generation: wanted }),
    ...(proof === undefined ? {} : { proof }),
  };
}

function stateOf(stage: Standing["stage"]): Pick<ClusterRotation, "state" | "reason" | "message"> {
  switch (stage.kind) {
    case "done":
      return { state: "Done" };
    case "gone":
      return { state: "Gone", message: "the Cluster is not there any more" };
    case "stalled":
      return { state: "Stalled", reason: stage.code, message: stage.message.slice(0, 1024) };
    case "wait":
      return { state: "Waiting", reason: stage.reason, message: stage.message.slice(0, 1024) };
    case "edit":
      return { state: "Working", reason: stage.phase === "add" ? "Adding" : "Removing" };
    case "create":
    case "end":
    case "retire":
      return { state: "Working", reason: words[stage.kind] };
  }
}

const words = { create: "Creating", end: "Ending", retire: "Retiring" } as const;

function proofOf({ proofs, uid }: Reader, generation: number | undefined) {
  const found = proofs.findLast((proof) => proof.generation === generation && proof.uid === uid);
  if (found === undefined) return undefined;
  const { atMs, ...rest } = found;
  return { ...rest, time: new Date(atMs).toISOString().replace(/\.\d+/, "") };
}

function summaryOf(clusters: readonly ClusterRotation[], all: number): string {
  const proven = clusters.filter(
    ({ proof, generation }) => generation !== undefined && proof?.generation === generation,
  ).length;
  const done = clusters.filter(({ state }) => state === "Done" || state === "Gone").length;
  return `${proven}/${all} proven, ${done} done`;
}

function readyOf(
  clusters: readonly ClusterRotation[],
  {
    problem,
    done,
    summary,
  }: {
    readonly problem: Problem | undefined;
    readonly done: boolean;
    readonly summary: string;
  },
): {
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
} {
  if (problem !== undefined)
    return { status: "False", reason: problem.code, message: problem.message };
  if (done) return { status: "True", reason: "RotationSucceeded", message: summary };
  const first =
    clusters.find(({ state }) => state === "Stalled") ??
    clusters.find(({ state }) => state === "Waiting") ??
    clusters.find(({ state }) => state === "Working");
  const { state, name = "", reason = "Progressing", message = "" } = first ?? {};
  const text = `${summary}; ${name}: ${message === "" ? reason : message}`;
  return state === "Stalled"
    ? { status: "False", reason, message: text }
    : { status: "Unknown", reason: state === "Waiting" ? reason : "Progressing", message: text };
}
