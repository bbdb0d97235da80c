import { CapitanError } from "../errors/index.ts";
import { asMap } from "../json/index.ts";
import { type KubeObject } from "../object/index.ts";

/** On every Secret of a Cluster. */
export const clusterNameLabel = "cluster.x-k8s.io/cluster-name";

/** CAPI contract: the Secret of this name beside the Cluster holds its kubeconfig. */
export function kubeconfigSecretName(cluster: string): string {
  return `${cluster}-kubeconfig`;
}

/** The kubeconfig in the Secret's key `value`. Throws KubeconfigNotFound. */
export function kubeconfigOf(secret: KubeObject | undefined, what: string): string {
  const value = asMap(secret?.["data"])["value"];
  if (typeof value !== "string" || value === "") {
    throw new CapitanError(
      "KubeconfigNotFound",
      secret === undefined ? `${what} does not exist` : `${what} has no key 'value'`,
    );
  }
  return Buffer.from(value, "base64").toString("utf8");
}
