/** Cluster API's contract as Capitan reads it: Clusters and their kubeconfig Secrets. */
export { clusterResource, clusterFacts, capiGroup, capiVersion } from "./cluster.ts";
export { kubeconfigSecretName, kubeconfigOf, clusterNameLabel } from "./kubeconfig-secret.ts";
