import { durationMs, type Fleet, type KeyRotation, type KeyRotationSpec } from "../api/index.ts";
import { annotations, labels, type ObjectMeta } from "../object/index.ts";
import { rotationName } from "./names.ts";

/** The newest age identity of a cluster. */
export type AgedKey = {
  readonly cluster: string;
  /** Of the Cluster: another one of its name begins anew. */
  readonly uid: string;
  readonly generation: number;
  readonly createdMs: number;
};

/** When what a Secret holds was made: as it says itself, or when the Secret was; 0 where nobody says. */
export function createdMsOf({
  annotations: noted = {},
  creationTimestamp = "",
}: ObjectMeta): number {
  const stored = Date.parse(creationTimestamp) || 0;
  const said = Date.parse(noted[annotations.created] ?? "");
  return said < stored || stored === 0 ? said || 0 : stored;
}

/** A KeyRotation as it is created: what it does not say is the default. */
export type NewRotation = {
  readonly metadata: {
    readonly namespace: string;
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
  };
  readonly spec: Pick<KeyRotationSpec, "clusters" | "repository" | "decryption">;
};

/** A KeyRotation takes no more; the others come with the next one. */
const clustersMax = 1_000;
/** A cluster in another rotation is looked at again after this. */
const busyMs = 60_000;

/**
 * What a Fleet's `rotation` asks for now: one KeyRotation for the clusters whose identity is too old and
 * that are in no open one, and when to ask again. Its name comes from what it rotates, so that
 * whoever is killed makes no second one.
 */
export function dueRotation(
  { metadata, spec }: Fleet,
  { keys, open, nowMs }: Known,
): { readonly rotation: NewRotation | undefined; readonly againMs: number } {
  const none = { rotation: undefined, againMs: Infinity };
  const { rotation: wanted, suspend } = spec;
  if (wanted === undefined || suspend || metadata.deletionTimestamp !== undefined) return none;
  const { rotateEvery, repository, decryption } = wanted;
  const busy = new Set(
    open.flatMap((one) => (one.spec.dryRun ? [] : one.spec.clusters.map(({ name }) => name))),
  );
  const aged = keys.map((key) => ({
    ...key,
    leftMs: key.createdMs + durationMs(rotateEvery) - nowMs,
  }));
  const due = aged
    .filter(({ cluster, leftMs }) => leftMs <= 0 && !busy.has(cluster))
    .sort((a, b) => (a.cluster < b.cluster ? -1 : 1))
    .slice(0, clustersMax);
  const againMs = Math.min(...aged.map(({ leftMs }) => (leftMs > 0 ? leftMs : busyMs)));
  const [first] = due;
  if (first === undefined) return { rotation: undefined, againMs };
  const fleet = { namespace: metadata.namespace ?? "", name: metadata.name };
  const targets = due.map(({ cluster, uid, generation }) => ({ cluster, uid, generation }));
  return {
    againMs,
    rotation: {
      metadata: {
        namespace: fleet.namespace,
        name: rotationName(fleet, targets),
        labels: { [labels.fleet]: fleet.name.slice(0, 63) },
      },
      spec: {
        clusters: due.map(({ cluster, generation }) => ({ name: cluster, ends: generation })),
        repository,
        decryption,
      },
    },
  };
}

type Known = {
  /** Of the Fleet's clusters. */
  readonly keys: readonly AgedKey[];
  /** KeyRotations of the namespace that are not complete. */
  readonly open: readonly KeyRotation[];
  readonly nowMs: number;
};
