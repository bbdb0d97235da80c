import { managedElsewhere, type Live, type Mirror } from "../drift/index.ts";
import type {
  ApplyReply,
  DesiredObject,
  Inspection,
  Problem,
  RemovalReply,
} from "../engine/index.ts";
import type { Entry } from "../inventory/index.ts";
import { asMap, asString } from "../json/index.ts";
import { ApiError, type KubeClient } from "../kube/index.ts";
import {
  fieldManager,
  idOf,
  keyOf,
  nameOf,
  ownershipOf,
  type Health,
  type KubeObject,
  type Resource,
} from "../object/index.ts";
import { Applier } from "./applier.ts";
import type { Kinds } from "./kinds.ts";
import { parallel } from "../pace/index.ts";
import { problemBehind } from "./problems.ts";
import { Remover } from "./remover.ts";
import { restartWorkload, workloadsIn } from "./restarts.ts";
import { coreResources } from "./resources.ts";

const width = 16;
/** A list of so many times as many costs no more than reading them one by one. */
const othersMax = 4;

/** The health of objects, by key; what is looked at is watched from then on. */
export type Look = (
  objects: readonly { readonly key: string; readonly live: Live }[],
  signal: AbortSignal,
) => Promise<ReadonlyMap<string, Health>>;

export type HandsOptions = {
  /** The controller's own, for what is asked about the API server itself. */
  readonly own: KubeClient;
  /** The same, as whom everything here is done: another one than `own` is a tenant. */
  readonly client: KubeClient;
  readonly kinds: Kinds;
  readonly mirror: Mirror;
  readonly look: Look;
  /** An object was written by somebody else meanwhile. */
  readonly onNews: () => void;
};

/** Everything that is done to the objects of one Fleet in a cluster, as the user that the Fleet has there. */
export class Hands {
  readonly look: Look;
  readonly #own: KubeClient;
  readonly #client: KubeClient;
  readonly #kinds: Kinds;
  readonly #isTenant: boolean;
  readonly #applier: Applier;
  readonly #remover: Remover;

  constructor({ own, client, kinds, mirror, look, onNews }: HandsOptions) {
    this.look = look;
    this.#own = own;
    this.#client = client;
    this.#kinds = kinds;
    this.#isTenant = client !== own;
    this.#applier = new Applier({ own, client }, { kinds, mirror, onNews });
    this.#remover = new Remover({ own, client }, kinds, mirror);
  }

