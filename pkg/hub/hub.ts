import {
  fleetFinalizer,
  hubResources,
  type Fleet,
  type FleetMember,
  type FleetMemberSpec,
  type FleetMemberStatus,
  type FleetRevision,
  type FleetRevisionSpec,
  type FleetStatus,
  type KeyRotation,
  type KeyRotationStatus,
  type Reporting,
  type SecretRotation,
  type SecretRotationStatus,
} from "../api/index.ts";
import { clusterFacts, clusterResource } from "../capi/index.ts";
import { clusterOf, isManagement, managementFacts, type ClusterFacts } from "../cluster/index.ts";
import { CapitanError } from "../errors/index.ts";
import { targetsManagement } from "../fleet/index.ts";
import {
  ApiError,
  Informer,
  isNotFound,
  withoutManagedFields,
  type KubeClient,
} from "../kube/index.ts";
import { canonicalJson } from "../json/index.ts";
import { labels, type KubeObject, type Resource } from "../object/index.ts";
import { Inputs, type InputHandlers } from "./inputs.ts";
import { Rotations, type RotationHandlers } from "./rotations.ts";
import {
  asMember,
  eventObject,
  isFleet,
  isMember,
  memberObject,
  revisionObject,
  type HubEvent,
} from "./shapes.ts";

const manager = "capitan";
const apiVersion = "capitan.dev/v1alpha1";

type Named = { readonly namespace: string; readonly name: string };

/** Called when something changed that may matter to a Fleet or to a Cluster. */
export type HubHandlers = InputHandlers &
  RotationHandlers & {
    readonly fleetChanged: (fleet: Fleet, gone: boolean) => void;
    readonly clusterChanged: (cluster: ClusterFacts, gone: boolean) => void;
    readonly memberChanged: (member: FleetMember, gone: boolean) => void;
    readonly failed: (kind: string, error: unknown) => void;
    /** Told of each Event before it is written. Must not throw. */
    readonly emitted?: (event: HubEvent, time: string) => void;
  };

const statusResources = {
  Fleet: hubResources.fleet,
  FleetMember: hubResources.fleetMember,
  KeyRotation: hubResources.keyRotation,
  SecretRotation: hubResources.secretRotation,
} as const;

/** Reads from informers, or by quorum where a stale answer could do harm. Every write throws ApiError. */
export class Hub {
  readonly #client: KubeClient;
  readonly #emitted: HubHandlers["emitted"];
  readonly #fleets: Informer;
  readonly #members: Informer;
  readonly #clusters: Informer;
  /** What Fleets and Clusters refer to. */
  readonly inputs: Inputs;
  readonly rotations: Rotations;
  readonly #revisions = new Map<string, FleetRevision>();
  readonly #platformNamespaces: ReadonlySet<string>;

