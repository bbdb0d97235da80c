/** The custom resources of group capitan.dev: one schema each, from which types and CRDs follow. */
export { crds, group, type CrdManifest } from "./crds.ts";
export { clusterTemplateSchema } from "./cluster-template.ts";
export type {
  ClusterTemplate,
  ClusterTemplateSpec,
  TemplateFile,
  TemplateParameter,
} from "./cluster-template.ts";
export type { Fleet, FleetSpec, FleetStatus, Layer } from "./fleet.ts";
export type { FleetRevision, FleetRevisionSpec, RevisionLayer } from "./fleet-revision.ts";
export type {
  FleetMember,
  FleetMemberSpec,
  FleetMemberStatus,
  LayerStatus,
} from "./fleet-member.ts";
export type {
  ClusterRotation,
  KeyRotation,
  KeyRotationSpec,
  KeyRotationStatus,
} from "./key-rotation.ts";
export type {
  ClusterOfSecret,
  SecretRotation,
  SecretRotationSpec,
  SecretRotationStatus,
} from "./secret-rotation.ts";
export type { Reporting } from "./reporting.ts";
export type { Receiver, ReceiverSpec, ReceiverStatus, ReceiverType } from "./receiver.ts";
export { type Condition, conditionOf } from "./conditions.ts";
export { durationMs } from "./duration.ts";
export { fleetFinalizer, hubResources } from "./resources.ts";
export { missingIn, withDefaults } from "./defaults.ts";
export { problemsIn, type SchemaProblem } from "./validate.ts";
export { fleetSchema } from "./fleet.ts";
