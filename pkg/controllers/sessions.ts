import { kubeconfigOf, kubeconfigSecretName } from "../capi/index.ts";
import { clusterKey, isManagement, type ClusterFacts } from "../cluster/index.ts";
import { SharedObjects } from "../engine/index.ts";
import type { Clock, ClusterHub, ConnectionsPort, Named, WorkloadPort } from "./ports.ts";
import { Session } from "./session.ts";

/** So long the watch of Secrets is believed that a kubeconfig is still the same; a lost event must not matter for longer. */
const believedMs = 5 * 60_000;

export type SessionsOptions = {
  readonly hub: Pick<ClusterHub, "secret" | "secretVersion">;
  readonly connections: ConnectionsPort;
  readonly clock: Clock;
};

/** Where a connection comes from: a Cluster's uid with the state of its kubeconfig's Secret, and when that was read. */
type Origin = { readonly of: string; readonly readMs: number };

/** Opens clusters by their kubeconfigs as they are now, and goes on with what is open already. */
export class Sessions {
  readonly #options: SessionsOptions;
  readonly #shared = new SharedObjects();
  readonly #origins = new WeakMap<WorkloadPort, Origin>();

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  /**
   * The session with a cluster: the known one when its connection is still the right one. Its inventory
   * is to be read again. Throws KubeconfigNotFound, what a kubeconfig is refused for, Unreachable.
   */
  async open(
    cluster: ClusterFacts,
    known: Session | undefined,
    signal: AbortSignal,
  ): Promise<Session> {
    const workload = await this.#connection(cluster, signal);
    if (known?.workload !== workload)
      return new Session(workload, this.#options.clock, this.#shared);
    known.ledger = undefined;
    return known;
  }

  async #connection(cluster: ClusterFacts, signal: AbortSignal): Promise<WorkloadPort> {
    const { hub, connections, clock } = this.#options;
    const key = clusterKey(cluster);
    if (isManagement(cluster)) return connections.management(key, signal);
    const secret = kubeconfigSecretOf(cluster);
    // Asked before the Secret is read: the state that is remembered is never newer than what was read.
    const version = hub.secretVersion(secret);
    const origin = { of: `${cluster.uid}/${version}`, readMs: clock.monotonicMs() };
    const held = connections.held(key);
    const isKnown = held !== undefined && version !== "";
    if (isKnown && isStill(this.#origins.get(held), origin)) return held;
    const what = nameOfKubeconfig(cluster);
    const kubeconfig = kubeconfigOf(await hub.secret(secret, signal), what);
    const request = { key, clusterUid: cluster.uid, kubeconfig, what };
    const workload = await connections.get(request, signal);
    this.#origins.set(workload, origin);
    return workload;
  }
}

const isStill = (before: Origin | undefined, now: Origin) =>
  before?.of === now.of && now.readMs - before.readMs < believedMs;

const kubeconfigSecretOf = ({ namespace, name }: Named): Named => ({
  namespace,
  name: kubeconfigSecretName(name),
});

/** How messages call the Secret with a Cluster's kubeconfig. */
export function nameOfKubeconfig(cluster: Named): string {
  const { namespace, name } = kubeconfigSecretOf(cluster);
  return `Secret ${namespace}/${name}`;
}
