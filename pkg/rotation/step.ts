import { commitOf, type Ready } from "./commit.ts";
import type { HubWrite, Reader, RotationFacts, Write } from "./facts.ts";
import { Lookup } from "./lookup.ts";
import { refusalBy } from "./safety.ts";
import { stageOf, type Stage } from "./stage.ts";

/** Where a reader stands, for people and for the next write. */
export type Standing = { readonly reader: Reader; readonly stage: Stage | Held };

/** Ready for a commit that waits: for others to be in it too, or for a merge. */
type Held = {
  readonly kind: "wait";
  readonly reason: "AwaitingOthers" | "AwaitingMerge";
  readonly message: string;
};

/** What to do next. Writes of one batch do not depend on each other. */
export type Next =
  | { readonly kind: "write"; readonly writes: readonly Write[] }
  | { readonly kind: "wait" | "stalled" | "done" };

/** How long a commit waits for others to be in it: each one starts a run of CI. */
const gatherMs = 60_000;

/**
 * The next write of a rotation, and where every reader stands. From observed facts only: whoever is
 * killed begins here again. Facts must be read anew after each batch.
 */
export function step(facts: RotationFacts): {
  readonly next: Next;
  readonly standings: readonly Standing[];
} {
  const lookup = new Lookup(facts);
  const standings = facts.readers.flatMap((reader) => {
    const ends = facts.targets.get(reader.name);
    return ends === undefined ? [] : [{ reader, stage: safeStage(lookup, reader, ends) }];
  });
  const hub = standings.flatMap(({ reader, stage }) => hubWriteOf(reader, stage));
  if (hub.length > 0) return { next: { kind: "write", writes: hub }, standings };
  const ready = standings.flatMap(({ reader, stage }) =>
    stage.kind === "edit" ? [{ reader, edits: stage.edits }] : [],
  );
  if (ready.length === 0) return { next: { kind: restOf(standings) }, standings };
  const commit = commitOf(lookup, ready);
  const held = heldBy(facts, standings, { ready, branch: commit.branch });
  if (held !== undefined) return { next: { kind: "wait" }, standings: holdAll(standings, held) };
  return { next: { kind: "write", writes: [commit] }, standings };
}

/** A write that is not safe is not made; it stops its reader, not the others. */
function safeStage(lookup: Lookup, reader: Reader, ends: number): Stage {
  const stage = stageOf(lookup, reader, ends);
  const writes =
    stage.kind === "edit"
      ? [commitOf(lookup, [{ reader, edits: stage.edits }])]
      : hubWriteOf(reader, stage);
  for (const write of writes) {
    const refusal = refusalBy(lookup, write);
    if (refusal !== undefined) return { kind: "stalled", code: "RotationUnsafe", message: refusal };
  }
  return stage;
}

function hubWriteOf({ name }: Reader, stage: Stage): readonly HubWrite[] {
  if (stage.kind === "create")
    return [{ kind: "create", reader: name, generation: stage.generation }];
  if (stage.kind === "end" || stage.kind === "retire")
    return [{ kind: stage.kind, reader: name, generations: stage.generations }];
  return [];
}

function restOf(standings: readonly Standing[]): "wait" | "stalled" | "done" {
  const kinds = new Set(standings.map(({ stage }) => stage.kind));
  if (kinds.has("wait")) return "wait";
  return kinds.has("stalled") ? "stalled" : "done";
}

/** Why the commit waits: for a merge, or for others that it could also be for. */
function heldBy(
  { proposals, nowMs }: RotationFacts,
  standings: readonly Standing[],
  { ready, branch }: { readonly ready: readonly Ready[]; readonly branch: string | undefined },
): Held | undefined {
  if (branch !== undefined && proposals?.has(branch) === true)
    return { kind: "wait", reason: "AwaitingMerge", message: `merge branch ${branch}` };
  const oldest = Math.min(...ready.map(({ edits }) => edits.readySinceMs));
  if (nowMs - oldest >= gatherMs) return undefined;
  const coming = standings.find(isComing);
  if (coming === undefined) return undefined;
  const message = `one commit for several: ${coming.reader.name} is about to be ready`;
  return { kind: "wait", reason: "AwaitingOthers", message };
}

/** Whether it is about to be ready by itself, for a commit: whoever has had the last one is not waited for. */
const isComing = ({ reader, stage }: Standing) =>
  stage.kind === "wait" &&
  "beforeCommit" in stage &&
  stage.beforeCommit &&
  reader.presence === "reachable" &&
  isShort(stage.reason);

const isShort = (reason: string) =>
  ["AwaitingIdentity", "AwaitingApply", "AwaitingProof"].includes(reason);

const holdAll = (standings: readonly Standing[], held: Held): readonly Standing[] =>
  standings.map(({ reader, stage }) => ({ reader, stage: stage.kind === "edit" ? held : stage }));
