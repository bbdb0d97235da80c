/** When to look again: after a pass, after a failure, and how pauses grow. No clock. */
export {
  againAfterFailure,
  againAfterPass,
  isSettled,
  pauseMs,
  sooner,
  untilEvent,
  type Again,
} from "./pace.ts";
