import { asMap, asString } from "../../../pkg/json/index.ts";
import type { KubeClient } from "../../../pkg/kube/index.ts";
import type { ClusterName } from "../../../hack/lab/clusters.ts";
import { resources } from "../../../hack/lab/resources.ts";
import type { RequestFacts } from "./rules.ts";

/**
 * Replaces the kubeconfig in Secret CLUSTER-kubeconfig on the hub; labels, owners and type stay. Gives
 * a function that puts the former one back. Cluster API's core manager and the lab's stand-in follow
 * the Secret too: see `ofTheLab`.
 */
export async function swapKubeconfig(
  hub: KubeClient,
  { namespace, name }: ClusterName,
  kubeconfig: string,
): Promise<() => Promise<void>> {
  const secret = { namespace, name: `${name}-kubeconfig` };
  const live = await hub.get(resources.secret, secret);
  const former = asString(asMap(live?.["data"])["value"]);
  if (former === undefined) throw new Error(`no kubeconfig in Secret ${namespace}/${secret.name}`);
  const write = async (value: string) => {
    await hub.mergePatch(resources.secret, secret, { data: { value } }, { metadataOnly: true });
  };
  await write(Buffer.from(kubeconfig).toString("base64"));
  return () => write(former);
}

/** What Capitan's controller calls itself on workload clusters (pkg/workload/connections.ts). */
const controllerAgent = "capitan-controller";

/**
 * Whether a request to a workload cluster comes from somebody else than Capitan's controller: from
 * Cluster API's core manager, the lab's stand-in, or a client of the test. For `ApiProxyOptions.ignore`
 * and `CutOptions.except`.
 */
export function ofTheLab({ userAgent }: Pick<RequestFacts, "userAgent">): boolean {
  return userAgent !== controllerAgent;
}
