import { randomBytes } from "node:crypto";
import { CapitanError, isCapitanError, messageOf } from "../../pkg/errors/index.ts";
import { capiGroup, capiVersion } from "../../pkg/capi/index.ts";
import {
  ClusterReconciler,
  FleetReconciler,
  Identities,
  RotationReconciler,
  RotationSchedule,
  SecretRotationReconciler,
  Sources,
  WorkQueue,
  type Clock,
  type Metrics,
  type RendererPort,
} from "../../pkg/controllers/index.ts";
import { clusterKey, clusterOf } from "../../pkg/cluster/index.ts";
import { configMapsOf, secretsOf } from "../../pkg/fleet/index.ts";
import { withoutRepairs } from "../../pkg/status/index.ts";
import type { FleetMember } from "../../pkg/api/index.ts";
import { annotations } from "../../pkg/object/index.ts";
import { Changes, type Again, type DriftTimes } from "../../pkg/pace/index.ts";
import { Hub, type HubHandlers } from "../../pkg/hub/index.ts";
import type { Discovery, KubeClient } from "../../pkg/kube/index.ts";
import type { newLog } from "../../pkg/log/index.ts";
import { fluxEvent, type Notifier } from "../../pkg/notify/index.ts";
import { newIdentity } from "../../pkg/sops/index.ts";
import type { ControllerMetrics } from "../../pkg/server/index.ts";
import type { Connections } from "../../pkg/workload/index.ts";
import { openRepositories } from "../repositories.ts";
import type { Options } from "./options.ts";

export type Parts = {
  readonly client: KubeClient;
  readonly discovery: Discovery;
  readonly connections: Connections;
  readonly options: Options;
  readonly log: ReturnType<typeof newLog>;
  readonly clock: Clock;
  readonly metrics: ControllerMetrics;
  readonly driftTimes: DriftTimes;
  readonly notifier: Notifier | undefined;
  readonly renderer: RendererPort;
};

/** Fleet events are gathered this long: a rollout changes many members at once. */
const fleetDebounceMs = 100;
/** The same for rotations, which look at a whole repository each time. */
const rotationDebounceMs = 1_000;
/** How long a pass waits for the first list of Clusters. */
const clustersSyncMs = 5_000;
/** How long the start waits for the first list of Secrets; what comes later comes as events. */
const secretsSyncMs = 10_000;

const notListed =
  "Secrets of a platform namespace cannot be listed: capitan install gives the right";

/** Builds the reconcilers with their queues, and connects events to keys. */
export function buildControllers(parts: Parts) {
  const { client, connections, options, log, clock } = parts;
  const { platformNamespaces, defaultServiceAccount } = options;
  const tenancy = { platformNamespaces, defaultServiceAccount };
  const hub: Hub = new Hub(
    client,
    handlers(parts, () => built),
    clock.random,
    [...platformNamespaces],
  );
  const repositories = repositoriesOf(parts);
  const inputs = { secrets: hub.inputs, configMaps: hub.inputs };
  const sources = new Sources({ ...inputs, ...repositories, renderer: parts.renderer });
  const identities = new Identities(hub.inputs, makeIdentity(clock));
  const checkHub = hubCheck(parts, () => hub.clustersSynced);
  const schedule = new RotationSchedule({ hub, tenancy, clock, log });
  const fleets = new FleetReconciler({ hub, sources, clock, log, tenancy, checkHub, schedule });
  const clusters = new ClusterReconciler({
    hub,
    connections,
    sources,
    identities,
    clock,
    log,
    tenancy,
    metrics: reconcilerMetrics(parts),
  });
  const sight = { ...inputs, ...repositories, connections, tenancy };
  const looking = { hub, rotations: hub, clock, log, checkHub, ...sight };
  const rotations = new RotationReconciler({ ...looking, identities });
  const values = new SecretRotationReconciler(looking);
  const fleetQueue = queue("fleet", parts, (key, signal) => fleets.reconcile(key, signal));
  const clusterQueue = queue("cluster", parts, (key, signal, light) =>
    clusters.reconcile(key, signal, light),
  );
  const rotationQueue = queue("rotation", parts, (key, signal) => rotations.reconcile(key, signal));
  const valueQueue = queue("secretrotation", parts, (key, signal) => values.reconcile(key, signal));
  const queues = {
    fleet: fleetQueue,
    cluster: clusterQueue,
    rotation: rotationQueue,
    secretrotation: valueQueue,
  };
  const all = Object.entries(queues);
  const built = {
    hub,
    fleetQueue,
    clusterQueue,
    rotationQueue,
    valueQueue,
    /** How busy they are. */
    queues: () => all.map(([controller, each]) => ({ controller, ...each.load() })),
    /** Resolves when there is enough in the caches to decide. One namespace without its Role holds nobody for long. */
    async synced(signal: AbortSignal): Promise<void> {
      await hub.synced();
      if (await within(hub.inputs.synced(), secretsSyncMs, signal)) return;
      log.warn({}, notListed);
    },
    start(signal: AbortSignal): void {
      for (const [, each] of all) each.start(signal);
    },
    async drained(): Promise<void> {
      await Promise.all(all.map(([, each]) => each.drained()));
    },
  };
  return built;
}

