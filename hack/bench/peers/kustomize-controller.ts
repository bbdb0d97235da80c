import { isJsonMap, asList, asMap } from "../../../pkg/json/index.ts";
import type { KubeObject } from "../../../pkg/object/index.ts";
import { fluxResources, serveArtifact, startKustomizeController } from "../../lab/kustomize.ts";
import { labNamespace } from "../../lab/lab.ts";
import { progress } from "../../lab/progress.ts";
import { resources } from "../../lab/resources.ts";
import { until } from "../../lab/wait.ts";
import type { Keeper } from "../contender.ts";
import type { Ground, Run } from "../ground.ts";
import { askAll } from "../requested-at.ts";

const settledMs = 300_000;
const source = "flux-manifests";
const { kustomization } = fluxResources;

/**
 * Starts Flux's kustomize-controller on the hub. One Kustomization per cluster points to the Secret
 * with its kubeconfig; the artifact is there before anything is measured.
 */
export async function kustomizeController(ground: Ground): Promise<Keeper> {
  await applyDefinitions(ground);
  const files = { "gotk-components.yaml": ground.manifests };
  const server = await serveArtifact(ground.hub, { namespace: labNamespace, name: source }, files);
  server.unref();
  await startKustomizeController(ground.lab.dir, ground.lab.hubKubeconfig, {
    progress,
    // As many at once as there are clusters: four, the default, would make it wait for itself.
    flags: ["--concurrent=8"],
  });
  return keeper(ground);
}

function keeper({ hub }: Ground): Keeper {
  const place = ({ clusters }: Run) => ({
    namespace: labNamespace,
    names: clusters.map(({ name }) => name),
  });
  return {
    name: "kustomize-controller",
    process: "kustomize-controller",
    isOwn: (userAgent) => userAgent.startsWith("kustomize-controller"),
    isAnswer: (resource) => resource === "kustomizations/status",
    prepare: async () => undefined,
    install: async (run: Run) => {
      await Promise.all(run.clusters.map(({ name }) => hub.create(kustomization, objectFor(name))));
    },
    settled: async ({ clusters }: Run) => {
      await Promise.all(clusters.map(({ name }) => applied({ hub }, name)));
    },
    pass: (run: Run) => askAll(hub, kustomization, place(run)),
    remove: async ({ clusters }: Run) => {
      for (const { namespace, name } of clusters) {
        const live = await hub.get(kustomization, { namespace, name });
        if (live !== undefined) await hub.delete(kustomization, live);
      }
      const isGone = async () =>
        (await hub.list(kustomization, { namespace: labNamespace })).items.length === 0;
      await until(isGone, { deadlineMs: settledMs, what: "the Kustomizations to be gone" });
    },
  };
}

function objectFor(cluster: string): KubeObject {
  return {
    apiVersion: "kustomize.toolkit.fluxcd.io/v1",
    kind: "Kustomization",
    metadata: { namespace: labNamespace, name: cluster },
    spec: {
      interval: "10m",
      path: "./",
      prune: true,
      // Its cluster is gone before it is deleted.
      deletionPolicy: "Orphan",
      sourceRef: { kind: "GitRepository", name: source },
      kubeConfig: { secretRef: { name: `${cluster}-kubeconfig` } },
    },
  };
}

async function applied({ hub }: Pick<Ground, "hub">, cluster: string): Promise<void> {
  const isReady = async () => {
    const live = await hub.get(kustomization, { namespace: labNamespace, name: cluster });
    const conditions = asList(asMap(live?.["status"])["conditions"]).filter(isJsonMap);
    return conditions.some(({ type, status }) => type === "Ready" && status === "True");
  };
  await until(isReady, { deadlineMs: settledMs, what: `Kustomization ${cluster}`, everyMs: 200 });
}

/** The definitions that kustomize-controller needs to run: Flux's own, of two groups. */
async function applyDefinitions({ hub, targets }: Ground): Promise<void> {
  const needed = targets.filter(
    ({ resource, object }) =>
      resource.kind === resources.crd.kind &&
      /\.(?:kustomize|source)\.toolkit\.fluxcd\.io$/.test(object.metadata.name),
  );
  for (const { resource, object } of needed)
    await hub.apply(resource, object, { manager: "bench", metadataOnly: true });
  const served = () => Promise.all(Object.values(fluxResources).map((kind) => hub.list(kind)));
  await until(served, { deadlineMs: 30_000, what: "Flux's kinds to be served" });
}
