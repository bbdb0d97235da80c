import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { idOf, parseManifests, type KubeObject } from "../../pkg/object/index.ts";
import {
  completeParameters,
  readClusterTemplate,
  renderFiles,
} from "../../pkg/clustertemplate/index.ts";
import type { JsonMap } from "../../pkg/json/index.ts";
import { ApiError, type KubeClient } from "../../pkg/kube/index.ts";
import { root } from "./paths.ts";
import { resources } from "./resources.ts";
import { until } from "./wait.ts";

/** Which cluster of the lab. */
export type ClusterName = { readonly namespace: string; readonly name: string };

/** Overrides how long the stand-in lets a Deployment take: `500ms`, `2s`, or `off`. On a Cluster. */
export const standInAnnotation = "lab.capitan.dev/stand-in";

const byKind = {
  ClusterClass: resources.clusterClass,
  LabClusterTemplate: resources.labClusterTemplate,
  LabControlPlaneTemplate: resources.labControlPlaneTemplate,
  LabCluster: resources.labCluster,
  LabControlPlane: resources.labControlPlane,
  Cluster: resources.cluster,
} as const;

type More = { labels?: Record<string, string>; annotations?: Record<string, string> };

const options = { manager: "capitan-lab" };

/** Applies the CAPI objects of one workload cluster, from templates/lab.yaml. */
export async function createCluster(
  hub: KubeClient,
  cluster: ClusterName,
  more: More = {},
): Promise<void> {
  for (const object of await clusterObjects(cluster, { topology: false }, more))
    await hub.apply(byKind[idOf(object).kind as keyof typeof byKind], object, options);
}

/** The same by Cluster API's topology: from a ClusterClass of its own, with these variables. */
export async function createTopologyCluster(
  hub: KubeClient,
  cluster: ClusterName,
  variables: { readonly tier?: string; readonly replicas?: number },
  more: More = {},
): Promise<void> {
  for (const object of await clusterObjects(cluster, { topology: true, ...variables }, more)) {
    const apply = () => hub.apply(byKind[object.kind as keyof typeof byKind], object, options);
    if (object.kind !== "Cluster") await apply();
    else
      await until(() => apply().catch(refused), {
        deadlineMs: 30_000,
        what: "the ClusterClass to be accepted",
      });
  }
}

/** What the template makes for the hub; labels and annotations are the caller's only. */
export async function clusterObjects(
  cluster: ClusterName,
  given: JsonMap,
  more: More,
): Promise<readonly KubeObject[]> {
  const file = join(root, "templates", "lab.yaml");
  const [object] = parseManifests(await readFile(file, "utf8"), file);
  if (object === undefined) throw new Error(`${file} is empty`);
  const template = readClusterTemplate(object, file);
  const parameters = completeParameters(template, { ...given, adminPassword: "not used here" });
  const identity = { recipient: "", secret: {} };
  const files = renderFiles(template, { cluster, parameters, identity });
  const manifests = files.find(({ path }) => path.endsWith("/cluster.yaml"));
  return parseManifests(manifests?.content ?? "", file).map(({ metadata, ...rest }) => {
    const { name, namespace } = metadata;
    const place = { name, ...(namespace === undefined ? {} : { namespace }) };
    return {
      ...rest,
      metadata: { ...place, ...(rest.kind === "Cluster" ? more : {}) },
    };
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
