import { sha256Hex } from "../json/index.ts";
import { CapitanError } from "../errors/index.ts";
import { connect } from "../kube/index.ts";
import { expiryOf, parseWorkloadKubeconfig, type ConnectionConfig } from "../kubeconfig/index.ts";
import { inventoryName, managementInventoryName } from "../inventory/index.ts";
import { Workload } from "./workload.ts";

export type ConnectRequest = {
  /** `namespace/name` of the Cluster. */
  readonly key: string;
  readonly clusterUid: string;
  readonly kubeconfig: string;
  /** Names the kubeconfig Secret in messages. */
  readonly what: string;
};

/** By this name audit logs of workload clusters show what the controller did. */
const userAgent = "capitan-controller";

type Place = {
  readonly identity: string;
  readonly config: ConnectionConfig;
  /** The name of the inventory there. */
  readonly inventory: string;
};

type Held = {
  readonly identity: string;
  readonly workload: Workload;
  /** When its client certificate ends. */
  readonly expiry: Date | undefined;
};

export type ConnectionsOptions = {
  /** The health of an object that somebody waits for changed, on the cluster with this key. */
  readonly onHealthChange: (key: string) => void;
  /** An owned object was written by somebody else. */
  readonly onDrift: (key: string) => void;
  /** The connection or its watches failed. */
  readonly onTrouble: (key: string) => void;
  /** Whether this process still leads. */
  readonly mayWrite: () => boolean;
  readonly now: () => Date;
  readonly random: () => number;
  readonly randomKey: () => Uint8Array;
  /** How the hub itself is reached: as the controller reaches it anyway. */
  readonly management: ConnectionConfig;
};

/** One connection per cluster, made anew when the Cluster or its kubeconfig is another. */
export class Connections {
  readonly #held = new Map<string, Held>();
  readonly #options: ConnectionsOptions;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  /** The connection that is there; nothing is dialled. */
  held(key: string): Workload | undefined {
    return this.#held.get(key)?.workload;
  }

  /** The cluster's connection; a new one has been dialled. Throws KubeconfigInvalid, KubeconfigRefused, CredentialsExpired, CredentialsRejected, ServerIdentityRefused, Unreachable. */
  async get(
    { key, clusterUid, kubeconfig, what }: ConnectRequest,
    signal: AbortSignal,
  ): Promise<Workload> {
    const identity = `${clusterUid}/${sha256Hex(kubeconfig)}`;
    const held = this.#held.get(key);
    if (held?.identity === identity) return held.workload;
    const config = parseWorkloadKubeconfig(kubeconfig, what);
    refuseExpired(config, what, this.#options.now());
    return this.#dial(key, { identity, config, inventory: inventoryName }, signal);
  }

  /** The hub itself. Throws CredentialsRejected, ServerIdentityRefused, Unreachable. */
  async management(key: string, signal: AbortSignal): Promise<Workload> {
    const held = this.#held.get(key);
    if (held !== undefined) return held.workload;
    const config = this.#options.management;
    return this.#dial(key, { identity: "", config, inventory: managementInventoryName }, signal);
  }

  async #dial(key: string, { identity, config, inventory }: Place, signal: AbortSignal) {
    await this.drop(key);
    const { onHealthChange, onDrift, onTrouble, random, randomKey, mayWrite } = this.#options;
    const workload = new Workload(connect(config, userAgent, mayWrite), {
      onHealthChange: () => onHealthChange(key),
      onDrift: () => onDrift(key),
      onTrouble: () => onTrouble(key),
      random,
      randomKey,
      inventory,
    });
    try {
      await workload.dial(signal);
    } catch (error) {
      await workload.close();
      throw error;
    }
    this.#held.set(key, { identity, workload, expiry: expiryOf(config) });
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

  /** The connected clusters, by key, with the end of their client certificates. */
  expiries(): ReadonlyMap<string, Date | undefined> {
    return new Map([...this.#held].map(([key, { expiry }]) => [key, expiry]));
  }
}

function refuseExpired(config: ConnectionConfig, what: string, now: Date): void {
  const expiry = expiryOf(config);
  if (expiry === undefined || expiry > now) return;
  const message = `${what}: its client certificate expired at ${expiry.toISOString()}`;
  throw new CapitanError("CredentialsExpired", message);
}
