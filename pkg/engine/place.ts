import { durationMs, type FleetRevision } from "../api/index.ts";
import { isCapitanError } from "../errors/index.ts";
import { inventoryKeyName, inventoryNamespace } from "../inventory/index.ts";
import { groupOf, idOf, keyOf, kindOf, nameOf, type KubeObject } from "../object/index.ts";
import { orderLayers } from "./order.ts";
import { desiredObjects, readLayer, type LayerInputs, type SharedObjects } from "./render.ts";
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
    const { name, dependsOn, wait, timeout, deletionPolicy, flux } = layer;
    const base = {
      name,
      dependsOn,
      wait,
      timeoutMs: durationMs(timeout),
      policy: deletionPolicy,
      adopt: layer.adopt === true || flux?.adopt === true,
      isFlux: flux !== undefined,
    };
    const input = inputs.get(name) ?? {};
    if ("code" in input) return { ...base, objects: [], problem: input, isUnknown: true };
    const rendered = orProblem(() => readLayer(layer, input));
    return { ...base, ...rendered, ...(rendered.problem === undefined ? {} : { isUnknown: true }) };
  });
}

type Placement = {
  readonly owner: string;
  readonly secretKey: Uint8Array;
  readonly shared?: SharedObjects | undefined;
  /** Whether the cluster is the hub itself, which may be brought what Capitan is made of. */
  readonly isHub: boolean;
};

/** The layers as they are to be in this cluster; one that cannot be has a problem and no objects. */
export function placeLayers(
  layers: readonly RenderedLayer[],
  placement: Placement,
  scopes: ReadonlyMap<string, KindScope>,
): readonly LayerPlan[] {
  const placed = layers.map((layer) => {
    const plan = placeLayer(layer, placement, scopes);
    return plan.problem === undefined ? plan : { ...plan, named: namesIn(layer.objects) };
  });
  return refuseShared(placed);
}

/** The keys that these objects may have, however the cluster scopes their kinds. */
function namesIn(objects: readonly KubeObject[]): readonly string[] {
  return objects.flatMap((object) => {
    const id = idOf(object);
    const namespaces = id.namespace === "" ? ["", "default"] : [id.namespace, ""];
    return namespaces.map((namespace) => keyOf({ ...id, namespace }));
  });
}

function placeLayer(
  layer: RenderedLayer,
  { owner, secretKey, shared, isHub }: Placement,
  scopes: ReadonlyMap<string, KindScope>,
): LayerPlan {
  if (layer.problem !== undefined) return { ...layer, objects: [] };
  const kinds = [...new Set(layer.objects.map(kindOf))];
  const unknown = kinds.filter((kind) => scopes.get(kind) === undefined);
  if (unknown.length > 0) {
    const message = `the cluster does not serve ${unknown.slice(0, 5).join(", ")}`;
    return { ...layer, objects: [], problem: { code: "UnknownKind", message } };
  }
  const own = layer.objects.find(isHub ? isMemory : isCapitans);
  if (own !== undefined) {
    const message = `${nameOf(idOf(own))} belongs to Capitan itself; a layer must not contain it`;
    return { ...layer, objects: [], problem: { code: "ManifestInvalid", message } };
  }
  const scopeOf = (object: KubeObject) =>
    scopes.get(kindOf(object))?.namespaced === true ? "Namespaced" : "Cluster";
  const placement = { owner, scopeOf, secretKey, shared } as const;
  const place = () => ({ objects: desiredObjects(layer.name, layer.objects, placement) });
  return { ...layer, ...orProblem(place) };
}

/** The inventory and our own kinds: a layer that could write them could make us delete anything. */
function isCapitans({ kind, metadata }: KubeObject): boolean {
  if (metadata.namespace === inventoryNamespace) return true;
  if (kind === "Namespace") return metadata.name === inventoryNamespace;
  return kind === "CustomResourceDefinition" && metadata.name.endsWith(".capitan.dev");
}

/** The same on the hub itself: what Capitan remembers there, and what only it writes. */
function isMemory(object: KubeObject): boolean {
  const { apiVersion, kind, metadata } = object;
  if (groupOf(apiVersion) === "capitan.dev") return /^Fleet(Member|Revision)$/.test(kind);
  if (metadata.namespace !== inventoryNamespace) return false;
  return /^(ConfigMap|Lease)$/.test(kind) || metadata.name === inventoryKeyName;
}

/** An object that two layers name would be fought over; the later layer has the problem. */
function refuseShared(layers: readonly LayerPlan[]): readonly LayerPlan[] {
  const owners = new Map<string, string>();
  return layers.map((layer) => {
    const shared = layer.objects.find(({ key }) => owners.has(key));
    for (const { key } of layer.objects) if (!owners.has(key)) owners.set(key, layer.name);
    if (shared === undefined) return layer;
    const message = `${nameOf(shared.id)} is also in layer ${owners.get(shared.key) ?? ""}`;
    const named = layer.objects.map(({ key }) => key);
    return { ...layer, objects: [], named, problem: { code: "DuplicateObject", message } };
  });
}

type Made<T> = { readonly objects: readonly T[] };

/** What is made, or nothing and why. */
function orProblem<T>(make: () => Made<T>): Made<T> & { readonly problem?: Problem } {
  try {
    return make();
  } catch (error) {
    if (!isCapitanError(error)) throw error;
    return { objects: [], problem: { code: error.code, message: error.message } };
  }
}
