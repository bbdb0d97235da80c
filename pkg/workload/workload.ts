import { Mirror, type Live } from "../drift/index.ts";
import type { Inspection, Problem } from "../engine/index.ts";
import { CapitanError, messageOf } from "../errors/index.ts";
import { ApiError, type KubeClient } from "../kube/index.ts";
import { parseKey, type Health, type Resource } from "../object/index.ts";
import { DriftWatch, kindKey } from "./drift-watch.ts";
import { awaitEstablished } from "./establish.ts";
import { Hands, inspectionOf, kindOfKey, servedKinds, type Look } from "./hands.ts";
import { HealthWatch } from "./health-watch.ts";
import { InventoryStore } from "./inventory-store.ts";
import { Kinds } from "./kinds.ts";
import { isConnectionLost, problemBehind } from "./problems.ts";
import { coreResources } from "./resources.ts";
import { TenantHealth } from "./tenant-health.ts";

export type WorkloadOptions = {
  /** An object that somebody waits for changed its health. */
  readonly onHealthChange: () => void;
  /** An owned object was written by somebody else, or has gone. */
  readonly onDrift: () => void;
  /** The connection failed, or the watches had to begin anew: nothing in memory is to be trusted. */
  readonly onTrouble: () => void;
  readonly random: () => number;
  readonly randomKey: () => Uint8Array;
  /** The name of its inventory. */
  readonly inventory: string;
};

/**
 * A connection to one workload cluster: what is known of it, under the identity of the kubeconfig.
 * What is done for a Fleet is done by `as`. Every method throws ApiError when the cluster cannot be
 * reached.
 */
export class Workload {
  readonly kinds: Kinds;
  readonly inventory: InventoryStore;
  readonly #client: KubeClient;
  readonly #mirror = new Mirror();
  readonly #health: HealthWatch;
  readonly #drift: DriftWatch;
  readonly #tenantHealth: TenantHealth;
  readonly #onNews: () => void;
  /** By user; "" is the controller itself. */
  readonly #hands = new Map<string, Hands>();
  #clusterId = "";
  #isCurrent = true;

