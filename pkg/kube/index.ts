/** The Kubernetes client: connections, requests, discovery, list-watch, leases. Nobody outside this room sees HTTP. */
export { hubContexts, loadHubConfig, type HubChoice } from "./hub-config.ts";
export {
  KubeClient,
  connect,
  type ApplyResult,
  type ListResult,
  type ListOptions,
} from "./client.ts";
export { ApiError, isNotFound, isConflict } from "./api-error.ts";
export { Discovery } from "./discovery.ts";
export { Informer, type InformerOptions, withoutManagedFields } from "./informer.ts";
export { LeaderLease, type LeaseOptions } from "./lease.ts";
