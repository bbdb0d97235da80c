/** What an object's metadata tells: who owns which field, whether ours still stand, what to do when not. No I/O, no clock. */
export { compareFootprints, footprintOf, type Difference, type Footprint } from "./footprint.ts";
export {
  atVersion,
  displayPath,
  holderOf,
  keptByOthers,
  lostPaths,
  onlyAtVersion,
  takeOver,
  thiefOf,
  withoutNobody,
  type Thief,
} from "./owners.ts";
export { liveOf, isBarrier, isEstablished, isKept, type Live } from "./live.ts";
export { Mirror } from "./mirror.ts";
export { Attempts, type Pause } from "./attempts.ts";
export { cureOf, type Cure } from "./cures.ts";
export { managedElsewhere } from "./elsewhere.ts";
export { holdReason } from "./holds.ts";
