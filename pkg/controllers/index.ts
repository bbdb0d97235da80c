/** The reconcilers: read, decide, act, report. They do I/O through their ports only. */
export { FleetReconciler } from "./fleet-reconciler.ts";
export { ClusterReconciler } from "./cluster-reconciler.ts";
export { RotationReconciler, type RotationOptions } from "./rotation-reconciler.ts";
export { SecretRotationReconciler } from "./secret-rotation-reconciler.ts";
export { Sources, type SourcesOptions } from "./sources.ts";
export {
  Identities,
  ageKeysOf,
  generationOf,
  generationsIn,
  identitiesOf,
  identitySecret,
} from "./identities.ts";
export { identitiesIn } from "./secrets.ts";
export { changesIn, droppedBy, type Change, type Dropped } from "./dropped.ts";
export { WorkQueue } from "./work-queue.ts";
export type {
  Clock,
  ClusterHub,
  GitAccess,
  GitRepositories,
  GitWriters,
  Log,
  Metrics,
  RendererPort,
  Repositories,
} from "./ports.ts";
