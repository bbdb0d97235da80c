import type { FleetMember } from "../api/index.ts";
import type { MemberPlan } from "./engine.ts";

/** A Fleet may lose objects on so many clusters within an hour without a new revision; more needs approval. */
const clustersMax = 3;
const windowMs = 3_600_000;

/**
 * Counts on how many clusters of a Fleet objects were deleted although its revision stayed: a Secret
 * with values that went, or a label, can reach all clusters at once, and no revision shows it.
 */
export class PruneBudget {
  readonly #fleets = new Map<string, Map<string, number>>();

  /** Whether objects may be deleted on this cluster now; counts it when they may. */
  take(fleet: string, cluster: string, nowMs: number): boolean {
    const isFree = this.#isFree(fleet, cluster, nowMs);
    if (isFree) this.#fleets.set(fleet, this.#recent(fleet, nowMs).set(cluster, nowMs));
    return isFree;
  }

  /**
   * The same for a member: another revision is judged by its Fleet, so only what leaves while the
   * revision stays is counted.
   */
  forMember({ status }: FleetMember, { revision, fleet, cluster }: MemberPlan, nowMs: number) {
    const isCounted = revision !== undefined && status?.currentRevision === revision.metadata.name;
    return {
      prunesMany: isCounted && !this.#isFree(fleet, cluster, nowMs),
      mayPrune: () => !isCounted || this.take(fleet, cluster, nowMs),
    };
  }

  #isFree(fleet: string, cluster: string, nowMs: number): boolean {
    const recent = this.#recent(fleet, nowMs);
    return recent.has(cluster) || recent.size < clustersMax;
  }

  #recent(fleet: string, nowMs: number): Map<string, number> {
    const known = this.#fleets.get(fleet) ?? new Map<string, number>();
    return new Map([...known].filter(([, atMs]) => nowMs - atMs < windowMs));
  }
}
