import type { ClusterRotation, KeyRotation, KeyRotationStatus } from "../api/index.ts";
import type { Problem } from "../engine/index.ts";
import { applyConditions, readyConditions, type Decided } from "./conditions.ts";
import {
  managerName,
  wantedGeneration,
  type Plan,
  type Reader,
  type Standing,
} from "../rotation/index.ts";

export type RotationOutcome = {
  readonly standings?: readonly Standing[];
  /** What the old keys could read, by file. */
  readonly exposed?: ReadonlyMap<string, readonly string[]>;
  /** Files at the tip that an ending key still opens. */
  readonly filesLeft?: number;
  readonly plan?: Plan;
  readonly done?: boolean;
  /** Why nothing could be decided. */
  readonly problem?: Problem;
};

/** Whose keys a KeyRotation is to rotate: by name of a reader, the generation that ends. */
export function targetsOf({ clusters, manager }: KeyRotation["spec"]): ReadonlyMap<string, number> {
  const own = clusters.map(({ name, ends }) => [name, ends] as const);
  return new Map(manager === undefined ? own : [...own, [managerName, manager.ends]]);
}

/** The status of a KeyRotation, from one look. What a failed look did not tell stays as it was. */
export function rotationStatus(
  { metadata, spec, status: before }: KeyRotation,
  outcome: RotationOutcome,
  now: string,
): KeyRotationStatus {
  const { standings, done = false } = outcome;
  const targets = targetsOf(spec);
  const seen = standings?.map((standing) => clusterStatus(standing, targets, before));
  const clusters = seen ?? before?.clusters ?? [];
  const { generation = 0 } = metadata;
  const summary = summaryOf(clusters, targets.size);
  const ready = readyOf(clusters, outcome, summary);
  const decided = readyConditions(ready, done ? "none" : progressOf(ready));
  return {
    ...before,
    observedGeneration: generation,
    summary,
    clusters,
    ...findingsOf(outcome),
    ...(done ? { completedTime: now } : {}),
    conditions: applyConditions(before?.conditions, decided, { generation, now }),
  };
}

/** What a look found besides where clusters stand; what it did not look for stays. */
const findingsOf = ({ exposed, filesLeft, plan }: RotationOutcome): Partial<KeyRotationStatus> => ({
  ...(filesLeft === undefined ? {} : { filesLeft }),
  ...(exposed === undefined ? {} : exposedText(exposed)),
  ...(plan === undefined ? {} : { plan: planText(plan) }),
});

/** An object has 1.5 MB in etcd. A thousand clusters, and who owns which of their fields, take 0.8 MB without these. */
const messageBytesMax = 300_000;
const exposedBytesMax = 250_000;

/** What was exposed within the limits of a status, and how much that was in all. */
function exposedText(
  exposed: NonNullable<RotationOutcome["exposed"]>,
): Required<Pick<KeyRotationStatus, "exposed" | "exposedFiles">> {
  let bytes = 0;
  const all = Array.from(exposed, ([file, values]) => ({ file, values: values.slice(0, 64) }));
  const shown = all.slice(0, 500).filter((each) => {
    bytes += Buffer.byteLength(JSON.stringify(each));
    return bytes <= exposedBytesMax;
  });
  return { exposed: shown, exposedFiles: all.length };
}

/** The plan within the limits of a status. */
function planText({ readers, files }: Plan): NonNullable<KeyRotationStatus["plan"]> {
  return {
    clusters: readers.map(({ reader, ends, next, files: own, expires }) => ({
      name: reader,
      ends,
      generation: next,
      files: own.length,
      expires: expires.slice(0, 100),
    })),
    files: files.slice(0, 500).map(({ trouble, ...file }) => ({
      ...file,
      ...(trouble === undefined ? {} : { trouble: trouble.slice(0, 1024) }),
    })),
  };
}

const progressOf = ({ status }: Decided) => (status === "False" ? "stalled" : "reconciling");

function clusterStatus(
  { reader, stage }: Standing,
  targets: ReadonlyMap<string, number>,
  before: KeyRotationStatus | undefined,
): ClusterRotation {
  const ends = targets.get(reader.name) ?? 0;
  const wanted = wantedGeneration(reader, ends)?.generation;
  const old = before?.clusters?.find(({ name }) => name === reader.name);
  const proof = proofOf(reader, wanted) ?? old?.proof;
  return {
    name: reader.name,
    ...stateOf(stage, Math.min(1024, Math.floor(messageBytesMax / targets.size))),
    ...(wanted === undefined ? {} : { generation: wanted }),
    ...(proof === undefined ? {} : { proof }),
  };
}

function stateOf(
  stage: Standing["stage"],
  lengthMax: number,
): Pick<ClusterRotation, "state" | "reason" | "message"> {
  switch (stage.kind) {
    case "done":
      return { state: "Done" };
    case "gone":
      return { state: "Gone", message: "the Cluster is not there any more" };
    case "stalled":
      return { state: "Stalled", reason: stage.code, message: stage.message.slice(0, lengthMax) };
    case "wait":
      return { state: "Waiting", reason: stage.reason, message: stage.message.slice(0, lengthMax) };
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
  { problem, plan, done = false }: RotationOutcome,
  summary: string,
): Decided {
  if (problem !== undefined) return ready("False", problem.code, problem.message);
  if (plan !== undefined) return ready("True", "Planned", "the plan is in the status");
  if (done) return ready("True", "RotationSucceeded", summary);
  const [first] = (["Stalled", "Waiting", "Working"] as const).flatMap((state) =>
    clusters.filter((each) => each.state === state),
  );
  if (first === undefined) return ready("Unknown", "Progressing", summary);
  const { state, name, reason = "Progressing", message = reason } = first;
  const text = `${summary}; ${name}: ${message}`;
  if (state === "Stalled") return ready("False", reason, text);
  return ready("Unknown", state === "Waiting" ? reason : "Progressing", text);
}

const ready = (status: Decided["status"], reason: string, message: string): Decided => ({
  type: "Ready",
  status,
  reason,
  message,
});