/** Makes identities from the operating system's randomness. */
const makeIdentity = (clock: Clock) => async (isPostQuantum: boolean) => ({
  ...(await newIdentity(isPostQuantum, randomBytes)),
  created: clock.now(),
});

export type Controllers = ReturnType<typeof buildControllers>;

type Built = {
  readonly hub: Hub;
  readonly fleetQueue: WorkQueue;
  readonly clusterQueue: WorkQueue;
  readonly rotationQueue: WorkQueue;
  readonly valueQueue: WorkQueue;
};

/** What reconcilers count; only they know what was put back, only we since when that had been seen. */
function reconcilerMetrics({ metrics, driftTimes, clock }: Parts): Metrics {
  return {
    applied: metrics.applied,
    repaired: (objects, cluster) => {
      const tookMs = driftTimes.repaired(cluster, clock.monotonicMs());
      metrics.repaired(objects, tookMs === undefined ? undefined : tookMs / 1000);
    },
  };
}

/** Which events are work, and for whom. */
function handlers({ log, metrics, notifier, options }: Parts, built: () => Built): HubHandlers {
  const changes = new Changes();
  return {
    fleetChanged: ({ metadata }, gone) => {
      const name = { namespace: metadata.namespace ?? "", name: metadata.name };
      const key = clusterKey(name);
      const { hub, fleetQueue, clusterQueue } = built();
      hub.followTenants();
      // Our own status writes come back as events; they are no work.
      const facts = [
        metadata.uid,
        metadata.generation,
        metadata.annotations,
        metadata.deletionTimestamp,
      ];
      if (gone) changes.forget(`fleet/${key}`);
      else if (!changes.isNew(`fleet/${key}`, facts)) return;
      fleetQueue.add(key);
      // Members may have been there before their Fleet, after a restore.
      for (const member of hub.membersOf(name)) clusterQueue.add(clusterKey(clusterOf(member)));
    },
    clusterChanged: (cluster, gone) => {
      const key = clusterKey(cluster);
      // Cluster API writes Clusters often; only these facts are of interest.
      if (gone) changes.forget(`cluster/${key}`);
      else if (!changes.isNew(`cluster/${key}`, cluster)) return;
      const { hub, fleetQueue, clusterQueue } = built();
      clusterQueue.add(key);
      for (const fleet of hub.fleetsIn(cluster.namespace))
        fleetQueue.add(fleet, { afterMs: fleetDebounceMs });
    },
    ...rotationHandlers(changes, built),
    memberChanged: (changed, gone) => {
      const { metadata, spec, status } = changed;
      const { fleetQueue, clusterQueue } = built();
      wakeRotations(built());
      const member = `member/${metadata.uid ?? ""}`;
      // A Fleet has nothing to decide when objects of a cluster were put back.
      const ofFleet = `fleet of ${member}`;
      const facts = [identityOf(metadata), peoplesAnnotations(metadata), withoutRepairs(status)];
      if (gone) changes.forget(ofFleet);
      if (gone || changes.isNew(ofFleet, facts))
        fleetQueue.add(clusterKey(spec.fleetRef), { afterMs: fleetDebounceMs });
      // Our own status writes come back as events; only a new spec or annotation is work.
      if (gone) changes.forget(member);
      else if (!changes.isNew(member, [metadata.generation, peoplesAnnotations(metadata)])) return;
      clusterQueue.add(clusterKey(clusterOf(changed)));
    },
    secretChanged: (secret, cluster) => {
      const { hub, fleetQueue, clusterQueue } = built();
      if (cluster !== undefined) clusterQueue.add(clusterKey(cluster));
      for (const fleet of hub.fleetsNaming(secret, secretsOf)) {
        // It may have waited for just this Secret.
        fleetQueue.add(clusterKey(fleet), { afterMs: fleetDebounceMs });
        for (const member of hub.membersOf(fleet)) clusterQueue.add(clusterKey(clusterOf(member)));
      }
    },
    configMapChanged: (configMap) => {
      const { hub, fleetQueue } = built();
      for (const fleet of hub.fleetsNaming(configMap, configMapsOf))
        fleetQueue.add(clusterKey(fleet), { afterMs: fleetDebounceMs });
    },
    emitted: (event, timestamp) =>
      notifier?.send(fluxEvent(event, { instance: options.instance, timestamp })),
    failed: (kind, error) => {
      metrics.watchFailed(kind);
      log.warn({ kind, code: codeOf(error) }, `watch: ${messageOf(error)}`);
    },
  };
}