  constructor(client: KubeClient, options: WorkloadOptions) {
    const { onHealthChange, onDrift, onTrouble, random } = options;
    this.#client = client;
    this.kinds = new Kinds(client);
    this.inventory = new InventoryStore(client, options);
    this.#health = new HealthWatch(client, onHealthChange, { random });
    this.#onNews = onDrift;
    const watch = new HealthWatch(client, onHealthChange, { random, metadataOnly: true });
    this.#tenantHealth = new TenantHealth(client, watch, this.kinds, this.#mirror);
    const troubled = () => {
      this.#isCurrent = false;
      onTrouble();
    };
    this.#drift = new DriftWatch(client, this.#mirror, {
      random,
      onNews: onDrift,
      onRelisted: troubled,
      onTrouble: (error) => {
        // A kind that went, or is served at another version now.
        if (error instanceof ApiError && error.status === 404) this.kinds.forget();
        if (isTrouble(error)) troubled();
      },
    });
  }

  /** uid of the namespace kube-system: another one is another cluster. */
  get clusterId(): string {
    return this.#clusterId;
  }

  /** Whether the watches have gone on without a gap since this was last asked for with `true`. */
  isCurrent(anew: boolean): boolean {
    if (anew) this.#isCurrent = true;
    return this.#isCurrent;
  }

  /** A cheap read that proves that the API server answers and accepts us. Throws Unreachable, CredentialsRejected, ServerIdentityRefused. */
  async dial(signal: AbortSignal): Promise<void> {
    try {
      const found = await this.#client.get(
        coreResources.namespace,
        { name: "kube-system" },
        { signal, metadataOnly: true },
      );
      if (found === undefined)
        throw new CapitanError(
          "Unreachable",
          "the API server is not ready: it has no namespace kube-system yet",
        );
      this.#clusterId = found.metadata.uid ?? "";
    } catch (error) {
      throw dialError(error);
    }
  }

  async close(): Promise<void> {
    this.stopLooking();
    this.#drift.stop();
    await this.#client.close();
  }

  /** Every owned object of these kinds, which are watched from now on. A kind that cannot be listed has a problem. */
  async observe(
    resources: readonly Resource[],
    signal: AbortSignal,
  ): Promise<{
    readonly live: ReadonlyMap<string, Live>;
    readonly unlisted: ReadonlyMap<string, Problem>;
  }> {
    const failed = await this.#drift.follow(resources, signal);
    const unlisted = new Map<string, Problem>();
    for (const [kind, error] of failed) {
      const what = ["ApplyFailed", `listing ${kind}`] as const;
      unlisted.set(kind, await problemBehind(this.#client, what, error, signal));
    }
    return { live: new Map(this.#mirror.all()), unlisted };
  }

  /** Ends the watches of all other kinds. */
  retain(resources: readonly Resource[]): void {
    this.#drift.retain(new Set(resources.map(kindKey)));
  }

  /** The owned objects as the watches tell them now. */
  live(): ReadonlyMap<string, Live> {
    return new Map(this.#mirror.all());
  }

  /** Whether these objects are there now, whoever made them: not from memory. One of a kind that is not served is not there. */
  async seek(
    keys: readonly string[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, Inspection>> {
    // What is to go depends on this, and a kind may be served since we last looked.
    this.kinds.forget();
    const found = keys.map(async (key) => {
      const id = parseKey(key);
      const [resource] = await servedKinds(this.kinds, [key], signal);
      if (id === undefined || resource === undefined)
        return [key, inspectionOf(undefined)] as const;
      const live = await this.#client.get(resource, id, { metadataOnly: true, signal });
      return [key, inspectionOf(live)] as const;
    });
    return new Map(await Promise.all(found));
  }

  /** Waits, by watching, until CRDs are Established and Namespaces Active; says of each whether it is. */
  async establish(
    keys: readonly string[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, boolean>> {
    const established = await awaitEstablished(this.#health, this.#mirror, keys, signal);
    for (const key of established) this.#mirror.establish(key);
    this.kinds.outgrow();
    return new Map(keys.map((key) => [key, established.has(key)]));
  }

  /** Who does something to objects here: the controller itself, or a user that is impersonated. */
  as(user: string | undefined): Hands {
    const key = user ?? "";
    const held = this.#hands.get(key) ?? this.#handsOf(user);
    this.#hands.set(key, held);
    return held;
  }

  #handsOf(user: string | undefined): Hands {
    const own = this.#client;
    const client = user === undefined ? own : own.as(user);
    const look: Look =
      user === undefined
        ? (objects, signal) => this.#look(objects, signal)
        : this.#tenantHealth.lookAs(client);
    const { kinds } = this;
    return new Hands({ own, client, kinds, look, mirror: this.#mirror, onNews: this.#onNews });
  }

  /** The kinds of these objects are watched from now on, until `stopLooking`. */
  async #look(...[objects, signal]: Parameters<Look>): ReturnType<Look> {
    const keys = objects.map(({ key }) => key);
    await this.#health.follow(await servedKinds(this.kinds, keys, signal), signal);
    return new Map(objects.map(({ key, live }) => [key, this.#lookAt(key, live)]));
  }

  /** What is healthy at the very version that the mirror has is remembered: the next pass need not look. */
  #lookAt(key: string, live: Live): Health {
    const kind = kindOfKey(key);
    const health = this.#health.healthOf(kind, key, live);
    if (health.state === "Current" && this.#health.versionOf(kind, key) === live.version)
      this.#mirror.noteHealth(key, live.version, health);
    return health;
  }

  /** Nobody waits for anything: no watch of whole objects is kept. */
  stopLooking(): void {
    this.#health.stop();
    this.#tenantHealth.stop();
  }
}

/** What says that the connection, not one kind, is in trouble. */
function isTrouble(error: unknown): boolean {
  return !(error instanceof ApiError) || error.status === 404 || isConnectionLost(error);
}

/** TLS errors that say: this is not the server that the kubeconfig means. */
const wrongServer =
  /CERT|certificate|self.signed|UNABLE_TO_|ERR_TLS_CERT_ALTNAME|unable to verify|altnames/i;

/** What a failed request says about the connection: Unreachable, CredentialsRejected or ServerIdentityRefused. */
export function dialError(error: unknown): CapitanError {
  if (!(error instanceof ApiError)) {
    if (error instanceof CapitanError) return error;
    return new CapitanError("Unreachable", messageOf(error), { cause: error });
  }
  const options = { cause: error };
  if (error.status === 0 && wrongServer.test(`${error.reason} ${error.detail}`)) {
    return new CapitanError("ServerIdentityRefused", error.detail, options);
  }
  if (error.status === 403) {
    const message = `the API server refused to show namespace kube-system: ${error.detail}`;
    return new CapitanError("CredentialsRejected", message, options);
  }
  const code = error.status === 401 ? "CredentialsRejected" : "Unreachable";
  return new CapitanError(code, error.detail, options);
}
