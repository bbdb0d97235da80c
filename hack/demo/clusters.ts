import { conditionOf, type FleetMember } from "../../pkg/api/index.ts";
import { connect, type KubeClient } from "../../pkg/kube/index.ts";
import { parseWorkloadKubeconfig } from "../../pkg/kubeconfig/index.ts";
import { clusterKubeconfig, type ClusterName } from "../lab/clusters.ts";
import { resources } from "../lab/resources.ts";
import { until } from "../lab/wait.ts";

/** The member on a cluster: of this Fleet, or whichever is there. */
export async function memberOf(
  hub: KubeClient,
  { namespace, name }: ClusterName,
  fleet?: string,
): Promise<FleetMember | undefined> {
  const { items } = await hub.list(resources.fleetMember, { namespace });
  const members = items as unknown as readonly FleetMember[];
  return members.find(
    ({ spec }) =>
      spec.clusterRef.name === name && (fleet === undefined || spec.fleetRef.name === fleet),
  );
}

/** Waits until a Fleet's member on a cluster is Ready. */
export async function memberReady(
  hub: KubeClient,
  fleet: string,
  cluster: ClusterName,
  deadlineMs: number,
): Promise<void> {
  await until(
    async () => {
      const member = await memberOf(hub, cluster, fleet);
      const ready = conditionOf(member?.status?.conditions, "Ready");
      if (ready?.status !== "True") throw new Error(ready?.message ?? "no member yet");
      return true;
    },
    { deadlineMs, what: `${fleet} on ${cluster.name}`, everyMs: 50 },
  );
}

/** Works on a workload cluster as its admin. */
export async function onCluster<T>(
  hub: KubeClient,
  cluster: ClusterName,
  work: (client: KubeClient) => Promise<T>,
  deadlineMs?: number,
): Promise<T> {
  const kubeconfig = await clusterKubeconfig(hub, cluster, deadlineMs);
  const client = connect(parseWorkloadKubeconfig(kubeconfig, cluster.name));
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}
