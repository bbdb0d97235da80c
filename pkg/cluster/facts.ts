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
  return Date.parse(withdrawnUntil ?? "") > now.getTime();
}
