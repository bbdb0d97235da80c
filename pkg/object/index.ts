/** Kubernetes objects as data: reading, naming, ordering, normalising, judging them. No I/O. */
export type { KubeObject, ManagedField, ObjectMeta } from "./types.ts";
export { type ObjectId, idOf, keyOf, parseKey, nameOf, groupOf, versionOf, kindOf } from "./id.ts";
export type { Resource } from "./resource.ts";
export { parseManifests, parseYaml } from "./yaml.ts";
export { normalize } from "./normalize.ts";
export { stageOf, compareForApply, type Stage } from "./stages.ts";
export { labels, annotations, fieldManager, ownEntry, ownershipOf } from "./ownership.ts";
export { healthOf, hasHealthRule, type Health } from "./health.ts";
export { matchesSelector, type LabelSelector } from "./selector.ts";
