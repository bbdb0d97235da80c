import type { SecretRotation, SecretRotationStatus } from "../api/index.ts";
import {
  clusterKey,
  isManagement,
  managementCluster,
  type ClusterFacts,
} from "../cluster/index.ts";
import { isCapitanError } from "../errors/index.ts";
import { untilEvent, type Again } from "../pace/index.ts";
import { restartsFor, secretsIn, standingOf, type Delivered } from "../secretrotation/index.ts";
import {
  isSettledRow,
  secretRotationStatus,
  type ClusterOutcome,
  type SecretOutcome,
} from "../status/index.ts";
import { problemOf } from "./members.ts";
import type { Actor, Log, Named } from "./ports.ts";
import { report, timestamp, type Reporter } from "./report.ts";
import {
  SecretRotationReaders,
  wantedOf,
  type Look,
  type SecretReadersOptions,
  type ValueHands,
  type Wanted,
} from "./secret-rotation-readers.ts";

export type SecretRotationHub = Reporter<SecretRotation, SecretRotationStatus> & {
  secretRotation(name: Named): SecretRotation | undefined;
  clusters(): readonly ClusterFacts[];
};

export type SecretRotationOptions = SecretReadersOptions & {
  readonly rotations: SecretRotationHub;
  /** Throws when Clusters are not known: then none is gone, and nobody is complete. */
  readonly checkHub: (signal: AbortSignal) => Promise<void>;
  readonly log: Log;
};

/** Where workloads are told of what is new, and by whose hands. */
type Told = {
  readonly cluster: Named;
  readonly delivered: readonly Delivered[];
  readonly hands: ValueHands;
};

const retry: Again = { kind: "backoff", baseMs: 2_000, maxMs: 60_000, flatTries: 3 };
/** How long nothing is looked at while others have to do something. */
const waitMs = 3_000;
/** How the hub itself is called among clusters: no Cluster can have this name. */
const hubName = "(hub)";

/**
 * Watches over values that were changed in files: looks who runs them, tells the workloads that ask for it,
 * and says who does not run them yet. Nothing is remembered between two looks but who is done.
 */
export class SecretRotationReconciler {
  readonly #options: SecretRotationOptions;
  readonly #readers: SecretRotationReaders;

  constructor(options: SecretRotationOptions) {
    this.#options = options;
    this.#readers = new SecretRotationReaders(options);
  }

  /** One look at the SecretRotation of this key (`namespace/name`), and what it leads to. */
  async reconcile(key: string, signal: AbortSignal): Promise<Again> {
    const [namespace = "", name = ""] = key.split("/");
    const rotation = this.#options.rotations.secretRotation({ namespace, name });
    if (rotation === undefined || rotation.status?.completedTime !== undefined) return untilEvent;
    try {
      await this.#options.checkHub(signal);
      const wanted = wantedOf(namespace, rotation.spec);
      const outcomes = this.#open(rotation).map((cluster) =>
        this.#advance(cluster, { rotation, wanted }, signal),
      );
      const clusters = await Promise.all(outcomes);
      const status = await this.#report(rotation, { clusters }, signal);
      return status.completedTime === undefined ? { kind: "after", ms: waitMs } : untilEvent;
    } catch (error) {
      if (signal.aborted) throw error;
      const problem = problemOf(error);
      this.#options.log.warn({ rotation: key, code: problem.code }, problem.message);
      await this.#report(rotation, { problem }, signal);
      return retry;
    }
  }

  /** The clusters that may have to run the values and are not known to. */
  #open({ metadata: { namespace = "" }, spec, status }: SecretRotation): readonly Named[] {
    const done = new Set(status?.clusters?.filter(isSettledRow).map(({ name }) => name));
    if (spec.clusters !== undefined)
      return spec.clusters.filter((name) => !done.has(name)).map((name) => ({ namespace, name }));
    const { rotations } = this.#options;
    const beside = rotations.clusters().filter((cluster) => cluster.namespace === namespace);
    return [...beside, managementCluster].filter((cluster) => !done.has(rowName(cluster)));
  }

  /** Looks at one cluster and does what is to be done there. What is wrong with one holds up no other. */
  async #advance(
    cluster: Named,
    { rotation, wanted }: { readonly rotation: SecretRotation; readonly wanted: Wanted },
    signal: AbortSignal,
  ): Promise<ClusterOutcome> {
    const name = rowName(cluster);
    try {
      const look = await this.#readers.look(cluster, wanted, signal);
      const standing = standingOf(look);
      const isToRestart = rotation.spec.restart && !isManagement(cluster);
      if (standing.kind !== "runs" || !isToRestart) return { name, standing, restarted: 0 };
      const restarted = await this.#restart(cluster, look, signal);
      return restarted === "away"
        ? { name, standing: away(name), restarted: 0 }
        : { name, standing, restarted };
    } catch (error) {
      if (signal.aborted || !isCapitanError(error)) throw error;
      if (error.code === "Unreachable") return { name, standing: away(name), restarted: 0 };
      return { name, standing: { kind: "stalled", problem: problemOf(error) }, restarted: 0 };
    }
  }

  /** Tells the workloads that ask for it, and counts those that were told, now or before. */
  async #restart(cluster: Named, { byUser }: Look, signal: AbortSignal): Promise<number | "away"> {
    const named = [...byUser].filter(([, delivered]) => secretsIn(delivered).size > 0);
    if (named.length === 0) return 0;
    const workload = this.#options.connections.held(clusterKey(cluster));
    if (workload === undefined) return "away";
    let count = 0;
    for (const [user, delivered] of named)
      count += await this.#restartAs(
        user,
        { cluster, delivered, hands: workload.as(user) },
        signal,
      );
    return count;
  }

  async #restartAs(
    user: Actor,
    { cluster, delivered, hands }: Told,
    signal: AbortSignal,
  ): Promise<number> {
    const { log } = this.#options;
    let count = 0;
    for (const [namespace, secrets] of secretsIn(delivered)) {
      const workloads = await hands.workloadsIn(namespace, signal);
      for (const restart of restartsFor(workloads, secrets)) {
        const { kind, metadata } = restart.workload;
        const isThere = restart.isTold || (await hands.restart(restart, signal));
        const facts = { cluster: clusterKey(cluster), user, kind, namespace, name: metadata.name };
        if (isThere && !restart.isTold) log.info(facts, "rotation: workload told to restart");
        count += isThere ? 1 : 0;
      }
    }
    return count;
  }

  async #report(
    rotation: SecretRotation,
    outcome: SecretOutcome,
    signal: AbortSignal,
  ): Promise<SecretRotationStatus> {
    const { rotations, clock, log } = this.#options;
    const status = secretRotationStatus(rotation, outcome, timestamp(clock));
    await report(rotations, rotation, status, { clock, log, signal });
    return status;
  }
}

const rowName = (cluster: Named): string => (isManagement(cluster) ? hubName : cluster.name);

const away = (name: string) =>
  ({ kind: "wait", reason: "ClusterAway", message: `${name} does not answer` }) as const;
