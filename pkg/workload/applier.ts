import {
  cureOf,
  isBarrier,
  isEstablished,
  isKept,
  holderOf,
  keptByOthers,
  liveOf,
  takeOver,
  thiefOf,
  withoutNobody,
  type Live,
  type Mirror,
  type Thief,
} from "../drift/index.ts";
import type { ApplyReply, DesiredObject } from "../engine/index.ts";
import { ApiError, type ApplyResult, type KubeClient } from "../kube/index.ts";
import { fieldManager, labels, nameOf, type KubeObject, type Resource } from "../object/index.ts";
import { cure } from "./cure.ts";
import { planDefinitions, migrate } from "./definitions.ts";
import type { Kinds } from "./kinds.ts";
import { parallel } from "../pace/index.ts";
import { problemBehind } from "./problems.ts";

/** Requests to one cluster at a time. More does not help: its API server is the limit. */
const width = 16;

type Target = { readonly desired: DesiredObject; readonly resource: Resource };

/** `client` acts as the Fleet's user; `own` asks about the API server itself. */
export type Clients = { readonly own: KubeClient; readonly client: KubeClient };

type ApplierOptions = {
  readonly kinds: Kinds;
  readonly mirror: Mirror;
  readonly onNews: () => void;
};

/** Applies objects to one cluster, and cures what a plain apply cannot repair. */
export class Applier {
  readonly #own: KubeClient;
  readonly #client: KubeClient;
  readonly #kinds: Kinds;
  readonly #mirror: Mirror;
  readonly #onNews: () => void;

  constructor({ own, client }: Clients, { kinds, mirror, onNews }: ApplierOptions) {
    this.#own = own;
    this.#client = client;
    this.#kinds = kinds;
    this.#mirror = mirror;
    this.#onNews = onNews;
  }

