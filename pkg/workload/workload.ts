import { CapitanError, messageOf } from "../errors/index.ts";
import {
  fieldManager,
  idOf,
  keyOf,
  labels,
  nameOf,
  ownershipOf,
  parseKey,
  type Health,
  type KubeObject,
} from "../object/index.ts";
import type { Entry, Inventory } from "../inventory/index.ts";
import type { ApplyReply, DesiredObject, Live, Problem, RemovalReply } from "../engine/index.ts";
import { ApiError, isConflict, type KubeClient } from "../kube/index.ts";
import { type Resource } from "../object/index.ts";
import { HealthWatch } from "./health-watch.ts";
import { InventoryStore } from "./inventory-store.ts";
import { Kinds } from "./kinds.ts";
import { isBarrier, isEstablished, liveOf } from "../engine/index.ts";
import { parallel } from "./parallel.ts";

/** Requests to one cluster at a time. More does not help: its API server is the limit. */
const width = 16;
const establishDeadlineMs = 15_000;

const definitionResource: Resource = {
  group: "apiextensions.k8s.io",
  version: "v1",
  kind: "CustomResourceDefinition",
  plural: "customresourcedefinitions",
  namespaced: false,
};
const namespaceResource: Resource = {
  group: "",
  version: "v1",
  kind: "Namespace",
  plural: "namespaces",
  namespaced: false,
};

/** A connection to one workload cluster. Every method throws ApiError when the cluster cannot be reached. */
export class Workload {
  readonly kinds: Kinds;
  readonly inventory: InventoryStore;
  readonly #client: KubeClient;
  readonly #health: HealthWatch;

  constructor(
    client: KubeClient,
    options: { readonly onHealthChange: () => void; readonly random: () => number },
  ) {
    this.#client = client;
    this.kinds = new Kinds(client);
    this.inventory = new InventoryStore(client);
    this.#health = new HealthWatch(client, options.onHealthChange, options.random);
  }

