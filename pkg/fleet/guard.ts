import type { Fleet, FleetMember } from "../api/index.ts";
import type { Problem } from "../engine/index.ts";
import { isWithdrawn } from "../cluster/index.ts";
import { approvalOf } from "../inventory/index.ts";
import { annotations } from "../object/index.ts";
import type { MemberAction } from "./members.ts";

/** More clusters than this at once need somebody who says so. */
const clustersMax = 3;
const leaveWindowMs = 3_600_000;
const leftMax = 100;

type Left = { readonly cluster: string; readonly time: string };

export type GuardFacts = {
  readonly fleet: Fleet;
  readonly members: readonly FleetMember[];
  readonly actions: readonly MemberAction[];
  /** The objects that a change from one revision to another would delete on a cluster, as keys. */
  readonly dropped: (from: string, to: string, cluster: string) => readonly string[];
  readonly now: Date;
};

/** What may be done now, and why the rest may not. */
export type Guarded = {
  readonly actions: readonly MemberAction[];
  readonly problem: Problem | undefined;
};

/**
 * Holds back what would make more than three clusters leave within an hour, or delete something on
 * more than three clusters at once, until the Fleet carries the approval of exactly that.
 */
export function guardActions(facts: GuardFacts): Guarded {
  const leaving = guardLeaving(facts);
  const dropping = guardDropping({ ...facts, actions: leaving.actions });
  return { actions: dropping.actions, problem: leaving.problem ?? dropping.problem };
}

function guardLeaving({ fleet, members, actions, now }: GuardFacts): Guarded {
  const leaving = actions.filter((action) => isLeaving(action, members, now));
  const left = recentlyLeft(fleet, now);
  if (leaving.length === 0 || leaving.length + left.length <= clustersMax)
    return { actions, problem: undefined };
  const names = leaving.map(clusterOf).sort();
  // A member that comes back later is another one: an approval is for this time only.
  const uids = new Map(members.map(({ metadata }) => [metadata.name, metadata.uid ?? ""]));
  const which = leaving.map((action) => `${clusterOf(action)} ${uids.get(action.name) ?? ""}`);
  const approval = approvalOf("leave", which.sort());
  if (approval === approvedOf(fleet)) return { actions, problem: undefined };
  const earlier = left.length === 0 ? "" : `, ${left.length} more have left within the last hour`;
  const message = `${names.length} clusters would leave (${some(names)}${earlier}); to allow it, annotate the Fleet: ${annotations.approveRemoval}=${approval}`;
  return {
    actions: actions.filter((action) => !leaving.includes(action)),
    problem: { code: "RemovalNeedsApproval", message },
  };
}

function guardDropping({ fleet, members, actions, dropped }: GuardFacts): Guarded {
  const current = new Map(members.map((member) => [member.metadata.name, member.spec.revision]));
  const dropping = actions.flatMap((action) => {
    const from = current.get(action.name);
    if (action.kind !== "write" || action.spec.state !== "Present" || from === undefined) return [];
    const keys =
      from === action.spec.revision ? [] : dropped(from, action.spec.revision, action.cluster.name);
    return keys.length === 0 ? [] : [{ action, keys, change: `${from} ${action.spec.revision}` }];
  });
  if (dropping.length <= clustersMax) return { actions, problem: undefined };
  const keys = [...new Set(dropping.flatMap((one) => one.keys))].sort();
  const clusters = dropping.map(({ action }) => clusterOf(action)).sort();
  const changes = [...new Set(dropping.map(({ change }) => change))].sort();
  const approval = approvalOf([...clusters, ...changes].join(","), keys);
  if (approval === approvedOf(fleet)) return { actions, problem: undefined };
  const message = `the new revision would delete ${keys.length} objects (${some(keys)}) on ${clusters.length} clusters; to allow it, annotate the Fleet: ${annotations.approveRemoval}=${approval}`;
  const held = new Set(dropping.map(({ action }) => action.name));
  return {
    actions: actions.filter(({ name }) => !held.has(name)),
    problem: { code: "RemovalNeedsApproval", message },
  };
}

/** Whether a member that is there leaves by this. What somebody withdraws cluster by cluster does not count. */
export function isLeaving(
  action: MemberAction,
  members: readonly FleetMember[],
  now: Date,
): boolean {
  if (action.kind !== "write" || action.spec.state !== "Removed") return false;
  if (isWithdrawn(action.cluster, now)) return false;
  return members.some(
    ({ metadata, spec }) => metadata.name === action.name && spec.state === "Present",
  );
}

const clusterOf = (action: MemberAction) =>
  action.kind === "write" ? action.cluster.name : action.cluster;

const approvedOf = ({ metadata }: Fleet) => metadata.annotations?.[annotations.approveRemoval];

function some(names: readonly string[]): string {
  const more = names.length > 3 ? ` and ${names.length - 3} more` : "";
  return `${names.slice(0, 3).join(", ")}${more}`;
}

/** Clusters that left the Fleet within the last hour, with those that leave now. */
export function recentlyLeft(
  { status }: Fleet,
  now: Date,
  leaving: readonly string[] = [],
): readonly Left[] {
  const time = now.toISOString().replace(/\.\d+/, "");
  const kept = (status?.left ?? []).filter(
    (one) => now.getTime() - Date.parse(one.time) < leaveWindowMs,
  );
  return [...kept, ...leaving.map((cluster) => ({ cluster, time }))].slice(-leftMax);
}
