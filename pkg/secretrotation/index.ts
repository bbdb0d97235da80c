/** Rotation of values in encrypted files: changing one, who runs it, which workloads restart for it. No I/O, no clock. */
export { formatValuePath, parseValuePath, type ValuePath } from "./path.ts";
export { changeValue, type ChangedValue, type ValueToChange } from "./change.ts";
export { heldIn, type HeldFile, type WantedValue } from "./held.ts";
export {
  secretsIn,
  standingOf,
  type Delivered,
  type SeenCluster,
  type Standing,
} from "./standing.ts";
export { restartsFor, type Restart } from "./restart.ts";
