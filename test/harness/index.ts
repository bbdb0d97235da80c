import { execFile } from "node:child_process";
import { join } from "node:path";
import {
  conditionOf,
  type Condition,
  type Fleet,
  type FleetMember,
  type Layer,
} from "../../pkg/api/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import type { KubeObject, Resource } from "../../pkg/object/index.ts";
import { clientOf } from "../../hack/lab/apiserver.ts";
import {
  clusterInitialized,
  clusterKubeconfig,
  createCluster,
  type ClusterName,
} from "../../hack/lab/clusters.ts";
import { root } from "../../hack/lab/paths.ts";
import { resources } from "../../hack/lab/resources.ts";
import { readLab, type LabFile } from "../../hack/lab/state.ts";
import { until } from "../../hack/lab/wait.ts";
import { connect } from "../../pkg/kube/index.ts";
import { parseWorkloadKubeconfig } from "../../pkg/kubeconfig/index.ts";

export { until } from "../../hack/lab/wait.ts";
export { resources } from "../../hack/lab/resources.ts";

export const namespace = "fleet";
const readyMs = 60_000;

/** The laboratory that `npm test` has started. Throws when there is none: a missing laboratory fails, never skips. */
export function sharedLab(): Promise<LabFile> {
  const dir = process.env["CAPITAN_TEST_LAB"];
  if (dir === undefined) throw new Error("no laboratory: run this file with npm test -- FILE");
  return readLab(dir);
}

/** An admin client of the shared hub. */
export async function sharedHub(): Promise<KubeClient> {
  return clientOf((await sharedLab()).hubKubeconfig);
}

export type Ran = { readonly code: number; readonly stdout: string; readonly stderr: string };

/** Runs the CLI against a hub. */
export async function capitan(args: readonly string[], kubeconfig?: string): Promise<Ran> {
  const env = { ...process.env, KUBECONFIG: kubeconfig ?? (await sharedLab()).hubKubeconfig };
  const main = join(root, "cmd", "capitan", "main.ts");
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [main, ...args],
      { env, timeout: 60_000 },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === "number" ? error.code : 1;
        resolve({ code, stdout, stderr });
      },
    );
  });
}

/** A workload cluster that is initialized, with an admin client of it. */
export async function newCluster(
  hub: KubeClient,
  name: string,
  more: Parameters<typeof createCluster>[2] = {},
): Promise<{ readonly name: ClusterName; readonly client: KubeClient }> {
  const cluster = { namespace, name };
  await createCluster(hub, cluster, { labels: { cluster: name }, ...more });
  const kubeconfig = await clusterKubeconfig(hub, cluster);
  await clusterInitialized(hub, cluster);
  return { name: cluster, client: connect(parseWorkloadKubeconfig(kubeconfig, name)) };
}

/**
 * Deletes the Clusters of a test file, all those with this beginning; nobody waits for them to go.
 * A machine has only so many file watches, and every API server holds three.
 */
export async function retireClusters(hub: KubeClient, beginning: string): Promise<void> {
  const { items } = await hub.list(resources.cluster, { namespace });
  const ours = items.filter(({ metadata }) => metadata.name.startsWith(beginning));
  await Promise.all(ours.map(({ metadata }) => deleteNow(hub, resources.cluster, metadata)));
}

/** Applies a Fleet for the Clusters with label cluster=CLUSTER. */
export function applyFleet(
  hub: KubeClient,
  name: string,
  cluster: string,
  layers: readonly object[],
  more: object = {},
  inNamespace = namespace,
): Promise<unknown> {
  const spec = { clusterSelector: { matchLabels: { cluster } }, layers, ...more };
  const object: KubeObject = {
    apiVersion: "capitan.dev/v1alpha1",
    kind: "Fleet",
    metadata: { name, namespace: inNamespace },
    spec,
  };
  return hub.apply(resources.fleet, object, { manager: "test" });
}

