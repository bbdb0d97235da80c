/** The apply engine's decisions: what a layer wants in a cluster, and the next step towards it. No I/O, no clock. */
export { placeLayers, renderLayers, type KindScope } from "./place.ts";
export { liveOf, isBarrier, isEstablished } from "./live.ts";
export { orderLayers } from "./order.ts";
export { checkFiles, renderLayer, type LayerInputs, type DesiredObject } from "./render.ts";
export { startFacts } from "./start.ts";
export {
  step,
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
