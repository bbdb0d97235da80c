import { conditionOf, type Condition, type Fleet, type FleetMember } from "../api/index.ts";
import { codes } from "../errors/index.ts";
import { clusterKey, clusterOf } from "../cluster/index.ts";

/** How many clusters of a Fleet stand how. */
export type FleetCounts = Readonly<Record<"matched" | "ready" | "updating" | "failed", number>>;

/** The whole hub in numbers. */
export type Overview = {
  readonly fleets: readonly {
    readonly namespace: string;
    readonly name: string;
    readonly ready: boolean;
    readonly clusters: FleetCounts;
  }[];
  /** Clusters with members, by `namespace/name`: whether all of their members are ready. */
  readonly clusters: ReadonlyMap<string, boolean>;
  /** How many members have which reason of Ready; those without a condition count as Progressing. */
  readonly members: ReadonlyMap<string, number>;
  /** Fleets and members that wait for somebody to approve a removal. */
  readonly approvals: { readonly Fleet: number; readonly FleetMember: number };
};

const none: FleetCounts = { matched: 0, ready: 0, updating: 0, failed: 0 };
const approvalReason = "RemovalNeedsApproval";
const knownReasons = new Set([
  ...Object.keys(codes),
  "Progressing",
  "ReconciliationSucceeded",
  "Removed",
  "NoClusters",
  "Suspended",
]);

/** Counts what the statuses say; metrics show it. */
export function overviewOf(fleets: readonly Fleet[], members: readonly FleetMember[]): Overview {
  const clusters = new Map<string, boolean>();
  const reasons = new Map<string, number>();
  for (const member of members) {
    const key = clusterKey(clusterOf(member));
    clusters.set(key, (clusters.get(key) ?? true) && isReady(member));
    const reason = reasonOf(member) ?? "Progressing";
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  }
  return {
    fleets: fleets.map((fleet) => ({
      namespace: fleet.metadata.namespace ?? "",
      name: fleet.metadata.name,
      ready: isReady(fleet),
      clusters: fleet.status?.clusters ?? none,
    })),
    clusters,
    members: reasons,
    approvals: {
      Fleet: fleets.filter((fleet) => reasonOf(fleet) === approvalReason).length,
      FleetMember: reasons.get(approvalReason) ?? 0,
    },
  };
}

/** Ready, and about the newest spec. */
function isReady(object: Fleet | FleetMember): boolean {
  const { metadata, status } = object;
  return status?.observedGeneration === metadata.generation && readyOf(object)?.status === "True";
}

/** Unknown reasons, from other versions or other hands, count as one. */
function reasonOf(object: Fleet | FleetMember): string | undefined {
  const reason = readyOf(object)?.reason;
  return reason === undefined || knownReasons.has(reason) ? reason : "Other";
}

/** What came past the CRD must not take the metrics of all others away. */
function readyOf({ status }: Fleet | FleetMember): Condition | undefined {
  const conditions: unknown = status?.conditions;
  return Array.isArray(conditions) ? conditionOf(conditions, "Ready") : undefined;
}
