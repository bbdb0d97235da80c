import { asList, asMap, isJsonMap } from "../../../pkg/json/index.ts";
import type { KubeObject, Resource } from "../../../pkg/object/index.ts";
import { labNamespace } from "../../lab/lab.ts";
import { resources } from "../../lab/resources.ts";
import { until } from "../../lab/wait.ts";
import type { Keeper } from "../contender.ts";
import { runLabel, type Ground, type Run } from "../ground.ts";

const settledMs = 300_000;
const set: Resource = {
  group: "addons.cluster.x-k8s.io",
  version: "v1beta2",
  kind: "ClusterResourceSet",
  plural: "clusterresourcesets",
  namespaced: true,
};

/**
 * Cluster API's own ClusterResourceSet with strategy Reconcile, in the core manager that the lab runs
 * anyway. The manifests are in one ConfigMap: it sorts objects by kind only within one value, and
 * 270 kB fit as long as nobody uses `kubectl apply`, whose annotation holds 256 KiB.
 */
export function clusterResourceSet({ lab, hub, manifests }: Ground): Keeper {
  const place = (run: Run) => ({ namespace: labNamespace, name: run.name });
  const passes = () => reconciliations(lab.ports.capiDiagnostics);
  return {
    name: "ClusterResourceSet",
    process: "capi-core",
    isOwn: (userAgent) => userAgent.startsWith("capi-core") || userAgent.startsWith("cluster-api"),
    isAnswer: () => false,
    prepare: async (run: Run) => {
      const config = { apiVersion: "v1", kind: "ConfigMap", metadata: place(run) };
      await hub.create(resources.configMap, { ...config, data: { "flux.yaml": manifests } });
    },
    install: async (run: Run) => {
      await hub.create(set, objectFor(run.name));
    },
    settled: async (run: Run) => {
      await until(async () => isApplied(await hub.get(set, place(run))), {
        deadlineMs: settledMs,
        what: "the ClusterResourceSet to be applied",
        everyMs: 200,
      });
    },
    pass: async (run: Run) => {
      // Its queue lets an object through once a second at most.
      await quietFor(1_500, passes);
      const before = await passes();
      const startedMs = performance.now();
      const annotations = { "bench/requested": new Date().toISOString() };
      await hub.mergePatch(set, place(run), { metadata: { annotations } });
      await until(async () => (await passes()) > before, {
        deadlineMs: settledMs,
        what: "a pass of the ClusterResourceSet",
        everyMs: 5,
      });
      return performance.now() - startedMs;
    },
    remove: async (run: Run) => {
      const live = await hub.get(set, place(run));
      if (live !== undefined) await hub.delete(set, live);
      await until(async () => (await hub.get(set, place(run))) === undefined, {
        deadlineMs: settledMs,
        what: "the ClusterResourceSet to be gone",
      });
    },
  };
}

function objectFor(run: string): KubeObject {
  return {
    apiVersion: "addons.cluster.x-k8s.io/v1beta2",
    kind: "ClusterResourceSet",
    metadata: { namespace: labNamespace, name: run },
    spec: {
      strategy: "Reconcile",
      clusterSelector: { matchLabels: { [runLabel]: run } },
      resources: [{ kind: "ConfigMap", name: run }],
    },
  };
}

function isApplied(object: KubeObject | undefined): boolean {
  const conditions = asList(asMap(object?.["status"])["conditions"]).filter(isJsonMap);
  return conditions.some(({ type, status }) => type === "ResourcesApplied" && status === "True");
}

/** Finished reconciliations of ClusterResourceSets: it says nowhere else that it has looked. */
async function reconciliations(diagnosticsPort: number): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${diagnosticsPort}/metrics`)).text();
  const name = 'controller_runtime_reconcile_time_seconds_count{controller="clusterresourceset"}';
  const line = text.split("\n").find((line) => line.startsWith(name)) ?? "";
  return Number(line.slice(name.length));
}

/** Waits until a number has not changed for so long. */
async function quietFor(quietMs: number, count: () => Promise<number>): Promise<void> {
  let last = await count();
  let sinceMs = performance.now();
  const isQuiet = async () => {
    const now = await count();
    if (now !== last) sinceMs = performance.now();
    last = now;
    return performance.now() - sinceMs >= quietMs;
  };
  await until(isQuiet, { deadlineMs: settledMs, what: "passes to end", everyMs: 100 });
}
