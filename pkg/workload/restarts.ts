import type { KubeClient } from "../kube/index.ts";
import { ApiError } from "../kube/index.ts";
import { annotations, type KubeObject, type Resource } from "../object/index.ts";

/** A field manager of its own: what it sets is no field of a layer, and no layer's apply takes it off. */
const manager = "capitan-restart";

const apps = (kind: string, plural: string): Resource => ({
  group: "apps",
  version: "v1",
  kind,
  plural,
  namespaced: true,
});

/** The kinds whose pods are started anew when the template of them changes. */
const kinds = [
  apps("Deployment", "deployments"),
  apps("StatefulSet", "statefulsets"),
  apps("DaemonSet", "daemonsets"),
] as const;

/** The workloads of a namespace. */
export async function workloadsIn(
  client: KubeClient,
  namespace: string,
  signal: AbortSignal,
): Promise<readonly KubeObject[]> {
  const lists = await Promise.all(kinds.map((kind) => client.list(kind, { namespace, signal })));
  return lists.flatMap(({ items }) => items);
}

/**
 * Has the pods of a workload started anew, by an annotation of their template. The same value again
 * changes nothing. False when the workload is not there any more, or is another one.
 */
export async function restartWorkload(
  client: KubeClient,
  { workload, value }: { readonly workload: KubeObject; readonly value: string },
  signal: AbortSignal,
): Promise<boolean> {
  const { apiVersion, kind, metadata } = workload;
  const resource = kinds.find((each) => each.kind === kind);
  if (resource === undefined) return false;
  const { name, namespace = "", uid = "" } = metadata;
  const template = { metadata: { annotations: { [annotations.restartedFor]: value } } };
  const patch = { apiVersion, kind, metadata: { name, namespace, uid }, spec: { template } };
  try {
    await client.apply(resource, patch, { manager, metadataOnly: true, signal });
    return true;
  } catch (error) {
    if (error instanceof ApiError && (error.status === 404 || error.status === 409)) return false;
    throw error;
  }
}
