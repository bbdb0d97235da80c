/** Receivers as decisions: whether a delivery is genuine, what it says was pushed, which Fleets that wakes. No I/O. */
export {
  Delivery,
  deliveryBytesMax,
  type Headers,
  type Refusal,
  type Verdict,
} from "./delivery.ts";
export { readPush, type Pushed } from "./payload.ts";
export { isWokenBy, sourcesOf, type Source, type Watched } from "./sources.ts";
export { tokenOf, webhookPath, type Token } from "./token.ts";
export { receiverStatus, type TokenFound } from "./status.ts";
