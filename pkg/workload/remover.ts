import { holdReason, liveOf, type Mirror } from "../drift/index.ts";
import type { Problem, RemovalReply } from "../engine/index.ts";
import type { Entry } from "../inventory/index.ts";
import { ApiError, isConflict, type KubeClient } from "../kube/index.ts";
import {
  labels,
  nameOf,
  ownershipOf,
  parseKey,
  type KubeObject,
  type Resource,
} from "../object/index.ts";
import type { Clients } from "./applier.ts";
import type { Kinds } from "./kinds.ts";
import { parallel } from "../pace/index.ts";
import { problemBehind, problemOf } from "./problems.ts";
import { coreResources } from "./resources.ts";

const width = 16;
const fluxGroup = /\.toolkit\.fluxcd\.io$/;
const fluxFinalizer = /(^|\.)fluxcd\.io/;
const fluxPods = "app.kubernetes.io/part-of=flux";

/** Takes objects out of one cluster, or our mark off them. */
export class Remover {
  readonly #own: KubeClient;
  readonly #client: KubeClient;
  readonly #kinds: Kinds;
  readonly #mirror: Mirror;

  constructor({ own, client }: Clients, kinds: Kinds, mirror: Mirror) {
    this.#own = own;
    this.#client = client;
    this.#kinds = kinds;
    this.#mirror = mirror;
  }

