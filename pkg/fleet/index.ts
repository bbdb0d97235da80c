/** The vocabulary of Fleets and the decisions about their members and statuses. No I/O, no clock. */
export { revisionName, ownerOf, clusterKey } from "./names.ts";
export {
  isSelected,
  planMembers,
  memberLabels,
  type MemberAction,
  type ClusterFacts,
} from "./members.ts";
export { fleetStatus, type FleetOutcome } from "./fleet-status.ts";
export { memberStatus, type MemberOutcome } from "./member-status.ts";
export { deletionPolicyOf, leavesBehind } from "./policy.ts";
export { knownAsAnother } from "./identity.ts";
export { heldUpBy, removalWaitsFor } from "./siblings.ts";
export { overviewOf, type Overview } from "./overview.ts";
export { guardActions, recentlyLeft, type Guarded } from "./guard.ts";
export { accountUser, userOf, type Tenancy } from "./tenancy.ts";
export { configMapsOf, secretsOf } from "./references.ts";
