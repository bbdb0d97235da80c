import { durationMs, type FleetRevision } from "../api/index.ts";
import { isCapitanError } from "../errors/index.ts";
import { kindOf, type KubeObject } from "../object/index.ts";
import { orderLayers } from "./order.ts";
import { desiredObjects, renderLayer, type LayerInputs } from "./render.ts";
import type { LayerPlan, Problem } from "./step.ts";

/** A layer with its objects, before it is known how the cluster scopes their kinds. */
export type RenderedLayer = Omit<LayerPlan, "objects"> & {
  readonly objects: readonly KubeObject[];
};

/** How a kind is scoped in the cluster; undefined when the cluster does not know it. */
export type KindScope = { readonly namespaced: boolean } | undefined;

/** Renders every layer of a revision, in order. A layer that cannot be rendered has a problem and no objects. */
export function renderLayers(
  revision: FleetRevision | undefined,
  inputs: ReadonlyMap<string, LayerInputs | Problem>,
): readonly RenderedLayer[] {
  return orderLayers(revision?.spec.layers ?? []).map((layer) => {
    const { name, dependsOn, wait, timeout, deletionPolicy } = layer;
    const base = { name, dependsOn, wait, timeoutMs: durationMs(timeout), policy: deletionPolicy };
    const input = inputs.get(name) ?? {};
    if ("code" in input) return { ...base, objects: [], problem: input };
    return { ...base, ...orProblem(() => renderLayer(layer, input)) };
  });
}

/** The layer as it is to be in this cluster; UnknownKind when the cluster does not know all its kinds. */
export function placeLayer(
  layer: RenderedLayer,
  { owner, secretKey }: { readonly owner: string; readonly secretKey: Uint8Array },
  scopes: ReadonlyMap<string, KindScope>,
): LayerPlan {
  if (layer.problem !== undefined) return { ...layer, objects: [] };
  const kinds = [...new Set(layer.objects.map(kindOf))];
  const unknown = kinds.filter((kind) => scopes.get(kind) === undefined);
  if (unknown.length > 0) {
    const message = `the cluster does not serve ${unknown.slice(0, 5).join(", ")}`;
    return { ...layer, objects: [], problem: { code: "UnknownKind", message } };
  }
  const scopeOf = (object: KubeObject) =>
    scopes.get(kindOf(object))?.namespaced === true ? "Namespaced" : "Cluster";
  const placement = { owner, scopeOf, secretKey } as const;
  return { ...layer, ...orProblem(() => desiredObjects(layer.name, layer.objects, placement)) };
}

function orProblem<T>(render: () => readonly T[]): { objects: readonly T[]; problem?: Problem } {
  try {
    return { objects: render() };
  } catch (error) {
    if (!isCapitanError(error)) throw error;
    return { objects: [], problem: { code: error.code, message: error.message } };
  }
}
