/** The receiver at work: Receivers, tokens and Fleets kept by watch; deliveries in, `requestedAt` and statuses out. */
export { Receiving, type ReceivingOptions } from "./receiving.ts";
