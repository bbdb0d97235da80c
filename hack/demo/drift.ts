// Somebody works on a workload cluster by hand: the times until it is as declared again.
import { asMap } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";
import { repairTime } from "../drift.ts";
import type { ClusterName } from "../lab/clusters.ts";
import { progress } from "../lab/progress.ts";
import { resources } from "../lab/resources.ts";
import { onCluster } from "./clusters.ts";

/** Deletes a Deployment and edits a ConfigMap. */
export function showDrift(hub: KubeClient, cluster: ClusterName): Promise<readonly Repair[]> {
  return onCluster(hub, cluster, async (client) => {
    const repairs: Repair[] = [];
    for (const { act, resource, name, change, isBack } of driftActs) {
      const object = `${resource.kind}/${name}`;
      progress.action(`somebody ${act} ${object} on ${cluster.name}`);
      const place = { namespace: "flux-system", name };
      const ms = await repairTime(client, resource, place, { act: change, isUndone: isBack });
      progress.done(`${object} on ${cluster.name} is back after ${ms.toFixed(1)} ms`);
      repairs.push({ act, object, ms });
    }
    return repairs;
  });
}

/** What was done, and how long it stayed so. */
export type Repair = { readonly act: string; readonly object: string; readonly ms: number };

const greetingOf = (object: KubeObject) => asMap(object["data"])["hello"];
const driftActs = [
  {
    act: "deletes",
    resource: resources.deployment,
    name: "source-controller",
    change: (client: KubeClient, live: KubeObject) => client.delete(resources.deployment, live),
    isBack: (now: KubeObject, before: KubeObject) => now.metadata.uid !== before.metadata.uid,
  },
  {
    act: "edits",
    resource: resources.configMap,
    name: "greeting",
    change: (client: KubeClient, live: KubeObject) =>
      client.mergePatch(
        resources.configMap,
        live.metadata,
        { data: { hello: "from somebody" } },
        { manager: "kubectl-edit" },
      ),
    isBack: (now: KubeObject) => greetingOf(now) === "from Capitan",
  },
] as const;
