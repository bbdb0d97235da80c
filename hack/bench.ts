// The benchmark: eight clusters at once get Flux by Capitan, beside a bare server-side apply of the
// same objects into eight other fresh clusters; then drift of six kinds, put back. All in one run. usage: npm run bench [-- --clusters N]
import { parseArgs } from "node:util";
import { conditionOf, type FleetMember } from "../pkg/api/index.ts";
import { messageOf } from "../pkg/errors/index.ts";
import { connect, Discovery, type KubeClient } from "../pkg/kube/index.ts";
import { parseWorkloadKubeconfig } from "../pkg/kubeconfig/index.ts";
import {
  compareForApply,
  healthOf,
  parseManifests,
  stageOf,
  type KubeObject,
} from "../pkg/object/index.ts";
import { parseReference } from "../pkg/oci/index.ts";
import { RegistryClient } from "../pkg/registry/index.ts";
import { acts, declared, percentile, repairTimes } from "./drift.ts";
import { fluxManifests, fluxVersion } from "./flux-manifests.ts";
import { clientOf } from "./lab/apiserver.ts";
import { clusterInitialized, clusterKubeconfig, createCluster } from "./lab/clusters.ts";
import { startController } from "./lab/controller.ts";
import { labNamespace, startLab, stopLab } from "./lab/lab.ts";
import { defaultLabDir } from "./lab/paths.ts";
import { progress } from "./lab/progress.ts";
import { resources } from "./lab/resources.ts";
import { until } from "./lab/wait.ts";

const readyMs = 240_000;
const label = "capitan";
const repairs = 50;

async function bench(count: number): Promise<void> {
  const lab = await startLab({ dir: defaultLabDir, progress, standIn: "100ms" });
  try {
    await startController(lab);
    const hub = await clientOf(lab.hubKubeconfig);
    const { text } = await fluxManifests();
    const objects = [...parseManifests(text, "flux")].sort(compareForApply);
    await push(lab.registry, text);
    progress.action(`creating ${count} clusters for the bare apply and ${count} for Capitan`);
    const bare = await clusters(hub, "bare", count);
    await clusters(hub, label, count);
    const bareMs = await timed(() => Promise.all(bare.map((client) => applyBare(client, objects))));
    progress.done(
      `bare apply of ${objects.length} objects into ${count} clusters: ${Math.round(bareMs)} ms`,
    );
    const startedAt = Date.now();
    await applyFleet(hub, lab.registry, label);
    await allReady(hub, label, count);
    const capitanMs = lastApplied(await members(hub, label)) - startedAt;
    progress.done(`Capitan into ${count} clusters: ${capitanMs} ms`);
    const nothingChangedMs = await passWithoutChange(hub, label);
    const drift = await driftOn(hub, `${label}-1`);
    progress.action(`creating ${count} more clusters at once, with their Fleet waiting for them`);
    await applyFleet(hub, lab.registry, "new");
    const createdToReadyMs = await timed(async () => {
      await clusters(hub, "new", count);
      await allReady(hub, "new", count);
    });
    const ratio = Math.round((capitanMs / bareMs) * 100) / 100;
    const figures = { bareMs, capitanMs, nothingChangedMs, createdToReadyMs };
    const whole = Object.entries(figures).map(([name, ms]) => [name, Math.round(ms)] as const);
    const result = {
      clusters: count,
      objects: objects.length,
      ratio,
      ...Object.fromEntries(whole),
      drift,
    };
    process.stdout.write(`${JSON.stringify(result)}\n`);
    await Promise.all([hub, ...bare].map((client) => client.close()));
  } finally {
    await stopLab(defaultLabDir);
  }
}

/** 50 repairs of each of six kinds on a cluster that also runs Flux. */
async function driftOn(hub: KubeClient, name: string): Promise<object> {
  const cluster = { namespace: labNamespace, name };
  const label = { metadata: { labels: { drift: name } } };
  await hub.mergePatch(resources.cluster, cluster, label);
  const layers = (["ConfigMap", "Secret"] as const).map((kind) => ({
    name: kind.toLowerCase(),
    inline: names(kind).map((object) => ({
      apiVersion: "v1",
      kind,
      metadata: { name: object, namespace: "default" },
      ...(kind === "Secret" ? { stringData: { k: declared } } : { data: { k: declared } }),
    })),
  }));
  const spec = { clusterSelector: { matchLabels: { drift: name } }, layers };
  const metadata = { namespace: labNamespace, name: "drift" };
  const fleet = { apiVersion: "capitan.dev/v1alpha1", kind: "Fleet", metadata, spec };
  await hub.apply(resources.fleet, fleet, { manager: "bench" });
  await allReady(hub, "drift", 1);
  const client = connect(parseWorkloadKubeconfig(await clusterKubeconfig(hub, cluster), name));
  const all: number[] = [];
  for (const act of acts) {
    const times = await repairTimes(client, act, "default", names(act.resource.kind));
    progress.done(`${act.name}: p50 ${percentile(times, 50)} ms, p99 ${percentile(times, 99)} ms`);
    all.push(...times);
  }
  await client.close();
  return { n: all.length, p50Ms: percentile(all, 50), p99Ms: percentile(all, 99) };
}

