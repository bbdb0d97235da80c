import type { FleetSpec } from "../api/index.ts";

/**
 * What becomes of a layer's objects when they leave a cluster: what the layer says, else `Orphan` for
 * Flux, else what the Fleet says; the latter also for a layer that the Fleet has no more.
 */
export function deletionPolicyOf(spec: FleetSpec, layer: string): "Delete" | "Orphan" {
  const found = spec.layers.find(({ name }) => name === layer);
  return found?.deletionPolicy ?? (found?.flux === undefined ? spec.deletionPolicy : "Orphan");
}

/**
 * Whether objects of this layer stay when they leave a cluster. Of which layer an object was, is not
 * known (`""`) after the inventory was lost: then one layer that leaves its objects behind is enough.
 */
export function leavesBehind(spec: FleetSpec, layer: string): boolean {
  const layers = layer === "" ? [layer, ...spec.layers.map(({ name }) => name)] : [layer];
  return layers.some((name) => deletionPolicyOf(spec, name) === "Orphan");
}
