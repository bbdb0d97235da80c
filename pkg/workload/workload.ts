import { asMap, asString } from "../json/index.ts";
import { managedElsewhere, Mirror, type Live } from "../drift/index.ts";
import type {
  ApplyReply,
  DesiredObject,
  Inspection,
  Problem,
  RemovalReply,
} from "../engine/index.ts";
import { CapitanError, messageOf } from "../errors/index.ts";
import type { Entry } from "../inventory/index.ts";
import { ApiError, type KubeClient } from "../kube/index.ts";
import {
  idOf,
  keyOf,
  ownershipOf,
  type Health,
  type KubeObject,
  type Resource,
} from "../object/index.ts";
import { Applier } from "./applier.ts";
import { DriftWatch, kindKey } from "./drift-watch.ts";
import { awaitEstablished } from "./establish.ts";
import { HealthWatch } from "./health-watch.ts";
import { InventoryStore } from "./inventory-store.ts";
import { Kinds } from "./kinds.ts";
import { parallel } from "./parallel.ts";
import { isConnectionLost, problemBehind } from "./problems.ts";
import { Remover } from "./remover.ts";
import { coreResources } from "./resources.ts";

const width = 16;
/** So many objects of one kind and namespace are listed rather than read one by one. */
const listFrom = 40;

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

/** A connection to one workload cluster. Every method throws ApiError when the cluster cannot be reached. */
export class Workload {
  readonly kinds: Kinds;
  readonly inventory: InventoryStore;
  readonly #client: KubeClient;
  readonly #mirror = new Mirror();
  readonly #health: HealthWatch;
  readonly #drift: DriftWatch;
  readonly #applier: Applier;
  readonly #remover: Remover;
  #clusterId = "";
  #isCurrent = true;

  constructor(client: KubeClient, options: WorkloadOptions) {
    const { onHealthChange, onDrift, onTrouble, random } = options;
    this.#client = client;
    this.kinds = new Kinds(client);
    this.inventory = new InventoryStore(client, options);
    this.#health = new HealthWatch(client, onHealthChange, random);
    this.#applier = new Applier(client, this.kinds, this.#mirror, onDrift);
    this.#remover = new Remover(client, this.kinds, this.#mirror);
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
    this.#health.stop();
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

  /** What is there where we have never applied. Reads only. */
  async inspect(
    objects: readonly DesiredObject[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, Inspection>> {
    const groups = Map.groupBy(objects, ({ id }) => `${id.group}/${id.kind}/${id.namespace}`);
    const found = await parallel([...groups.values()], width, (group) =>
      group.length < listFrom ? this.#readEach(group, signal) : this.#readAll(group, signal),
    );
    const there = new Map(found.flat().map((object) => [keyOf(idOf(object)), object]));
    return new Map(objects.map(({ key }) => [key, inspectionOf(there.get(key))]));
  }

  async #readEach(
    objects: readonly DesiredObject[],
    signal: AbortSignal,
  ): Promise<readonly KubeObject[]> {
    const found = await parallel(objects, width, async ({ object, id }) => {
      const resource = await this.kinds.findServedAt(object.apiVersion, object.kind, signal);
      if (resource === undefined) return undefined;
      const live = await this.#client.get(resource, id, { metadataOnly: true, signal });
      return live === undefined
        ? undefined
        : { ...live, apiVersion: object.apiVersion, kind: id.kind };
    });
    return found.filter((object) => object !== undefined);
  }

  async #readAll(
    objects: readonly DesiredObject[],
    signal: AbortSignal,
  ): Promise<readonly KubeObject[]> {
    const [first] = objects;
    if (first === undefined) return [];
    const { apiVersion, kind } = first.object;
    const resource = await this.kinds.findServedAt(apiVersion, kind, signal);
    if (resource === undefined) return [];
    const namespace = first.id.namespace === "" ? undefined : first.id.namespace;
    const list = await this.#client.list(resource, { namespace, metadataOnly: true, signal });
    return list.items;
  }

  apply(
    objects: readonly DesiredObject[],
    asked: ReadonlyMap<string, readonly string[]>,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, ApplyReply>> {
    return this.#applier.apply(objects, asked, signal);
  }

  /** Waits, by watching, until CRDs are Established and Namespaces Active; says of each whether it is. */
  async establish(
    keys: readonly string[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, boolean>> {
    const established = await awaitEstablished(this.#client, keys, signal);
    for (const key of established) this.#mirror.establish(key);
    this.kinds.forget();
    return new Map(keys.map((key) => [key, established.has(key)]));
  }

  /** The health of objects, by key. Their kinds are watched from now on, until `stopLooking`. */
  async look(
    objects: readonly { readonly key: string; readonly live: Live }[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, Health>> {
    const kinds = new Set(objects.map(({ key }) => kindOfKey(key)));
    const resources = await Promise.all(
      [...kinds].map((kind) =>
        this.kinds.findServed(
          kind.slice(0, kind.indexOf("/")),
          kind.slice(kind.indexOf("/") + 1),
          signal,
        ),
      ),
    );
    await this.#health.follow(
      resources.filter((r) => r !== undefined),
      signal,
    );
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
  }

  /** Takes our label off objects that stay. */
  release(
    entries: readonly Entry[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, RemovalReply>> {
    return this.#remover.release(entries, signal);
  }

  /** Deletes objects, each after a quorum read and under its uid and resourceVersion. */
  delete(
    entries: readonly Entry[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, RemovalReply>> {
    return this.#remover.delete(entries, signal);
  }

  /** Makes Flux harmless before its definitions go. Gives what is in the way. */
  /** The data of a Secret, base64 by key; undefined when it does not exist. */
  async secretData(
    name: { readonly namespace: string; readonly name: string },
    signal: AbortSignal,
  ): Promise<Readonly<Record<string, string>> | undefined> {
    const found = await this.#client.get(coreResources.secret, name, { signal });
    if (found === undefined) return undefined;
    const entries = Object.entries(asMap(found["data"])).map(
      ([key, value]) => [key, asString(value) ?? ""] as const,
    );
    return Object.fromEntries(entries);
  }

  disarmFlux(signal: AbortSignal): Promise<Problem | undefined> {
    return this.#remover.disarmFlux(signal);
  }
}

function inspectionOf(object: KubeObject | undefined): Inspection {
  if (object === undefined) return { exists: false, ours: false };
  const managedBy = managedElsewhere(object.metadata);
  return { exists: true, ours: ownershipOf(object.metadata) !== "", managedBy };
}

function kindOfKey(key: string): string {
  return key.split("/").slice(0, 2).join("/");
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
