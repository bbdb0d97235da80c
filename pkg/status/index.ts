/** What Fleets and members say of themselves: conditions, counts, summaries. No I/O, no clock. */
export { applyConditions, type Decided } from "./conditions.ts";
export { fleetStatus, isMemberReady, type FleetOutcome } from "./fleet-status.ts";
export { memberStatus, withoutRepairs, type MemberOutcome } from "./member-status.ts";
export { rotationStatus, targetsOf, type RotationOutcome } from "./rotation-status.ts";
export {
  isSettledRow,
  secretRotationStatus,
  type ClusterOutcome,
  type SecretOutcome,
} from "./secret-rotation-status.ts";
export { overviewOf, type Overview } from "./overview.ts";
