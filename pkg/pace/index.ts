/** When to look again: after an event that says something new, a pass, a failure. How much goes on at once. No clock. */
export {
  againAfterFailure,
  againAfterPass,
  isSettled,
  pauseMs,
  sooner,
  untilEvent,
  type Again,
} from "./pace.ts";
export { Changes } from "./changes.ts";
export { parallel } from "./parallel.ts";
export { DriftTimes } from "./drift-times.ts";