  /** Takes our label off objects that stay. */
  async release(
    entries: readonly Entry[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, RemovalReply>> {
    return this.#remove(entries, signal, (resource, live) => this.#unmark(resource, live, signal));
  }

  async #unmark(resource: Resource, live: KubeObject, signal: AbortSignal): Promise<"gone"> {
    // No resourceVersion: statuses change all the time, and only our own label is touched.
    const metadata = { uid: live.metadata.uid, labels: { [labels.owner]: null } };
    await this.#client.mergePatch(resource, live.metadata, { metadata }, { signal });
    return "gone";
  }

  /** Deletes objects, each after a quorum read and under its uid and resourceVersion. */
  async delete(
    entries: readonly Entry[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, RemovalReply>> {
    return this.#remove(entries, signal, async (resource, live) => {
      const isGoing = live.metadata.deletionTimestamp !== undefined;
      if (!isGoing && (await this.#client.delete(resource, live, { signal }))) return "gone";
      const left = await this.#client.get(resource, live.metadata, { signal });
      if (left === undefined) return "gone";
      return { held: holdReason(left) };
    });
  }

  /**
   * Makes Flux harmless before its definitions go: its pods are gone, and no object of its kinds,
   * the tenants' too, holds a finalizer that nobody would take off. Gives what is in the way.
   */
  async disarmFlux(signal: AbortSignal): Promise<Problem | undefined> {
    const pods = await this.#client.list(coreResources.pod, {
      labelSelector: fluxPods,
      metadataOnly: true,
      signal,
    });
    const [pod] = pods.items;
    if (pod !== undefined) {
      const message = `Pod/${pod.metadata.namespace ?? ""}/${pod.metadata.name} of Flux still runs; its objects are let go when it has ended`;
      return { code: "RemovalBlocked", message };
    }
    const kinds = (await this.#kinds.all(signal)).filter(({ group }) => fluxGroup.test(group));
    try {
      for (const kind of kinds) await this.#strip(kind, signal);
    } catch (error) {
      return problemOf("RemovalBlocked", "taking the finalizers off Flux's objects", error);
    }
    return undefined;
  }

  async #strip(resource: Resource, signal: AbortSignal): Promise<void> {
    const items = await this.#listed(resource, signal);
    const held = items.filter(({ metadata }) => (metadata.finalizers ?? []).some(isFluxs));
    await parallel(held, width, async ({ metadata }) => {
      const { resourceVersion, finalizers = [] } = metadata;
      const patch = { resourceVersion, finalizers: finalizers.filter((f) => !isFluxs(f)) };
      await this.#client.mergePatch(resource, metadata, { metadata: patch }, { signal });
    });
  }

  /** The objects of a kind; none when its definition has gone since it was discovered. */
  async #listed(resource: Resource, signal: AbortSignal): Promise<readonly KubeObject[]> {
    try {
      return (await this.#client.list(resource, { metadataOnly: true, signal })).items;
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error;
      this.#kinds.forget();
      return [];
    }
  }

  async #remove(
    entries: readonly Entry[],
    signal: AbortSignal,
    act: (resource: Resource, live: KubeObject) => Promise<RemovalReply>,
  ): Promise<ReadonlyMap<string, RemovalReply>> {
    const replies = await parallel(
      entries,
      width,
      async (entry) => [entry.key, await this.#removeOne(entry, signal, act)] as const,
    );
    for (const [key, reply] of replies) if (reply === "gone") this.#mirror.forget(key);
    return new Map(replies);
  }

  async #removeOne(
    entry: Entry,
    signal: AbortSignal,
    act: (resource: Resource, live: KubeObject) => Promise<RemovalReply>,
  ): Promise<RemovalReply> {
    const id = parseKey(entry.key);
    if (id === undefined) return "gone";
    const resource = await this.#kinds.findServed(id.group, id.kind, signal);
    if (resource === undefined) return this.#withoutKind(id.group, signal);
    // Its definition was made anew with another scope: what had this name went with the old one.
    if (resource.namespaced !== (id.namespace !== "")) return "gone";
    try {
      const live = await this.#client.get(resource, id, { signal, metadataOnly: true });
      // Somebody else's object by now, or never ours: only our entry goes.
      if (live === undefined || !isOurs(live, entry)) return "gone";
      return isReplaced(live, entry)
        ? await this.#unmark(resource, live, signal)
        : await act(resource, live);
    } catch (error) {
      if (isConflict(error)) return { held: "changes all the time" };
      const what = ["RemovalBlocked", nameOf(id)] as const;
      return { problem: await problemBehind(this.#own, what, error, signal) };
    }
  }

  /** A kind that discovery does not list is gone only when nothing of its group is defined any more. */
  async #withoutKind(group: string, signal: AbortSignal): Promise<RemovalReply> {
    this.#kinds.forget();
    const list = (resource: Resource) =>
      this.#own.list(resource, { metadataOnly: true, signal }).then(({ items }) => items);
    const [definitions, services] = await Promise.all([
      list(coreResources.definition),
      this.#own.list(coreResources.apiService, { signal }).then(({ items }) => items),
    ]);
    const isDefined = definitions.some(({ metadata }) => metadata.name.endsWith(`.${group}`));
    const isServedElsewhere = services.some((service) => isAggregated(service, group));
    if (!isDefined && !isServedElsewhere) return "gone";
    return { held: `is of a kind in group ${group} that the API server does not serve now` };
  }
}

const isFluxs = (finalizer: string) => fluxFinalizer.test(finalizer.split("/")[0] ?? "");

/** Whether another server serves this group through the API server, even if it does not answer now. */
function isAggregated(service: KubeObject, group: string): boolean {
  const spec = service["spec"] as { group?: string; service?: unknown } | undefined;
  return spec?.group === group && spec.service !== undefined && spec.service !== null;
}

/** Ours is what carries our label, or is the very object that we applied, with fields of ours, and has lost its label. */
function isOurs({ metadata }: KubeObject, entry: Entry): boolean {
  const owner = metadata.labels?.[labels.owner];
  if (owner !== undefined) return owner === entry.owner;
  return entry.uid !== undefined && entry.uid === metadata.uid && ownershipOf(metadata) !== "";
}

/** Somebody made it anew since, our label copied along: it is another object, and not one that we created. */
function isReplaced(live: KubeObject, { uid }: Entry): boolean {
  return uid !== undefined && uid !== live.metadata.uid && !liveOf(live).createdByUs;
}