/** Which events of rotations are work: our own status writes come back as events, and are none. */
function rotationHandlers(changes: Changes, built: () => Built) {
  type Named = { readonly namespace: string; readonly name: string };
  const heard = (what: string, facts: readonly unknown[], gone: boolean): boolean => {
    if (gone) changes.forget(what);
    return !gone && changes.isNew(what, facts);
  };
  return {
    rotationChanged: (rotation: Named, gone: boolean) => {
      const key = clusterKey(rotation);
      const { uid, generation, annotations } = built().hub.keyRotation(rotation)?.metadata ?? {};
      if (heard(`rotation/${key}`, [uid, generation, annotations], gone))
        built().rotationQueue.add(key);
    },
    secretRotationChanged: (rotation: Named, gone: boolean) => {
      const key = clusterKey(rotation);
      const { uid, generation } = built().hub.secretRotation(rotation)?.metadata ?? {};
      if (heard(`secretrotation/${key}`, [uid, generation], gone)) built().valueQueue.add(key);
    },
  };
}

/** What a cluster runs may be what a rotation waits for. */
function wakeRotations({ hub, rotationQueue, valueQueue }: Built): void {
  const debounce = { afterMs: rotationDebounceMs };
  for (const { metadata } of hub.rotations.openKeyRotations())
    rotationQueue.add(`${metadata.namespace ?? ""}/${metadata.name}`, debounce);
  for (const { metadata } of hub.rotations.openSecretRotations())
    valueQueue.add(`${metadata.namespace ?? ""}/${metadata.name}`, debounce);
}

/** What tells one state of a member's spec and labels from another. */
function identityOf({ uid, generation, labels, deletionTimestamp }: FleetMember["metadata"]) {
  return [uid, generation, labels, deletionTimestamp];
}

/** The annotations of a member that are not ours: ours come back as events and are no work. */
function peoplesAnnotations({ annotations: all = {} }: FleetMember["metadata"]): object {
  // Taken off by somebody, our own mark is news: the cluster is to be taken over.
  const isMarked = all[annotations.sequence] !== undefined;
  const { [annotations.sequence]: _sequence, [annotations.blockMove]: _block, ...rest } = all;
  return { ...rest, isMarked };
}

/** What layers come from, with one cache on disk. What registries are asked is counted. */
function repositoriesOf({ options: { cacheDir }, log, metrics }: Parts) {
  const counted = async <T>(operation: string, work: Promise<T>): Promise<T> => {
    try {
      const result = await work;
      metrics.registryAsked(operation, "success");
      return result;
    } catch (error) {
      metrics.registryAsked(operation, codeOf(error));
      throw error;
    }
  };
  const failed = (error: unknown) => log.warn({ dir: cacheDir }, `cache: ${messageOf(error)}`);
  return openRepositories({ cacheDir, failed, counted });
}

/** Whether the hub's Cluster API is one that we can read, and its Clusters have been listed. */
function hubCheck({ discovery }: Parts, clustersSynced: () => Promise<void>) {
  return async (signal: AbortSignal): Promise<void> => {
    const apiVersion = `${capiGroup}/${capiVersion}`;
    if ((await discovery.find(apiVersion, "Cluster", signal)) === undefined) {
      discovery.forget();
      throw new CapitanError("CapiVersionUnsupported", `the hub does not serve ${apiVersion}`);
    }
    if (await within(clustersSynced(), clustersSyncMs, signal)) return;
    const message = `the hub serves ${apiVersion}, but its Clusters cannot be listed: see the controller's log`;
    throw new CapitanError("CapiVersionUnsupported", message);
  };
}

/** Whether the work ended within the time. */
async function within(work: Promise<void>, ms: number, signal: AbortSignal): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<boolean>();
  const end = () => resolve(false);
  const timer = setTimeout(end, ms);
  signal.addEventListener("abort", end, { once: true });
  const done = await Promise.race([work.then(() => true), late]);
  clearTimeout(timer);
  signal.removeEventListener("abort", end);
  return done;
}

function queue(
  controller: "fleet" | "cluster" | "rotation" | "secretrotation",
  { options, clock, log, metrics, driftTimes }: Parts,
  reconcile: (key: string, signal: AbortSignal, light: boolean) => Promise<Again>,
): WorkQueue {
  return new WorkQueue({
    concurrency: options.concurrency,
    clock,
    failed: (key, error) =>
      log.error({ controller, object: key, code: codeOf(error), err: error }, messageOf(error)),
    reconcile: async (key, signal, light) => {
      const startedMs = clock.monotonicMs();
      let result = "error";
      try {
        const again = await reconcile(key, signal, light);
        result = again.kind === "backoff" ? "retry" : "done";
        return again;
      } finally {
        metrics.reconciled(controller, result, (clock.monotonicMs() - startedMs) / 1000);
        if (controller === "cluster") driftTimes.lookedAt(key, startedMs);
      }
    },
  });
}

function codeOf(error: unknown): string {
  return isCapitanError(error) ? error.code : "InternalError";
}
