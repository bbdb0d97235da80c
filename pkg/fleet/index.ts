/** The vocabulary of Fleets and the decisions about their members. No I/O, no clock. */
export { revisionName, ownerOf } from "./names.ts";
export {
  isSelected,
  planMembers,
  memberLabels,
  targetsManagement,
  type MemberAction,
} from "./members.ts";
export { deletionPolicyOf, leavesBehind } from "./policy.ts";
export { createdMsOf, dueRotation, type AgedKey, type NewRotation } from "./due.ts";
export { knownAsAnother } from "./identity.ts";
export { heldUpBy, removalWaitsFor } from "./siblings.ts";
export { guardActions, isLeaving, recentlyLeft, type Guarded } from "./guard.ts";
export { accountUser, userOf, type Tenancy } from "./tenancy.ts";
export { configMapsOf, secretsOf } from "./references.ts";