  /**
   * What is there where we have never applied, and for a tenant, by a dry run, what may not be applied: that
   * must be known before anything is done. What cannot be read now is refused. Stores nothing.
   */
  async inspect(
    objects: readonly DesiredObject[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, Inspection>> {
    if (this.#isTenant)
      return new Map(await parallel(objects, width, (one) => this.#inspectOne(one, signal)));
    const spaces = new Map(objects.filter(isNamespace).map(({ id, key }) => [id.name, key]));
    const inside = objects.filter(({ id }) => spaces.has(id.namespace));
    const outside = objects.filter(({ id }) => !spaces.has(id.namespace));
    const found = await this.#inspectKinds(outside, signal);
    // Nothing is in a Namespace that is not there yet.
    const isAbsent = ({ id }: DesiredObject) => {
      const space = found.get(spaces.get(id.namespace) ?? "");
      return space?.exists === false && space.refused === undefined;
    };
    const absent = inside.filter(isAbsent);
    const others = inside.filter((desired) => !isAbsent(desired));
    return new Map([
      ...found,
      ...absent.map(({ key }): Inspected => [key, inspectionOf(undefined)]),
      ...(await this.#inspectKinds(others, signal)),
    ]);
  }

  async #inspectKinds(
    objects: readonly DesiredObject[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, Inspection>> {
    const kinds = Map.groupBy(objects, ({ id }) => `${id.group}/${id.kind}/${id.namespace}`);
    const found = await parallel([...kinds.values()], width, (group) =>
      isWorthListing(group)
        ? this.#inspectAll(group, signal)
        : parallel(group, width, (desired) => this.#inspectOne(desired, signal)),
    );
    return new Map(found.flat());
  }

  async #inspectOne(desired: DesiredObject, signal: AbortSignal): Promise<Inspected> {
    try {
      const live = await this.#read(desired, signal);
      if (this.#isTenant && mustTry(desired, live)) await this.#tryOut(desired, signal);
      return [desired.key, inspectionOf(live)];
    } catch (error) {
      const what = ["ApplyFailed", nameOf(desired.id)] as const;
      const refused = await problemBehind(this.#own, what, error, signal);
      return [desired.key, { exists: false, ours: false, refused }];
    }
  }

  /** Objects of one kind and namespace by a list; one by one where that fails, so that each says what is wrong with it. */
  async #inspectAll(
    objects: readonly DesiredObject[],
    signal: AbortSignal,
  ): Promise<readonly Inspected[]> {
    const listed = await this.#listed(objects, signal).catch(() => undefined);
    if (listed === undefined)
      return parallel(objects, width, (desired) => this.#inspectOne(desired, signal));
    const there = new Map(listed.map((object) => [keyOf(idOf(object)), object]));
    return objects.map(({ key }) => [key, inspectionOf(there.get(key))]);
  }

  /** Throws ApiError 403 when the object may not be applied; every other refusal is said when it is. */
  async #tryOut({ object }: DesiredObject, signal: AbortSignal): Promise<void> {
    const resource = await this.#kinds.findServedAt(object.apiVersion, object.kind, signal);
    if (resource === undefined) return;
    const options = { manager: fieldManager, metadataOnly: true, dryRun: true, signal };
    try {
      await this.#client.apply(resource, object, options);
    } catch (error) {
      if (isDenied(error) || !(error instanceof ApiError) || error.code !== "ApplyFailed")
        throw error;
    }
  }

  async #read({ object, id }: DesiredObject, signal: AbortSignal): Promise<KubeObject | undefined> {
    const resource = await this.#kinds.findServedAt(object.apiVersion, object.kind, signal);
    if (resource === undefined) return undefined;
    const live = await this.#client.get(resource, id, { metadataOnly: true, signal });
    return live === undefined
      ? undefined
      : { ...live, apiVersion: object.apiVersion, kind: id.kind };
  }

  /** All objects of a kind and namespace, when there are not many more than are asked for. */
  async #listed(
    objects: readonly DesiredObject[],
    signal: AbortSignal,
  ): Promise<readonly KubeObject[] | undefined> {
    const [first] = objects;
    if (first === undefined) return [];
    const { apiVersion, kind } = first.object;
    const resource = await this.#kinds.findServedAt(apiVersion, kind, signal);
    if (resource === undefined) return [];
    const namespace = first.id.namespace === "" ? undefined : first.id.namespace;
    const options = { namespace, metadataOnly: true, signal };
    return this.#client.listFew(resource, objects.length * othersMax, options);
  }

  apply(
    objects: readonly DesiredObject[],
    asked: ReadonlyMap<string, readonly string[]>,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, ApplyReply>> {
    return this.#applier.apply(objects, asked, signal);
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
  disarmFlux(signal: AbortSignal): Promise<Problem | undefined> {
    return this.#remover.disarmFlux(signal);
  }

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

  /** What the cluster's own Flux has applied last of its configuration; undefined when nothing. */
  async appliedRevision(signal: AbortSignal): Promise<string | undefined> {
    const kind = await this.#kinds.findServed(
      "kustomize.toolkit.fluxcd.io",
      "Kustomization",
      signal,
    );
    if (kind === undefined) return undefined;
    const name = { namespace: "flux-system", name: "flux-system" };
    const found = await this.#client.get(kind, name, { signal });
    return asString(asMap(found?.["status"])["lastAppliedRevision"]);
  }

  /** The Deployments, StatefulSets and DaemonSets of a namespace. */
  workloadsIn(namespace: string, signal: AbortSignal): Promise<readonly KubeObject[]> {
    return workloadsIn(this.#client, namespace, signal);
  }

  /** Has the pods of a workload started anew; false when it is not there any more, or is another one. */
  restart(
    restart: { readonly workload: KubeObject; readonly value: string },
    signal: AbortSignal,
  ): Promise<boolean> {
    return restartWorkload(this.#client, restart, signal);
  }
}

type Inspected = readonly [key: string, inspection: Inspection];

const isDenied = (error: unknown) =>
  error instanceof ApiError &&
  (error.code === "AccessDenied" || error.code === "ImpersonationRefused");

const isNamespace = ({ id }: DesiredObject) => id.kind === "Namespace" && id.group === "";

/** Kinds without namespaces have many objects in every cluster. */
const isWorthListing = (group: readonly DesiredObject[]) =>
  group.length >= (group[0]?.id.namespace === "" ? 5 : 2);

/** Whether the object is going to be applied, as far as what is there tells. */
const mustTry = ({ mode }: DesiredObject, live: KubeObject | undefined) =>
  mode === "Always" || (mode === "IfNotPresent" && live === undefined);

/** What is there where nothing of this Fleet was applied yet. */
export function inspectionOf(object: KubeObject | undefined): Inspection {
  if (object === undefined) return { exists: false, ours: false };
  const managedBy = managedElsewhere(object.metadata);
  return { exists: true, ours: ownershipOf(object.metadata) !== "", managedBy };
}

/** `group/Kind` of an object's key. */
export function kindOfKey(key: string): string {
  return key.split("/").slice(0, 2).join("/");
}

/** How these kinds are served now. */
export async function servedKinds(
  kinds: Kinds,
  keys: readonly string[],
  signal: AbortSignal,
): Promise<readonly Resource[]> {
  const names = [...new Set(keys.map(kindOfKey))];
  const found = await Promise.all(
    names.map((kind) => {
      const slash = kind.indexOf("/");
      return kinds.findServed(kind.slice(0, slash), kind.slice(slash + 1), signal);
    }),
  );
  return found.filter((resource) => resource !== undefined);
}
