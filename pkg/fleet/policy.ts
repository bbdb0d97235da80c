import type { FleetSpec } from "../api/index.ts";

/**
 * What becomes of a layer's objects when they leave a cluster: what the layer says, else `Orphan` for
 * Flux, else what the Fleet says; the latter also for a layer that the Fleet has no more.
 */
export function deletionPolicyOf(spec: FleetSpec, layer: string): "Delete" | "Orphan" {
  const found = spec.layers.find(({ name }) => name === layer);
  return found?.deletionPolicy ?? (found?.flux === undefined ? spec.deletionPolicy : "Orphan");
}
