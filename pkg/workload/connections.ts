import { sha256Hex } from "../json/index.ts";
import { connect } from "../kube/index.ts";
import { parseWorkloadKubeconfig } from "../kubeconfig/index.ts";
import { Workload } from "./workload.ts";

export type ConnectRequest = {
  /** `namespace/name` of the Cluster. */
  readonly key: string;
  readonly clusterUid: string;
  readonly kubeconfig: string;
  /** Names the kubeconfig Secret in messages. */
  readonly what: string;
};

type Held = { readonly identity: string; readonly workload: Workload };

/** One connection per cluster, made anew when the Cluster or its kubeconfig is another. */
export class Connections {
  readonly #held = new Map<string, Held>();
  readonly #options: {
    readonly onHealthChange: (key: string) => void;
    readonly random: () => number;
  };

  constructor(options: {
    readonly onHealthChange: (key: string) => void;
    readonly random: () => number;
  }) {
    this.#options = options;
  }

  /** The cluster's connection; a new one has been dialled. Throws KubeconfigInvalid, KubeconfigRefused, Unreachable, CredentialsRejected. */
  async get(
    { key, clusterUid, kubeconfig, what }: ConnectRequest,
    signal: AbortSignal,
  ): Promise<Workload> {
    const identity = `${clusterUid}/${sha256Hex(kubeconfig)}`;
    const held = this.#held.get(key);
    if (held?.identity === identity) return held.workload;
    await this.drop(key);
    const client = connect(parseWorkloadKubeconfig(kubeconfig, what));
    const workload = new Workload(client, {
      onHealthChange: () => this.#options.onHealthChange(key),
      random: this.#options.random,
    });
    try {
      await workload.dial(signal);
    } catch (error) {
      await workload.close();
      throw error;
    }
    this.#held.set(key, { identity, workload });
    return workload;
  }

  /** Ends the cluster's connection, if there is one. */
  async drop(key: string): Promise<void> {
    const held = this.#held.get(key);
    this.#held.delete(key);
    await held?.workload.close();
  }

  /** Ends all. */
  async close(): Promise<void> {
    await Promise.all([...this.#held.keys()].map((key) => this.drop(key)));
  }

  /** How many clusters are connected. */
  get size(): number {
    return this.#held.size;
  }
}
