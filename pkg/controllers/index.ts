/** The reconcilers: read, decide, act, report. They do I/O through their ports only. */
export { FleetReconciler } from "./fleet-reconciler.ts";
export { ClusterReconciler } from "./cluster-reconciler.ts";
export { Sources } from "./sources.ts";
export { WorkQueue } from "./work-queue.ts";
export type { Clock, ClusterHub, GitRepositories, Log, Metrics, Repositories } from "./ports.ts";
