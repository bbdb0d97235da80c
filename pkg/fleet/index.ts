/** The vocabulary and the decisions: what a Fleet wants where, and what to do next. No I/O, no clock. */
export {
  againAfterFailure,
  againAfterPass,
  isSettled,
  pauseMs,
  sooner,
  untilEvent,
  type Again,
} from "./pace.ts";
export { kindOf, placeLayer, renderLayers, type KindScope } from "./place.ts";
export { liveOf, isBarrier, isEstablished } from "./live.ts";
export { memberName, revisionName, ownerOf, clusterKey } from "./names.ts";
export { orderLayers } from "./order.ts";
export {
  checkFiles,
  renderLayer,
  desiredObjects,
  type LayerInputs,
  type DesiredObject,
} from "./render.ts";
export { fluxSystemNamespace, fluxVersionOf } from "./flux.ts";
export {
  step,
  dangerousRemoval,
  type LayerPlan,
  type Live,
  type Facts,
  type Step,
  type Problem,
  type LayerVerdict,
} from "./step.ts";
export {
  learnApplied,
  learnEstablished,
  learnHealth,
  learnRemoved,
  learnStored,
  type ApplyReply,
  type RemovalReply,
} from "./learn.ts";
export {
  planMembers,
  memberLabels,
  isSelected,
  type MemberAction,
  type FleetFacts,
  type ClusterFacts,
} from "./members.ts";
export { fleetStatus, isMemberReady, type FleetOutcome } from "./fleet-status.ts";
export { memberStatus, type MemberOutcome } from "./member-status.ts";
export { applyConditions, readyMessage } from "./conditions.ts";
