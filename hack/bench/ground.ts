import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, Discovery, type KubeClient } from "../../pkg/kube/index.ts";
import { parseWorkloadKubeconfig } from "../../pkg/kubeconfig/index.ts";
import { parseManifests, type KubeObject, type Resource } from "../../pkg/object/index.ts";
import { parseReference } from "../../pkg/oci/index.ts";
import { RegistryClient } from "../../pkg/registry/index.ts";
import { fluxManifests, fluxVersion } from "../flux-manifests.ts";
import { clientOf } from "../lab/apiserver.ts";
import {
  clusterInitialized,
  clusterKubeconfig,
  createCluster,
  deleteCluster,
  type ClusterName,
} from "../lab/clusters.ts";
import { labNamespace, startLab } from "../lab/lab.ts";
import { progress } from "../lab/progress.ts";
import type { LabFile } from "../lab/state.ts";

const clusterDeadlineMs = 300_000;
const defaultComponents = [
  "source-controller",
  "kustomize-controller",
  "helm-controller",
  "notification-controller",
];

/** The label by which a contender finds the clusters of a run: its value is the run's name. */
export const runLabel = "bench";

/** An object of Flux, and where it is written to. */
export type Target = { readonly resource: Resource; readonly object: KubeObject };

/** What all measurements share. */
export type Ground = {
  readonly lab: LabFile;
  readonly hub: KubeClient;
  /** Flux's manifests: as text, and object by object in their own order. */
  readonly manifests: string;
  readonly targets: readonly Target[];
};

/** Clusters that were made for one run. */
export type Run = {
  /** No other run has this name. */
  readonly name: string;
  readonly clusters: readonly ClusterName[];
};

/** A directory for one laboratory. */
export const newLabDir = () => mkdtemp(join(tmpdir(), "capitan-bench-"));

/** Starts a laboratory whose API servers write audit logs, with Flux's artifact in its registry. */
export async function prepareGround(dir: string): Promise<Ground> {
  const lab = await startLab({
    dir,
    progress,
    standIn: "100ms",
    audit: true,
    plentyOfMemory: true,
  });
  const hub = await clientOf(lab.hubKubeconfig);
  const text = ofDefaultComponents((await fluxManifests()).text);
  await pushManifests(lab.registry, text);
  const discovery = new Discovery(hub);
  const targets: Target[] = [];
  for (const object of parseManifests(text, "flux")) {
    const resource = await discovery.find(object.apiVersion, object.kind);
    if (resource === undefined) throw new Error(`no API server serves ${object.kind}`);
    targets.push({ resource, object });
  }
  return { lab, hub, manifests: text, targets };
}

/** The documents of what `flux install` installs when nothing is said; others come with more components. */
function ofDefaultComponents(text: string): string {
  const isWanted = ({ metadata }: KubeObject) => {
    const component = metadata.labels?.["app.kubernetes.io/component"];
    return component === undefined || defaultComponents.includes(component);
  };
  const documents = text.split(/^---\s*$/m);
  return documents.filter((one) => parseManifests(one, "flux").every(isWanted)).join("---");
}

async function pushManifests(registry: string, text: string): Promise<void> {
  const reference = parseReference(`oci://${registry}/flux-manifests`);
  const client = new RegistryClient(reference, { insecure: true });
  const files = new Map([["gotk-components.yaml", { content: Buffer.from(text) }]]);
  await client.push(files, fluxVersion, {});
  await client.close();
}

/** Makes fresh clusters, runs `work` on them, and takes the clusters away again. */
export async function withClusters<T>(
  { hub }: Ground,
  name: string,
  count: number,
  work: (run: Run) => Promise<T>,
): Promise<T> {
  const clusters = clusterNames(name, 0, count);
  await addClusters(hub, name, clusters);
  const result = await work({ name, clusters });
  await removeClusters(hub, clusters);
  return result;
}

/** Names of a run's clusters from one number (included) to another (not). */
export function clusterNames(run: string, from: number, to: number): readonly ClusterName[] {
  return Array.from({ length: to - from }, (_, i) => ({
    namespace: labNamespace,
    name: `${run}-${from + i + 1}`,
  }));
}

/** Makes clusters at once; returns when Cluster API calls all of them initialized. */
export async function addClusters(
  hub: KubeClient,
  run: string,
  clusters: readonly ClusterName[],
): Promise<void> {
  await Promise.all(
    clusters.map(async (cluster) => {
      await createCluster(hub, cluster, { labels: { [runLabel]: run } });
      await clusterInitialized(hub, cluster, clusterDeadlineMs);
    }),
  );
}

/** Deletes clusters at once; returns when Cluster API has taken them away. */
export async function removeClusters(
  hub: KubeClient,
  clusters: readonly ClusterName[],
): Promise<void> {
  await Promise.all(clusters.map((cluster) => deleteCluster(hub, cluster, clusterDeadlineMs)));
}

/** A client of a workload cluster, as its admin. */
export async function clientFor(hub: KubeClient, cluster: ClusterName): Promise<KubeClient> {
  return connect(parseWorkloadKubeconfig(await clusterKubeconfig(hub, cluster), cluster.name));
}
