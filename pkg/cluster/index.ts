/** Where layers go: a Cluster of Cluster API, or the hub itself; how it is called and what is known of it. No I/O, no clock. */
export { isWithdrawn, momentOf, type ClusterFacts } from "./facts.ts";
export { clusterKey, clusterNamed } from "./key.ts";
export { clusterOf, isManagement, managementCluster, managementFacts } from "./management.ts";
