/** Remembers since when a cluster has drifted, to tell how long a repair took. One entry for each cluster at most. */
export class DriftTimes {
  readonly #sinceMs = new Map<string, number>();

  /** Somebody wrote an owned object; what was seen first counts. */
  seen(cluster: string, nowMs: number): void {
    if (!this.#sinceMs.has(cluster)) this.#sinceMs.set(cluster, nowMs);
  }

  /** Something was put back. Gives how long after it was seen, undefined when nobody had seen it. */
  repaired(cluster: string, nowMs: number): number | undefined {
    const sinceMs = this.#sinceMs.get(cluster);
    this.#sinceMs.delete(cluster);
    return sinceMs === undefined ? undefined : nowMs - sinceMs;
  }

  /** A look that began at this time is over: what had been seen before has been dealt with. */
  lookedAt(cluster: string, startedMs: number): void {
    const sinceMs = this.#sinceMs.get(cluster);
    if (sinceMs !== undefined && sinceMs <= startedMs) this.#sinceMs.delete(cluster);
  }
}
