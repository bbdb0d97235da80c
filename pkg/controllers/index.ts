/** The reconcilers: read, decide, act, report. They do I/O through their ports only. */
export { FleetReconciler } from "./fleet-reconciler.ts";
export { ClusterReconciler } from "./cluster-reconciler.ts";
export { RotationReconciler, type RotationOptions } from "./rotation-reconciler.ts";
export { RotationSchedule } from "./rotation-schedule.ts";
export { SecretRotationReconciler } from "./secret-rotation-reconciler.ts";
export { Sources, type SourcesOptions } from "./sources.ts";
export {
  Identities,
  ageKeysOf,
  generationsIn,
  identitySecret,
  isPostQuantum,
  type AgeGeneration,
} from "./identities.ts";
export { managerKeys, newestActive, type ManagerKeys } from "./manager-keys.ts";
export { changesIn, droppedBy, type Change, type Dropped } from "./dropped.ts";
export { WorkQueue } from "./work-queue.ts";
export type {
  Clock,
  ClusterHub,
  GitAccess,
  GitRepositories,
  GitWriters,
  Holder,
  Log,
  Metrics,
  RendererPort,
  Repositories,
} from "./ports.ts";