  constructor(
    client: KubeClient,
    handlers: HubHandlers,
    random: () => number,
    platformNamespaces: readonly string[],
  ) {
    this.#client = client;
    this.#emitted = handlers.emitted;
    this.#platformNamespaces = new Set(platformNamespaces);
    const watch = (
      resource: Resource,
      onChange: (object: KubeObject, gone: boolean) => void,
      more = {},
    ) =>
      new Informer(client, resource, {
        onChange,
        onError: (error) => handlers.failed(resource.kind, error),
        random,
        keep: withoutManagedFields,
        ...more,
      });
    this.#fleets = watch(hubResources.fleet, (object, gone) => {
      if (isFleet(object)) handlers.fleetChanged(object as unknown as Fleet, gone);
    });
    this.#members = watch(hubResources.fleetMember, (object, gone) => {
      if (isMember(object)) handlers.memberChanged(asMember(object), gone);
    });
    this.#clusters = watch(clusterResource, (object, gone) =>
      handlers.clusterChanged(clusterFacts(object), gone),
    );
    this.rotations = new Rotations(client, watch, handlers);
    this.inputs = new Inputs(client, handlers, watch, platformNamespaces);
  }

  /** Keeps the caches until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const own = [this.#fleets, this.#members, this.#clusters];
    await Promise.all([...own, this.inputs, this.rotations].map((cache) => cache.run(signal)));
  }

  /** Resolves when Fleets and members have been listed once; nothing may be decided before. */
  async synced(): Promise<void> {
    await Promise.all([this.#fleets.synced, this.#members.synced]);
  }

  /** Resolves when Clusters have been listed once, which is never on a hub that does not serve v1beta2. */
  get clustersSynced(): Promise<void> {
    return this.#clusters.synced;
  }

  fleet({ namespace, name }: Named): Fleet | undefined {
    const found = this.#fleets.get(namespace, name);
    return found !== undefined && isFleet(found) ? (found as unknown as Fleet) : undefined;
  }

  keyRotation(name: Named): KeyRotation | undefined {
    return this.rotations.keyRotation(name);
  }

  secretRotation(name: Named): SecretRotation | undefined {
    return this.rotations.secretRotation(name);
  }

  /** All Fleets. */
  fleets(): readonly Fleet[] {
    return this.#fleets.items().filter(isFleet) as unknown as readonly Fleet[];
  }

  /**
   * Watches what Fleets refer to in every namespace with a Fleet that has been accepted: without rights
   * there it could not carry our finalizer.
   */
  followTenants(): void {
    const accepted = this.#fleets
      .items()
      .filter(({ metadata }) => metadata.finalizers?.includes(fleetFinalizer) === true);
    this.inputs.follow(new Set(accepted.map(({ metadata }) => metadata.namespace ?? "")));
  }

  /** Keys of the Fleets in a namespace. */
  fleetsIn(namespace: string): readonly string[] {
    return this.#fleets
      .items()
      .flatMap(({ metadata }) =>
        metadata.namespace === namespace ? [`${namespace}/${metadata.name}`] : [],
      );
  }

  /** Fleets of the object's namespace that name it, by what `names` finds in them. */
  fleetsNaming(
    object: Named,
    names: (spec: Fleet["spec"]) => ReadonlySet<string>,
  ): readonly Named[] {
    return this.fleets()
      .filter(
        ({ metadata, spec }) =>
          metadata.namespace === object.namespace && names(spec).has(object.name),
      )
      .map(({ metadata }) => ({ namespace: object.namespace, name: metadata.name }));
  }

  membersOf({ namespace, name }: Named): readonly FleetMember[] {
    return this.members().filter(
      ({ spec }) => spec.fleetRef.name === name && spec.fleetRef.namespace === namespace,
    );
  }

  /** Asks the API server, because the cache may lag behind our own writes. By what members say, not by their labels: those may be taken off. */
  async hasMembers({ namespace, name }: Named, signal: AbortSignal): Promise<boolean> {
    const { items } = await this.#client.list(hubResources.fleetMember, { namespace, signal });
    return items
      .filter(isMember)
      .map(asMember)
      .some(({ spec }) => spec.fleetRef.name === name);
  }

  /** The Fleets that may have something to say about a cluster: of the hub itself, only those that may deliver to it. */
  fleetsBeside(cluster: Named): readonly Fleet[] {
    const fleets = this.fleets();
    if (!isManagement(cluster))
      return fleets.filter(({ metadata }) => metadata.namespace === cluster.namespace);
    return fleets.filter((fleet) => targetsManagement(fleet) && this.#isPlatform(fleet));
  }

  #isPlatform({ metadata }: Fleet | FleetMember): boolean {
    return this.#platformNamespaces.has(metadata.namespace ?? "");
  }

  /** The members on a cluster; what a member elsewhere says of the hub itself counts for nothing. */
  membersOn(cluster: Named): readonly FleetMember[] {
    const { namespace, name } = cluster;
    const found = this.members().filter((member) => {
      const on = clusterOf(member);
      const isThere = on.name === name && on.namespace === namespace;
      return isThere && (!isManagement(cluster) || this.#isPlatform(member));
    });
    return found.sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  }

  /** Members whose status says that they are on the cluster with this identity. */
  membersAt(clusterId: string): readonly FleetMember[] {
    return this.members().filter(({ status }) => status?.clusterID === clusterId);
  }

  /** All members. */
  members(): readonly FleetMember[] {
    return this.#members.items().filter(isMember).map(asMember);
  }

  cluster({ namespace, name }: Named): ClusterFacts | undefined {
    if (isManagement({ namespace })) return managementFacts(namespace);
    const found = this.#clusters.get(namespace, name);
    return found === undefined ? undefined : clusterFacts(found);
  }

  clusters(): readonly ClusterFacts[] {
    return this.#clusters.items().map(clusterFacts);
  }

  /** Asks the API server, because a cache may be empty by mistake. */
  async clusterIsGone({ namespace, name }: Named, signal: AbortSignal): Promise<boolean> {
    return (
      (await this.#client.get(
        clusterResource,
        { namespace, name },
        { signal, metadataOnly: true },
      )) === undefined
    );
  }

  /** A Secret as the controller itself may read it: the kubeconfig of a Cluster. */
  secret(name: Named, signal: AbortSignal): Promise<KubeObject | undefined> {
    return this.inputs.secretAs(undefined, name, signal);
  }

  secretVersion(name: Named): string {
    return this.inputs.secretVersion(name);
  }

  configMapVersion(name: Named): string {
    return this.inputs.configMapVersion(name);
  }

  /** A revision never changes, so one read is enough. */
  async revision(name: Named, signal: AbortSignal): Promise<FleetRevision | undefined> {
    const key = `${name.namespace}/${name.name}`;
    const held = this.#revisions.get(key);
    if (held !== undefined) return held;
    const found = await this.#client.get(hubResources.fleetRevision, name, { signal });
    if (found !== undefined) this.#revisions.set(key, found as unknown as FleetRevision);
    return found as FleetRevision | undefined;
  }

  async revisionsOf(
    { namespace, name }: Named,
    signal: AbortSignal,
  ): Promise<readonly KubeObject[]> {
    const labelSelector = `${labels.fleet}=${name.slice(0, 63)}`;
    return (
      await this.#client.list(hubResources.fleetRevision, {
        namespace,
        labelSelector,
        metadataOnly: true,
        signal,
      })
    ).items;
  }

  async writeRevision(
    fleet: Fleet,
    name: string,
    spec: FleetRevisionSpec,
    signal: AbortSignal,
  ): Promise<void> {
    // Applied, not created: one of the same content may be there, of an earlier Fleet of this name.
    const revision = revisionObject(fleet, name, spec);
    await this.#client.apply(hubResources.fleetRevision, revision, {
      manager,
      metadataOnly: true,
      signal,
    });
  }

  async deleteRevision(revision: KubeObject, signal: AbortSignal): Promise<void> {
    this.#revisions.delete(`${revision.metadata.namespace ?? ""}/${revision.metadata.name}`);
    await this.#client.delete(hubResources.fleetRevision, revision, { signal });
  }

  async writeMember(
    name: string,
    cluster: ClusterFacts,
    spec: FleetMemberSpec,
    signal: AbortSignal,
  ): Promise<void> {
    const member = memberObject(name, cluster, spec);
    await this.#client.apply(hubResources.fleetMember, member, {
      manager,
      metadataOnly: true,
      signal,
    });
  }

  /** As the API server has it now. */
  async freshMember(name: Named, signal: AbortSignal): Promise<FleetMember | undefined> {
    const found = await this.#client.get(hubResources.fleetMember, name, { signal });
    return found === undefined ? undefined : asMember(found);
  }

  /** Sets or removes annotations of a member; one that went meanwhile is not an error. */
  async annotateMember(
    name: Named,
    values: Readonly<Record<string, string | null>>,
    signal: AbortSignal,
  ): Promise<void> {
    const patch = { metadata: { annotations: values } };
    const options = { metadataOnly: true, signal };
    try {
      await this.#client.mergePatch(hubResources.fleetMember, name, patch, options);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  async deleteMember({ namespace, name }: Named, signal: AbortSignal): Promise<void> {
    const live = await this.#client.get(
      hubResources.fleetMember,
      { namespace, name },
      { signal, metadataOnly: true },
    );
    if (live !== undefined) await this.#client.delete(hubResources.fleetMember, live, { signal });
  }

  /** Writes the status when it differs. An object that went meanwhile is not an error. */
  async writeStatus(
    object: Reporting,
    status: FleetStatus | FleetMemberStatus | KeyRotationStatus | SecretRotationStatus,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (canonicalJson(object.status ?? {}) === canonicalJson(status)) return false;
    const { namespace = "", name } = object.metadata;
    const resource = statusResources[object.kind];
    try {
      await this.#client.apply(
        resource,
        { apiVersion, kind: object.kind, metadata: { namespace, name }, status },
        { manager, metadataOnly: true, subresource: "status", signal },
      );
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    return true;
  }

  /** Adds or removes our finalizer on a Fleet; 409 when the Fleet changed meanwhile. Throws NamespaceNotAllowed without rights there. */
  async setFinalizer(fleet: Fleet, wanted: boolean, signal: AbortSignal): Promise<void> {
    const { namespace, name, resourceVersion, finalizers = [] } = fleet.metadata;
    if (finalizers.includes(fleetFinalizer) === wanted) return;
    const next = wanted
      ? [...finalizers, fleetFinalizer]
      : finalizers.filter((f) => f !== fleetFinalizer);
    const patch = { metadata: { resourceVersion, finalizers: next } };
    try {
      await this.#client.mergePatch(hubResources.fleet, { namespace, name }, patch, { signal });
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 403) throw error;
      const message = `the controller has no rights in namespace ${namespace ?? ""}: nobody has set it up for Fleets`;
      throw new CapitanError("NamespaceNotAllowed", message, { cause: error });
    }
  }

  /** Records an Event about a Fleet or a member. `id` makes its name unique. */
  async emit(
    event: HubEvent,
    { id, time }: { id: string; time: string },
    signal: AbortSignal,
  ): Promise<void> {
    this.#emitted?.(event, time);
    await this.#client.create(hubResources.event, eventObject(event, { id, time }), { signal });
  }
}
