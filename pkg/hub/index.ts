/** The management cluster as the reconcilers see it: cached reads, quorum reads where they matter, writes. */
export { Hub, type HubHandlers } from "./hub.ts";
export type { HubEvent } from "./shapes.ts";
