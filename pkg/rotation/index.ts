/** Rotation of keys over files, clusters and the hub: where each stands, the next write, and what must never be written. */
export { step, type Next, type Standing } from "./step.ts";
export { refusalOf } from "./safety.ts";
export { isExpired } from "./facts.ts";
