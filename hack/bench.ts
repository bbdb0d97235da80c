// The benchmark: eight clusters at once get Flux by Capitan, beside a bare server-side apply of the
// same objects into eight other fresh clusters, in one run. usage: npm run bench [-- --clusters N]
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
const fleet = "bench";

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
    await clusters(hub, "capitan", count);
    const bareMs = await timed(() => Promise.all(bare.map((client) => applyBare(client, objects))));
    progress.done(
      `bare apply of ${objects.length} objects into ${count} clusters: ${Math.round(bareMs)} ms`,
    );
    const startedAt = Date.now();
    const readyAfterMs = await timed(async () => {
      await applyFleet(hub, lab.registry);
      await until(async () => (await members(hub)).filter(isReady).length === count, {
        deadlineMs: readyMs,
        what: `${count} members to be Ready`,
        everyMs: 50,
      });
    });
    const last = Math.max(
      ...(await members(hub)).map((m) => Date.parse(m.status?.lastAppliedTime ?? "")),
    );
    const capitanMs = last - startedAt;
    const quietMs = await passWithoutChange(hub, count);
    const result = {
      clusters: count,
      objects: objects.length,
      bareMs,
      capitanMs,
      ratio: capitanMs / bareMs,
      readyAfterMs,
      nothingChangedMs: quietMs,
    };
    process.stdout.write(
      `${JSON.stringify(Object.fromEntries(Object.entries(result).map(([k, v]) => [k, Math.round(v * 100) / 100])))}\n`,
    );
    await Promise.all([hub, ...bare].map((client) => client.close()));
  } finally {
    await stopLab(defaultLabDir);
  }
}

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

async function applyFleet(hub: KubeClient, registry: string): Promise<void> {
  const layer = {
    name: "flux",
    flux: {
      version: fluxVersion,
      artifact: { url: `oci://${registry}/flux-manifests`, insecure: true },
    },
  };
  const spec = { clusterSelector: { matchLabels: { bench: "capitan" } }, layers: [layer] };
  const object = {
    apiVersion: "capitan.dev/v1alpha1",
    kind: "Fleet",
    metadata: { namespace: labNamespace, name: fleet },
    spec,
  };
  await hub.apply(resources.fleet, object, { manager: "bench" });
}

async function members(hub: KubeClient): Promise<readonly FleetMember[]> {
  const { items } = await hub.list(resources.fleetMember, { namespace: labNamespace });
  return items as unknown as readonly FleetMember[];
}

const isReady = ({ status }: FleetMember) =>
  conditionOf(status?.conditions, "Ready")?.status === "True";

/** Asks every member for a pass in which there is nothing to do. */
async function passWithoutChange(hub: KubeClient, count: number): Promise<number> {
  const requestedAt = "bench";
  const all = await members(hub);
  return timed(async () => {
    await Promise.all(
      all.map(({ metadata }) =>
        hub.mergePatch(resources.fleetMember, metadata, {
          metadata: { annotations: { "reconcile.fluxcd.io/requestedAt": requestedAt } },
        }),
      ),
    );
    await until(
      async () =>
        (await members(hub)).filter((m) => m.status?.lastHandledReconcileAt === requestedAt)
          .length === count,
      { deadlineMs: 60_000, what: "all passes", everyMs: 10 },
    );
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
