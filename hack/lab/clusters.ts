import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { idOf, parseManifests, type KubeObject } from "../../pkg/object/index.ts";
import { ApiError, type KubeClient } from "../../pkg/kube/index.ts";
import { root } from "./paths.ts";
import { resources } from "./resources.ts";
import { until } from "./wait.ts";

/** Which cluster of the lab. */
export type ClusterName = { readonly namespace: string; readonly name: string };

/** Overrides how long the stand-in lets a Deployment take: `500ms`, `2s`, or `off`. On a Cluster. */
export const standInAnnotation = "lab.capitan.dev/stand-in";

/** The Kubernetes version of every cluster here. */
const version = "v1.36.3";

const byKind = {
  ClusterClass: resources.clusterClass,
  LabClusterTemplate: resources.labClusterTemplate,
  LabControlPlaneTemplate: resources.labControlPlaneTemplate,
  LabCluster: resources.labCluster,
  LabControlPlane: resources.labControlPlane,
  Cluster: resources.cluster,
} as const;

/** Applies the CAPI objects of one workload cluster, from templates/lab/cluster.yaml. */
export async function createCluster(
  hub: KubeClient,
  { namespace, name }: ClusterName,
  more: { labels?: Record<string, string>; annotations?: Record<string, string> } = {},
): Promise<void> {
  const file = join(root, "templates", "lab", "cluster.yaml");
  const text = (await readFile(file, "utf8")).replaceAll(/\bNAME\b/g, name);
  for (const object of parseManifests(text, file)) {
    const metadata = { ...object.metadata, namespace, ...(object.kind === "Cluster" ? more : {}) };
    await hub.apply(
      byKind[idOf(object).kind as keyof typeof byKind],
      { ...object, metadata },
      { manager: "capitan-lab" },
    );
  }
}

/** The same by Cluster API's topology: from the ClusterClass of templates/lab/class.yaml, with these variables. */
export async function createTopologyCluster(
  hub: KubeClient,
  { namespace, name }: ClusterName,
  variables: Readonly<Record<string, unknown>>,
  more: { labels?: Record<string, string> } = {},
): Promise<void> {
  const file = join(root, "templates", "lab", "class.yaml");
  const options = { manager: "capitan-lab" };
  for (const object of parseManifests(await readFile(file, "utf8"), file)) {
    const metadata = { ...object.metadata, namespace };
    await hub.apply(byKind[object.kind as keyof typeof byKind], { ...object, metadata }, options);
  }
  const named = Object.entries(variables).map(([key, value]) => ({ name: key, value }));
  const topology = { classRef: { name: "lab" }, version, variables: named };
  const cluster = {
    apiVersion: "cluster.x-k8s.io/v1beta2",
    kind: "Cluster",
    metadata: { namespace, name, ...more },
    spec: { topology },
  };
  await until(() => hub.apply(resources.cluster, cluster, options).catch(refused), {
    deadlineMs: 30_000,
    what: "the ClusterClass to be accepted",
  });
}

/** The webhook refuses a Cluster until its class has been reconciled. */
function refused(error: unknown): undefined {
  if (error instanceof ApiError && [403, 422, 400].includes(error.status)) return undefined;
  throw error;
}

/** Deletes a Cluster and waits until Cluster API has taken it away. */
export async function deleteCluster(
  hub: KubeClient,
  name: ClusterName,
  deadlineMs = 60_000,
): Promise<void> {
  const live = await hub.get(resources.cluster, name);
  if (live === undefined) return;
  await until(
    async () =>
      (await hub
        .get(resources.cluster, name)
        .then((c) => c && hub.delete(resources.cluster, c))) !== false,
    { deadlineMs: 10_000, what: "the delete to be accepted" },
  ).catch(() => undefined);
  await until(async () => (await hub.get(resources.cluster, name)) === undefined, {
    deadlineMs,
    what: `Cluster ${name.name} to be gone`,
  });
}

/** The workload cluster's kubeconfig, once its Secret is there. */
export async function clusterKubeconfig(
  hub: KubeClient,
  { namespace, name }: ClusterName,
  deadlineMs = 60_000,
): Promise<string> {
  const secret: KubeObject = await until(
    () => hub.get(resources.secret, { namespace, name: `${name}-kubeconfig` }),
    { deadlineMs, what: `the kubeconfig of ${name}` },
  );
  return Buffer.from((secret["data"] as { value: string }).value, "base64").toString("utf8");
}

/** Waits until Cluster API calls the control plane initialized. */
export async function clusterInitialized(
  hub: KubeClient,
  name: ClusterName,
  deadlineMs = 90_000,
): Promise<void> {
  await until(
    async () => {
      const status = ((await hub.get(resources.cluster, name))?.["status"] ?? {}) as {
        initialization?: { controlPlaneInitialized?: boolean };
      };
      return status.initialization?.controlPlaneInitialized === true;
    },
    { deadlineMs, what: `Cluster ${name.name} to be initialized`, everyMs: 100 },
  );
}
