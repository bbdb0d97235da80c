/** The management cluster as the reconcilers see it: cached reads, quorum reads where they matter, writes. */
export { Hub, type HubHandlers, type HubEvent } from "./hub.ts";
