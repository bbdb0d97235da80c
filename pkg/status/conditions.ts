import { conditionOf, type Condition } from "../api/index.ts";

/** Condition messages are cut to this length. */
const messageMax = 1024;

/** A condition as decided, before times are known. */
export type Decided = Pick<Condition, "type" | "status" | "reason" | "message">;

/**
 * The conditions to write: the decided ones, each with the time of its last change of status. Types
 * that are not decided go away (kstatus: Reconciling and Stalled are absent when not true).
 */
export function applyConditions(
  before: readonly Condition[] | undefined,
  decided: readonly Decided[],
  { generation, now }: { generation: number; now: string },
): readonly Condition[] {
  return decided.map((condition) => {
    const held = conditionOf(before, condition.type);
    const lastTransitionTime = held?.status === condition.status ? held.lastTransitionTime : now;
    return {
      ...condition,
      message: cut(condition.message),
      lastTransitionTime,
      observedGeneration: generation,
    };
  });
}

function cut(message: string): string {
  return message.length > messageMax ? `${message.slice(0, messageMax - 1)}…` : message;
}

/** Ready, with Reconciling while work goes on, or Stalled when only a change can help. */
export function readyConditions(
  ready: Decided,
  progress: "none" | "reconciling" | "stalled",
): readonly Decided[] {
  if (progress === "none") return [ready];
  const type = progress === "reconciling" ? "Reconciling" : "Stalled";
  return [ready, { type, status: "True", reason: ready.reason, message: ready.message }];
}