/** A layer with objects written in the Fleet. */
export function inline(
  name: string,
  objects: readonly object[],
  more: Partial<Layer> = {},
): object {
  return { name, inline: objects, ...more };
}

export function configMap(name: string, data: object = {}, inNamespace = "default"): object {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: inNamespace }, data };
}

export function deployment(name: string): object {
  const labels = { app: name };
  const template = {
    metadata: { labels },
    spec: { containers: [{ name: "c", image: "registry.example/x:1" }] },
  };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace: "default" },
    spec: { replicas: 1, selector: { matchLabels: labels }, template },
  };
}

export async function fleetOf(
  hub: KubeClient,
  name: string,
  inNamespace = namespace,
): Promise<Fleet | undefined> {
  return (await hub.get(resources.fleet, { namespace: inNamespace, name })) as Fleet | undefined;
}

export async function memberOf(
  hub: KubeClient,
  fleet: string,
  cluster: string,
  inNamespace = namespace,
): Promise<FleetMember | undefined> {
  const { items } = await hub.list(resources.fleetMember, { namespace: inNamespace });
  return (items as unknown as readonly FleetMember[]).find(
    ({ spec }) => spec.fleetRef.name === fleet && spec.clusterRef.name === cluster,
  );
}

/** Waits until the member's Ready condition, about its newest spec, has this reason. */
export function memberHas(
  hub: KubeClient,
  fleet: string,
  cluster: string,
  reason: string,
  deadlineMs = readyMs,
  inNamespace = namespace,
): Promise<FleetMember> {
  let last = "";
  return until(
    async () => {
      const member = await memberOf(hub, fleet, cluster, inNamespace);
      const ready = conditionOf(member?.status?.conditions, "Ready");
      last = `${ready?.reason ?? "no condition"}: ${ready?.message ?? ""}`;
      if (ready?.reason !== reason) throw new Error(`it is ${last}`);
      return member?.status?.observedGeneration === member?.metadata.generation
        ? member
        : undefined;
    },
    { deadlineMs, what: `member of ${fleet} on ${cluster} to be ${reason}`, everyMs: 100 },
  );
}

/** Waits until the member is Ready at the revision that it is pinned to, and the Fleet has seen it. */
export async function fleetReady(
  hub: KubeClient,
  fleet: string,
  deadlineMs = readyMs,
  inNamespace = namespace,
): Promise<Fleet> {
  return until(
    async () => {
      const found = await fleetOf(hub, fleet, inNamespace);
      const ready = conditionOf(found?.status?.conditions, "Ready");
      if (ready?.reason !== "ReconciliationSucceeded")
        throw new Error(`it is ${ready?.reason ?? "without condition"}: ${ready?.message ?? ""}`);
      return found?.status?.observedGeneration === found?.metadata.generation ? found : undefined;
    },
    { deadlineMs, what: `Fleet ${fleet} to be Ready`, everyMs: 100 },
  );
}

/** Waits until the Fleet's Ready condition has this reason. */
export function fleetHas(
  hub: KubeClient,
  name: string,
  reason: string,
  inNamespace = namespace,
): Promise<Condition> {
  return until(
    async () => {
      const ready = conditionOf(
        (await fleetOf(hub, name, inNamespace))?.status?.conditions,
        "Ready",
      );
      if (ready?.reason !== reason)
        throw new Error(`it is ${ready?.reason ?? "without condition"}: ${ready?.message ?? ""}`);
      return ready;
    },
    { deadlineMs: readyMs, what: `Fleet ${name} to be ${reason}`, everyMs: 100 },
  );
}

/** Deletes an object as it is now; reads again when somebody wrote it in between, as controllers do. */
export async function deleteNow(
  hub: KubeClient,
  resource: Resource,
  name: { namespace?: string; name: string },
): Promise<void> {
  const attempt = async () => {
    const live = await hub.get(resource, name);
    if (live !== undefined) await hub.delete(resource, live);
    return true;
  };
  await until(attempt, { deadlineMs: 10_000, what: `${resource.kind} ${name.name} to be deleted` });
}