  /**
   * Applies objects stage by stage; those of a stage are independent of each other. When one of them is not
   * done, later stages have no reply: they were not tried. Those in `asked` are read before, to say who
   * took what of them and to take what we dropped and others keep; its values are such paths of earlier. Definitions that would lose
   * stored objects refuse the whole batch.
   */
  async apply(
    objects: readonly DesiredObject[],
    asked: ReadonlyMap<string, readonly string[]>,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, ApplyReply>> {
    const plan = await planDefinitions(this.#client, objects, this.#mirror, signal);
    if ("problem" in plan) return new Map(objects.map(({ key }) => [key, plan]));
    for (const migration of plan.migrations) await migrate(this.#client, migration, signal);
    const replies = new Map<string, ApplyReply>();
    for (const stage of stagesOf(objects)) {
      const found = await parallel(
        stage,
        width,
        async (desired) =>
          [desired.key, await this.#applyOne(desired, asked.get(desired.key), signal)] as const,
      );
      for (const [key, reply] of found) replies.set(key, reply);
      if (!stage.every((desired) => isDone(desired, replies.get(desired.key)))) break;
    }
    this.#reconsiderKinds(objects, replies);
    return replies;
  }

  /** A definition that was changed may serve other versions now; one that was created only adds to them. */
  #reconsiderKinds(
    objects: readonly DesiredObject[],
    replies: ReadonlyMap<string, ApplyReply>,
  ): void {
    const definitions = objects.filter(
      ({ object }) => isBarrier(object) && object.kind !== "Namespace",
    );
    const isNew = ({ key }: DesiredObject) => {
      const reply = replies.get(key);
      return reply !== undefined && "created" in reply && reply.created;
    };
    if (!definitions.every(isNew)) this.#kinds.forget();
    else if (definitions.length > 0) this.#kinds.outgrow();
  }

  async #applyOne(
    desired: DesiredObject,
    known: readonly string[] | undefined,
    signal: AbortSignal,
  ): Promise<ApplyReply> {
    const { object, id, key } = desired;
    const resource = await this.#kinds.find(object.apiVersion, object.kind, signal);
    if (resource === undefined) {
      const message = `${nameOf(id)}: the cluster does not serve ${object.apiVersion} ${object.kind}`;
      return { problem: { code: "UnknownKind", message } };
    }
    const target = { desired, resource };
    this.#mirror.begin(key);
    let live: Live | undefined;
    try {
      const reply =
        known === undefined
          ? await this.#send(target, signal)
          : await this.#applyAsked(target, known, signal);
      live = reply.live;
      return reply;
    } catch (error) {
      const what = ["ApplyFailed", nameOf(id)] as const;
      return { problem: await problemBehind(this.#own, what, error, signal) };
    } finally {
      if (this.#mirror.end(key, live)) this.#onNews();
    }
  }

  /** Applies with a look before: for objects that somebody else writes too. */
  async #applyAsked(target: Target, known: readonly string[], signal: AbortSignal) {
    const { resource, desired } = target;
    const options = { metadataOnly: true, signal };
    const before = await this.#client.get(resource, desired.id, options);
    const reply = await this.#send(target, signal);
    if (before === undefined) return reply;
    const thief: Thief | undefined = thiefOf(before.metadata, reply.metadata);
    const kept = keptByOthers(before.metadata, reply.metadata, known);
    const managedFields = kept.length === 0 ? undefined : takeOver(reply.metadata, kept, false);
    if (managedFields === undefined) {
      return { ...reply, thief, kept: holderOf(reply.metadata, kept) };
    }
    await this.#setOwners(target, reply.metadata, managedFields, signal);
    const again = await this.#send(target, signal);
    const { created } = reply;
    return { ...again, created, thief, kept: holderOf(again.metadata, kept) };
  }

  async #send(target: Target, signal: AbortSignal) {
    const before = this.#mirror.get(target.desired.key);
    const reply = await this.#sendOrCure(target, signal);
    const object = await this.#cleaned(target, reply, before, signal);
    const live = liveOf(object);
    const usable = isBarrier(object) && isEstablished(reply.object);
    return {
      live: usable ? { ...live, established: true } : live,
      created: reply.created,
      metadata: object.metadata,
    };
  }

  /** After the first apply to an object without managedFields, or one whose entries were cut. */
  async #cleaned(
    target: Target,
    { object, created }: ApplyResult,
    before: Live | undefined,
    signal: AbortSignal,
  ): Promise<KubeObject> {
    const managedFields = created ? undefined : withoutNobody(object.metadata);
    // An object of ours that always had its entry has nobody's fields by right: it was so before us.
    if (managedFields === undefined || (before !== undefined && before.own !== "")) return object;
    return this.#setOwners(target, object.metadata, managedFields, signal);
  }

  async #setOwners(
    { resource }: Target,
    live: KubeObject["metadata"],
    managedFields: unknown,
    signal: AbortSignal,
  ): Promise<KubeObject> {
    const metadata = { resourceVersion: live.resourceVersion, managedFields };
    const options = { metadataOnly: true, signal };
    const patched = await this.#client.mergePatch(resource, live, { metadata }, options);
    const apiVersion =
      resource.group === "" ? resource.version : `${resource.group}/${resource.version}`;
    return { ...patched, apiVersion, kind: resource.kind };
  }

  async #sendOrCure(target: Target, signal: AbortSignal): Promise<ApplyResult> {
    try {
      return await this.#sendOnce(target, signal);
    } catch (error) {
      const remedy = error instanceof ApiError ? cureOf(error.status, error.detail) : undefined;
      if (remedy === undefined) throw error;
      const { desired, resource } = target;
      const fields = this.#mirror.fieldsBefore(desired.key);
      const cured = await cure(this.#client, { remedy, resource, desired, fields }, signal);
      if (!cured) throw error;
      return this.#sendOnce(target, signal);
    }
  }

  #sendOnce({ desired, resource }: Target, signal: AbortSignal): Promise<ApplyResult> {
    const { object, key } = desired;
    // A reply may say that it can be used already, but not that of a CRD which is new.
    const isNew = this.#mirror.get(key) === undefined && object.kind !== "Namespace";
    const metadataOnly = !isBarrier(object) || isNew;
    const options = {
      manager: fieldManager,
      metadataOnly,
      fieldValidation: "Ignore",
      signal,
    } as const;
    return this.#client.apply(resource, object, options);
  }
}

/** Whether what comes after the object may be applied: what is refused, on its way out or not ours may be needed. */
function isDone({ object }: DesiredObject, reply: ApplyReply | undefined): boolean {
  const owner = object.metadata.labels?.[labels.owner] ?? "";
  return reply !== undefined && "live" in reply && isKept(reply.live, owner);
}

/** The objects by stage, in the order of the stages. */
function stagesOf(objects: readonly DesiredObject[]): readonly (readonly DesiredObject[])[] {
  const stages = Map.groupBy(objects, ({ stage }) => stage);
  return [...stages].sort(([a], [b]) => a - b).map(([, stage]) => stage);
}
