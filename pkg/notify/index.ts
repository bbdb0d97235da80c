/** Events in Flux's own schema, sent to a notification-controller. Never waits, never fails a reconcile. */
export { fluxEvent, type FluxEvent, type Note } from "./flux-event.ts";
export { Notifier, outcomes, type NotifierOptions } from "./notifier.ts";
