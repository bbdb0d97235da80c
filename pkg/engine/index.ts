/** The apply engine's decisions: what a layer wants in a cluster, and the next step towards it. No I/O, no clock. */
export { placeLayers, renderLayers, type KindScope } from "./place.ts";
export { orderLayers } from "./order.ts";
export {
  parseFiles,
  renderLayer,
  SharedObjects,
  type LayerInputs,
  type DesiredObject,
} from "./render.ts";
export { claimsBy } from "./claims.ts";
export { planDefinition, type Migration } from "./definitions.ts";
export { noteAttempts, questionsAbout } from "./repairs.ts";
export { refusalsIn, type Refusal } from "./refusals.ts";
export { startFacts } from "./start.ts";
export {
  step,
  type LayerPlan,
  type Facts,
  type Inspection,
  type Step,
  type Problem,
  type LayerVerdict,
} from "./step.ts";
export {
  learnApplied,
  learnDisarmed,
  learnEstablished,
  learnHealth,
  learnInspected,
  learnRemoved,
  learnStored,
  type ApplyReply,
  type RemovalReply,
} from "./learn.ts";
