import { kubeconfigOf, kubeconfigSecretName } from "../../pkg/capi/index.ts";
import { hubResources } from "../../pkg/api/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import {
  decodeInventory,
  inventoryName,
  inventoryNamespace,
  managementInventoryName,
  type Ledger,
} from "../../pkg/inventory/index.ts";
import { isManagement } from "../../pkg/cluster/index.ts";
import { asMap } from "../../pkg/json/index.ts";
import { ApiError, connect, type KubeClient } from "../../pkg/kube/index.ts";
import {
  expiryOf,
  parseWorkloadKubeconfig,
  type ConnectionConfig,
} from "../../pkg/kubeconfig/index.ts";
import type { Resource } from "../../pkg/object/index.ts";
import { dialError } from "../../pkg/workload/index.ts";

type Named = { readonly namespace: string; readonly name: string };

const configMaps: Resource = {
  group: "",
  version: "v1",
  kind: "ConfigMap",
  plural: "configmaps",
  namespaced: true,
};

/** How the hub reaches a workload cluster. Throws KubeconfigNotFound, KubeconfigInvalid, KubeconfigRefused, CredentialsExpired. */
export async function connectionOf(hub: KubeClient, cluster: Named): Promise<ConnectionConfig> {
  const { namespace } = cluster;
  const name = kubeconfigSecretName(cluster.name);
  const what = `Secret ${namespace}/${name}`;
  const secret = await hub.get(hubResources.secret, { namespace, name });
  const config = parseWorkloadKubeconfig(kubeconfigOf(secret, what), what);
  const expiry = expiryOf(config);
  if (expiry === undefined || expiry.getTime() > Date.now()) return config;
  const message = `${what}: its client certificate expired at ${expiry.toISOString()}`;
  throw new CapitanError("CredentialsExpired", message);
}

/** Runs `work` with a client of a cluster, as the hub knows it, or of the hub itself. Throws what connectionOf does, Unreachable, CredentialsRejected, ServerIdentityRefused. */
export async function withWorkload<T>(
  hub: KubeClient,
  cluster: Named,
  work: (workload: KubeClient) => Promise<T>,
): Promise<T> {
  if (isManagement(cluster)) return work(hub);
  const workload = connect(await connectionOf(hub, cluster));
  try {
    return await work(workload);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const where = `cluster ${cluster.namespace}/${cluster.name}`;
    // Past here a reply without the cluster's name is one of the hub.
    if (error.status !== 0 && error.status !== 401) throw error.within(where);
    const { code, message } = dialError(error);
    throw new CapitanError(code, `${where}: ${message}`, { cause: error });
  } finally {
    await workload.close();
  }
}

/** What is written down in a cluster about our objects there. Throws InventoryInvalid. */
export async function readLedger(workload: KubeClient, cluster: Named): Promise<Ledger> {
  const { items } = await workload.list(configMaps, { namespace: inventoryNamespace });
  const documents = items.map(({ metadata, ...rest }) => ({
    name: metadata.name,
    data: asMap(rest["data"]) as Readonly<Record<string, string>>,
  }));
  const name = isManagement(cluster) ? managementInventoryName : inventoryName;
  return decodeInventory(documents, name);
}
