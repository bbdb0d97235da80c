import { CapitanError } from "../errors/index.ts";

type Node = { readonly name: string; readonly dependsOn?: readonly string[] | undefined };

/** The layers so that each comes after those it depends on; otherwise in the given order. Throws DependencyInvalid. */
export function orderLayers<T extends Node>(layers: readonly T[]): readonly T[] {
  const names = new Set(layers.map((layer) => layer.name));
  for (const layer of layers) {
    const missing = layer.dependsOn?.find((name) => !names.has(name));
    if (missing !== undefined)
      throw new CapitanError(
        "DependencyInvalid",
        `layer ${layer.name} depends on ${missing}, which is not a layer of the Fleet`,
      );
  }
  const done = new Set<string>();
  const ordered: T[] = [];
  while (ordered.length < layers.length) {
    const next = layers.find(
      (layer) => !done.has(layer.name) && (layer.dependsOn ?? []).every((name) => done.has(name)),
    );
    if (next === undefined) {
      const stuck = layers.filter((layer) => !done.has(layer.name)).map((layer) => layer.name);
      throw new CapitanError(
        "DependencyInvalid",
        `layers ${stuck.join(", ")} depend on each other in a circle`,
      );
    }
    done.add(next.name);
    ordered.push(next);
  }
  return ordered;
}
