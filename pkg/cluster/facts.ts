import type { ClusterInput } from "../template/index.ts";

/** What the Fleet needs to know of a Cluster. */
export type ClusterFacts = {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly paused: boolean;
  readonly deleting: boolean;
  readonly controlPlaneInitialized: boolean;
  /** RFC 3339: until then nothing is written to the cluster. */
  readonly suspendedUntil?: string | undefined;
  /** RFC 3339: until then every Fleet withdraws from the cluster. */
  readonly withdrawnUntil?: string | undefined;
  /** What templates may read of it. */
  readonly context: ClusterInput;
};

/** Whether everything is to leave the cluster for a while: before it is deleted, as a rule. */
export function isWithdrawn({ withdrawnUntil }: ClusterFacts, now: Date): boolean {
  return momentOf(withdrawnUntil) > now.getTime();
}

const rfc3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})$/;

/** A moment that somebody wrote, in milliseconds; NaN for what is no RFC 3339: Date.parse takes any text with a number. */
export function momentOf(text: string | undefined): number {
  return text !== undefined && rfc3339.test(text) ? Date.parse(text) : Number.NaN;
}
