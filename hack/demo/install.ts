// A Fleet, then two Clusters one after the other, each of which ends with the whole of Flux on it.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { conditionOf } from "../../pkg/api/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { parseManifests } from "../../pkg/object/index.ts";
import { createTopologyCluster, type ClusterName } from "../lab/clusters.ts";
import { labNamespace } from "../lab/lab.ts";
import { root } from "../lab/paths.ts";
import { progress } from "../lab/progress.ts";
import { resources } from "../lab/resources.ts";
import type { LabFile } from "../lab/state.ts";
import { until } from "../lab/wait.ts";
import { memberOf } from "./clusters.ts";

/** The clusters of this act, with what makes them differ. */
const clusters = [
  { name: "demo-1", region: "eu", tier: "standard" },
  { name: "demo-2", region: "us", tier: "standard" },
] as const;
const readyMs = 120_000;

/** A cluster and what was installed on it. */
export type Installed = {
  readonly name: string;
  readonly namespace: string;
  readonly ready: boolean;
  readonly fluxVersion: string;
  readonly objects: number;
  readonly installMs: number;
};

/** Applies the Fleet, then creates the Clusters. */
export async function showInstall(lab: LabFile, hub: KubeClient): Promise<readonly Installed[]> {
  await applyFleet(lab, hub);
  const installed: Installed[] = [];
  for (const cluster of clusters)
    installed.push(await installOn(hub, { namespace: labNamespace, ...cluster }));
  return installed;
}

async function applyFleet(lab: LabFile, hub: KubeClient): Promise<void> {
  const file = join(root, "hack", "demo", "platform.yaml");
  const text = (await readFile(file, "utf8")).replaceAll("REGISTRY", lab.registry);
  for (const object of parseManifests(text, file))
    await hub.apply(resources.fleet, object, { manager: "capitan-demo" });
  progress.done("applied hack/demo/platform.yaml: Fleet demo, for every Cluster with env=demo");
}

/** Creates a Cluster and follows it until its member is Ready. */
async function installOn(
  hub: KubeClient,
  { region, tier, ...cluster }: ClusterName & { readonly region: string; readonly tier: string },
): Promise<Installed> {
  progress.action(`creating Cluster ${cluster.name}, region ${region}, tier ${tier}`);
  await createTopologyCluster(hub, cluster, { tier }, { labels: { env: "demo", region } });
  const secretName = { namespace: cluster.namespace, name: `${cluster.name}-kubeconfig` };
  await until(() => hub.get(resources.secret, secretName, { metadataOnly: true }), {
    deadlineMs: readyMs,
    what: `the kubeconfig of ${cluster.name}`,
    everyMs: 5,
  });
  const kubeconfigAtMs = Date.now();
  progress.done(`${cluster.name} has an API server and a kubeconfig Secret`);
  let said = "";
  const member = await until(
    async () => {
      const found = await memberOf(hub, cluster);
      const ready = conditionOf(found?.status?.conditions, "Ready");
      if (ready !== undefined && ready.message !== said) {
        said = ready.message;
        progress.action(`${cluster.name}: ${said}`);
      }
      return ready?.status === "True" ? found : undefined;
    },
    { deadlineMs: readyMs, what: `${cluster.name} to be Ready`, everyMs: 20 },
  );
  progress.done(`${cluster.name} is Ready`);
  const flux = member.status?.layers?.find((layer) => layer.name === "flux");
  const lastAppliedMs = Date.parse(member.status?.lastAppliedTime ?? "");
  return {
    ...cluster,
    ready: true,
    fluxVersion: flux?.revision ?? "",
    objects: member.status?.objects ?? 0,
    installMs: lastAppliedMs - kubeconfigAtMs,
  };
}