  /** A cheap read that proves that the API server answers and accepts us. Throws Unreachable, CredentialsRejected. */
  async dial(signal: AbortSignal): Promise<void> {
    try {
      const found = await this.#client.get(
        namespaceResource,
        { name: "kube-system" },
        { signal, metadataOnly: true },
      );
      if (found === undefined)
        throw new CapitanError(
          "Unreachable",
          "the API server is not ready: it has no namespace kube-system yet",
        );
    } catch (error) {
      throw dialError(error);
    }
  }

  async close(): Promise<void> {
    this.#health.stop();
    await this.#client.close();
  }

  /** Every object that carries an owner label, of these kinds: one metadata LIST per kind. A kind that cannot be listed has a problem. */
  async observe(
    resources: readonly Resource[],
    signal: AbortSignal,
  ): Promise<{ readonly live: Map<string, Live>; readonly unlisted: Map<string, Problem> }> {
    const unlisted = new Map<string, Problem>();
    const options = { labelSelector: labels.owner, metadataOnly: true, signal };
    const lists = await parallel(resources, width, async (resource) => {
      try {
        return (await this.#client.list(resource, options)).items;
      } catch (error) {
        const what = `listing ${resource.plural}`;
        unlisted.set(`${resource.group}/${resource.kind}`, problemOf("ApplyFailed", what, error));
        return [];
      }
    });
    const found = lists
      .flat()
      .map((o) => [keyOf(idOf(o)), { ...liveOf(o), established: true }] as const);
    return { live: new Map(found), unlisted };
  }

  /** Applies objects that are independent of each other. */
  async apply(
    objects: readonly DesiredObject[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, ApplyReply>> {
    const replies = await parallel(
      objects,
      width,
      async (desired) => [desired.key, await this.#applyOne(desired, signal)] as const,
    );
    return new Map(replies);
  }

  async #applyOne({ object, id }: DesiredObject, signal: AbortSignal): Promise<ApplyReply> {
    const resource = await this.kinds.find(object.apiVersion, object.kind, signal);
    if (resource === undefined)
      return {
        problem: {
          code: "UnknownKind",
          message: `${nameOf(id)}: the cluster does not serve ${object.apiVersion} ${object.kind}`,
        },
      };
    const barrier = isBarrier(object);
    try {
      const reply = await this.#client.apply(resource, object, {
        manager: fieldManager,
        metadataOnly: !barrier,
        signal,
      });
      const live = liveOf(reply.object);
      return {
        live: barrier && isEstablished(reply.object) ? { ...live, established: true } : live,
        created: reply.created,
      };
    } catch (error) {
      return { problem: problemOf("ApplyFailed", nameOf(id), error) };
    }
  }

  /** Waits, by watching, until CRDs are Established and Namespaces Active; says of each whether it is. */
  async establish(
    keys: readonly string[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, boolean>> {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(establishDeadlineMs)]);
    const results = await Promise.all(
      [definitionResource, namespaceResource].map((resource) => {
        const names = keys
          .map(parseKey)
          .filter((id) => id?.kind === resource.kind)
          .map((id) => id?.name ?? "");
        return this.#establishKind(resource, new Set(names), deadline);
      }),
    );
    this.kinds.forget();
    const established = new Set(results.flat());
    return new Map(keys.map((key) => [key, established.has(key)]));
  }

  async #establishKind(
    resource: Resource,
    names: ReadonlySet<string>,
    deadline: AbortSignal,
  ): Promise<readonly string[]> {
    const done = new Map<string, string>();
    const see = (object: KubeObject) => {
      if (names.has(object.metadata.name) && isEstablished(object))
        done.set(object.metadata.name, keyOf(idOf(object)));
    };
    if (names.size === 0) return [];
    const { items, resourceVersion } = await this.#client.list(resource, {
      labelSelector: labels.owner,
      signal: deadline,
    });
    items.forEach(see);
    if (done.size === names.size) return [...done.values()];
    try {
      const events = this.#client.watch(resource, {
        labelSelector: labels.owner,
        resourceVersion,
        idleMs: establishDeadlineMs,
        timeoutSeconds: 60,
        signal: deadline,
      });
      for await (const event of events) {
        if (event.type === "BOOKMARK") continue;
        see(event.object);
        if (done.size === names.size) break;
      }
    } catch (error) {
      if (!deadline.aborted) throw error;
    }
    return [...done.values()];
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
    return new Map(
      objects.map(({ key, live }) => [key, this.#health.healthOf(kindOfKey(key), key, live)]),
    );
  }

  /** Nobody waits for anything: no watch is kept. */
  stopLooking(): void {
    this.#health.stop();
  }

  /** Takes our label off objects that stay. */
  async release(
    entries: readonly Entry[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, RemovalReply>> {
    return this.#remove(entries, signal, async (resource, live) => {
      // No resourceVersion: statuses change all the time, and only our own label is touched.
      const metadata = { uid: live.metadata.uid, labels: { [labels.owner]: null } };
      await this.#client.mergePatch(resource, live.metadata, { metadata }, { signal });
      return "gone";
    });
  }

  /** Deletes objects, each after a quorum read and under its uid and resourceVersion. */
  async delete(
    entries: readonly Entry[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, RemovalReply>> {
    return this.#remove(entries, signal, async (resource, live) => {
      if (live.metadata.deletionTimestamp !== undefined) return "held";
      return (await this.#client.delete(resource, live, { signal })) ? "gone" : "held";
    });
  }

  /** A kind that discovery does not list is gone only when no CRD of its group is left. */
  async #isKindGone(group: string, signal: AbortSignal): Promise<boolean> {
    this.kinds.forget();
    const { items } = await this.#client.list(definitionResource, { metadataOnly: true, signal });
    return !items.some(({ metadata }) => metadata.name.endsWith(`.${group}`));
  }

  async #remove(
    entries: readonly Entry[],
    signal: AbortSignal,
    act: (resource: Resource, live: KubeObject) => Promise<RemovalReply>,
  ): Promise<ReadonlyMap<string, RemovalReply>> {
    const replies = await parallel(
      entries,
      width,
      async (entry): Promise<[string, RemovalReply]> => {
        const id = parseKey(entry.key);
        const resource =
          id === undefined ? undefined : await this.kinds.findServed(id.group, id.kind, signal);
        if (id === undefined) return [entry.key, "gone"];
        if (resource === undefined) {
          return [entry.key, (await this.#isKindGone(id.group, signal)) ? "gone" : "held"];
        }
        try {
          const live = await this.#client.get(resource, id, { signal, metadataOnly: true });
          // Somebody else's object by now, or never ours: only our entry goes.
          if (live === undefined || !isOurs(live, entry)) return [entry.key, "gone"];
          return [entry.key, await act(resource, live)];
        } catch (error) {
          if (isConflict(error)) return [entry.key, "held"];
          return [entry.key, { problem: problemOf("RemovalBlocked", nameOf(id), error) }];
        }
      },
    );
    return new Map(replies);
  }

  /** Reads the inventory anew. */
  readInventory(signal: AbortSignal): Promise<Inventory> {
    return this.inventory.read(signal);
  }
}

/** Ours is what carries our label, or is the very object that we applied, with fields of ours, and has lost its label. */
function isOurs({ metadata }: KubeObject, entry: Entry): boolean {
  const owner = metadata.labels?.[labels.owner];
  if (owner !== undefined) return owner === entry.owner;
  return entry.uid !== undefined && entry.uid === metadata.uid && ownershipOf(metadata) !== "";
}

function kindOfKey(key: string): string {
  return key.split("/").slice(0, 2).join("/");
}

/** Lost connections and rejected credentials end the pass; everything else is about the one object. */
function problemOf(code: "ApplyFailed" | "RemovalBlocked", name: string, error: unknown): Problem {
  if (
    !(error instanceof ApiError) ||
    error.status === 0 ||
    error.status === 401 ||
    error.status === 503
  )
    throw error;
  return { code, message: `${name}: ${error.detail}` };
}

function dialError(error: unknown): CapitanError {
  if (error instanceof ApiError && error.status === 403)
    return new CapitanError(
      "CredentialsRejected",
      `the API server refused to show namespace kube-system: ${error.detail}`,
      { cause: error },
    );
  if (error instanceof ApiError)
    return new CapitanError(
      error.status === 401 ? "CredentialsRejected" : "Unreachable",
      error.detail,
      { cause: error },
    );
  return error instanceof CapitanError
    ? error
    : new CapitanError("Unreachable", messageOf(error), { cause: error });
}