const names = (kind: string) =>
  Array.from({ length: repairs }, (_, i) => `${kind.toLowerCase()}-${i}`);

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

async function push(registry: string, text: string): Promise<void> {
  const client = new RegistryClient(parseReference(`oci://${registry}/flux-manifests`), {
    insecure: true,
  });
  await client.push(
    new Map([["gotk-components.yaml", { content: Buffer.from(text) }]]),
    fluxVersion,
    {},
  );
  await client.close();
}

async function clusters(
  hub: KubeClient,
  label: string,
  count: number,
): Promise<readonly KubeClient[]> {
  const names = Array.from({ length: count }, (_, i) => ({
    namespace: labNamespace,
    name: `${label}-${i + 1}`,
  }));
  return Promise.all(
    names.map(async (name) => {
      await createCluster(hub, name, { labels: { bench: label } });
      await clusterInitialized(hub, name, readyMs);
      return connect(
        parseWorkloadKubeconfig(await clusterKubeconfig(hub, name, readyMs), name.name),
      );
    }),
  );
}

/** The same objects with no logic: stage by stage in parallel, and no barrier but CRDs Established. */
async function applyBare(client: KubeClient, objects: readonly KubeObject[]): Promise<void> {
  const discovery = new Discovery(client);
  for (const stage of [0, 1, 2, 3]) {
    const group = objects.filter((object) => stageOf(object) === stage);
    await Promise.all(
      group.map(async (object) => {
        const resource = await discovery.find(object.apiVersion, object.kind);
        if (resource !== undefined)
          await client.apply(resource, object, { manager: "bare", metadataOnly: true });
      }),
    );
    if (stage === 0)
      await until(
        async () =>
          (await client.list(resources.crd)).items.every(
            (crd) => healthOf(crd).state === "Current",
          ),
        { deadlineMs: 30_000, what: "CRDs", everyMs: 20 },
      );
  }
}

async function applyFleet(hub: KubeClient, registry: string, name: string): Promise<void> {
  const artifact = { url: `oci://${registry}/flux-manifests`, insecure: true };
  const layers = [{ name: "flux", flux: { version: fluxVersion, artifact } }];
  const spec = { clusterSelector: { matchLabels: { bench: name } }, layers };
  const metadata = { namespace: labNamespace, name };
  const object = { apiVersion: "capitan.dev/v1alpha1", kind: "Fleet", metadata, spec };
  await hub.apply(resources.fleet, object, { manager: "bench" });
}

async function members(hub: KubeClient, fleet: string): Promise<readonly FleetMember[]> {
  const { items } = await hub.list(resources.fleetMember, { namespace: labNamespace });
  const all = items as unknown as readonly FleetMember[];
  return all.filter(({ spec }) => spec.fleetRef.name === fleet);
}

function lastApplied(all: readonly FleetMember[]): number {
  return Math.max(...all.map(({ status }) => Date.parse(status?.lastAppliedTime ?? "")));
}

async function allReady(hub: KubeClient, fleet: string, count: number): Promise<void> {
  const isReady = ({ status }: FleetMember) =>
    conditionOf(status?.conditions, "Ready")?.status === "True";
  const what = `${count} members of ${fleet} to be Ready`;
  await until(async () => (await members(hub, fleet)).filter(isReady).length === count, {
    deadlineMs: readyMs,
    what,
    everyMs: 100,
  });
}

/** Asks every member for a pass in which there is nothing to do. */
async function passWithoutChange(hub: KubeClient, fleet: string): Promise<number> {
  const requestedAt = "bench";
  const annotations = { "reconcile.fluxcd.io/requestedAt": requestedAt };
  const all = await members(hub, fleet);
  const handled = ({ status }: FleetMember) => status?.lastHandledReconcileAt === requestedAt;
  return timed(async () => {
    const patch = { metadata: { annotations } };
    await Promise.all(all.map((m) => hub.mergePatch(resources.fleetMember, m.metadata, patch)));
    await until(async () => (await members(hub, fleet)).every(handled), {
      deadlineMs: 60_000,
      what: "all passes",
      everyMs: 10,
    });
  });
}

const { values } = parseArgs({ options: { clusters: { type: "string", default: "8" } } });
bench(Number(values.clusters)).then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`✗ ${messageOf(error)}\n`);
    process.exit(1);
  },
);
