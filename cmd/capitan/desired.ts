import { randomBytes } from "node:crypto";
import {
  hubResources,
  type Fleet,
  type FleetRevision,
  type FleetRevisionSpec,
} from "../../pkg/api/index.ts";
import { isCapitanError } from "../../pkg/errors/index.ts";
import { clusterNameLabel } from "../../pkg/capi/index.ts";
import {
  ageKeysOf,
  droppedBy,
  Sources,
  type Change,
  type Dropped,
} from "../../pkg/controllers/index.ts";
import {
  placeLayers,
  renderLayers,
  type KindScope,
  type LayerInputs,
  type LayerPlan,
  type Problem,
} from "../../pkg/engine/index.ts";
import { isManagement, type ClusterFacts } from "../../pkg/cluster/index.ts";
import { ownerOf, revisionName } from "../../pkg/fleet/index.ts";
import { Discovery, type KubeClient } from "../../pkg/kube/index.ts";
import { kindOf, labels, type KubeObject } from "../../pkg/object/index.ts";
import { Renderer } from "../../pkg/render/index.ts";
import type { Means } from "./means.ts";
import type { Offline } from "./offline.ts";
import { isBuiltInClusterScoped } from "./scopes.ts";

/** What a Fleet means now, and what makes it into objects. */
export type Resolved = {
  readonly fleet: Fleet;
  readonly revision: FleetRevision;
  readonly sources: Sources;
};

/** On the hub a person reads as who they are, never as the Fleet's ServiceAccount. */
const reader = undefined;

/**
 * Resolves a Fleet as the controller would, without writing anything, and gives it to `work`. Throws
 * what the Fleet would say.
 */
export async function withResolved<T>(
  means: Means,
  fleet: Fleet,
  work: (resolved: Resolved) => Promise<T>,
): Promise<T> {
  const renderer = new Renderer();
  try {
    const sources = new Sources({ ...means, renderer });
    const spec = await sources.resolve(fleet, reader, AbortSignal.timeout(120_000));
    return await work({ fleet, revision: revisionOf(fleet, spec), sources });
  } finally {
    await renderer.close();
  }
}

/**
 * The objects that moving these members to the resolved revision would delete, named as the controller
 * names them when it asks for an approval.
 */
export function droppedOf(
  hub: KubeClient,
  { fleet, revision, sources }: Resolved,
  changes: readonly Change[],
): Promise<Dropped> {
  const { namespace = "", name } = fleet.metadata;
  const revisionNamed = async (wanted: string) =>
    wanted === revision.metadata.name
      ? revision
      : ((await hub.get(hubResources.fleetRevision, { namespace, name: wanted })) as unknown as
          | FleetRevision
          | undefined);
  const means = { fleet: { namespace, name }, as: reader, sources, revision: revisionNamed };
  return droppedBy(changes, means, AbortSignal.timeout(120_000));
}

/** What each layer is made from on this cluster, or why that is not known. Makes no identity where there is none. */
async function inputsFor(
  identities: readonly KubeObject[],
  { fleet, revision, sources }: Resolved,
  { namespace, name, context }: ClusterFacts,
): Promise<ReadonlyMap<string, LayerInputs | Problem>> {
  const ageKeys = await ageKeysOf(identities, { namespace, name });
  const of = { namespace: fleet.metadata.namespace ?? "", name: fleet.metadata.name };
  const audience = { fleet: of, as: reader, cluster: context, ageKeys };
  const inputs = revision.spec.layers.map(async (layer) => {
    try {
      const signal = AbortSignal.timeout(120_000);
      return [layer.name, await sources.load(layer, audience, signal)] as const;
    } catch (error) {
      if (!isCapitanError(error)) throw error;
      return [layer.name, { code: error.code, message: error.message }] as const;
    }
  });
  return new Map<string, LayerInputs | Problem>(await Promise.all(inputs));
}

function revisionOf({ metadata }: Fleet, spec: FleetRevisionSpec): FleetRevision {
  const { namespace = "" } = metadata;
  const name = revisionName(metadata.name, spec);
  return {
    apiVersion: "capitan.dev/v1alpha1",
    kind: "FleetRevision",
    metadata: { namespace, name },
    spec,
  };
}

/** The layers as they are to be in one cluster, by the controller's own code. */
export async function layersFor(
  { hub, workload }: { readonly hub: KubeClient; readonly workload: KubeClient },
  resolved: Resolved,
  cluster: ClusterFacts,
): Promise<readonly LayerPlan[]> {
  const { fleet, revision } = resolved;
  const identities = await identitySecretsOf(hub, cluster);
  const rendered = renderLayers(revision, await inputsFor(identities, resolved, cluster));
  const discovery = new Discovery(workload);
  const objects = rendered.flatMap((layer) => layer.objects);
  const kinds = new Map(objects.map((object) => [kindOf(object), object]));
  const scopes = await Promise.all(
    [...kinds].map(
      async ([kind, { apiVersion, kind: name }]) =>
        [kind, (await discovery.find(apiVersion, name)) ?? definedBy(objects, name)] as const,
    ),
  );
  const { namespace = "", name } = fleet.metadata;
  // Digests of Secrets are not compared here, so that any key will do.
  const placement = {
    owner: ownerOf({ namespace, name }),
    secretKey: randomBytes(32),
    isHub: isManagement(cluster),
  };
  return placeLayers(rendered, placement, new Map(scopes));
}

async function identitySecretsOf(hub: KubeClient, cluster: ClusterFacts) {
  if (isManagement(cluster)) return [];
  const { namespace, name } = cluster;
  const labelSelector = `${clusterNameLabel}=${name},${labels.ageGeneration}`;
  return (await hub.list(hubResources.secret, { namespace, labelSelector })).items;
}

/** The same from files alone: kinds that are neither built in nor brought by the Fleet count as namespaced. */
export async function offlineLayers(
  resolved: Resolved,
  { inputs }: Offline,
  cluster: ClusterFacts,
): Promise<readonly LayerPlan[]> {
  const identities = inputs.filter(
    ({ metadata }) => metadata.labels?.[labels.ageGeneration] !== undefined,
  );
  const rendered = renderLayers(resolved.revision, await inputsFor(identities, resolved, cluster));
  const objects = rendered.flatMap((layer) => layer.objects);
  const scopes = objects.map((object) => {
    const known = definedBy(objects, object.kind);
    return [kindOf(object), known ?? { namespaced: !isBuiltInClusterScoped(object) }] as const;
  });
  const { namespace = "", name } = resolved.fleet.metadata;
  const placement = {
    owner: ownerOf({ namespace, name }),
    secretKey: randomBytes(32),
    isHub: isManagement(cluster),
  };
  return placeLayers(rendered, placement, new Map(scopes));
}

/** A kind that the Fleet itself brings has no place in the cluster yet. */
function definedBy(objects: readonly KubeObject[], kind: string): KindScope {
  const definitions = objects.filter((object) => object.kind === "CustomResourceDefinition");
  for (const definition of definitions) {
    const spec = definition["spec"] as { scope?: string; names?: { kind?: string } } | undefined;
    if (spec?.names?.kind === kind) return { namespaced: spec.scope !== "Cluster" };
  }
  return undefined;
}
