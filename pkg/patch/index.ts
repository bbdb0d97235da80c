/** Patches of a layer's objects: JSON6902 and JSON merge patches with a target, as in kustomize. No I/O. */
export { applyPatches, parsePatches, type Patch, type PatchSpec } from "./patch.ts";
export type { PatchTarget } from "./target.ts";
