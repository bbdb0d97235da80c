import { randomBytes } from "node:crypto";
import {
  hubResources,
  type Fleet,
  type FleetRevision,
  type FleetRevisionSpec,
} from "../../pkg/api/index.ts";
import { isCapitanError } from "../../pkg/errors/index.ts";
import { Sources, type Repositories } from "../../pkg/controllers/index.ts";
import {
  placeLayers,
  renderLayers,
  type KindScope,
  type LayerInputs,
  type LayerPlan,
} from "../../pkg/engine/index.ts";
import { ownerOf, revisionName } from "../../pkg/fleet/index.ts";
import { GitRepository, PackCache } from "../../pkg/git/index.ts";
import { Discovery, type KubeClient } from "../../pkg/kube/index.ts";
import { kindOf, type KubeObject } from "../../pkg/object/index.ts";
import { parseDockerConfig } from "../../pkg/distribution/index.ts";
import { ArtifactCache, RegistryClient } from "../../pkg/registry/index.ts";
import { cacheDirectory } from "./cache-directory.ts";

/** What a Fleet means now, with everything that rendering it needs. */
export type Resolved = {
  readonly revision: FleetRevision;
  readonly inputs: ReadonlyMap<string, LayerInputs>;
  readonly sources: Sources;
};

/** Resolves a Fleet as the controller would, without writing anything. Throws what the Fleet would say. */
export async function resolveFleet(hub: KubeClient, fleet: Fleet): Promise<Resolved> {
  const sources = sourcesOf(hub);
  const signal = AbortSignal.timeout(120_000);
  const spec = await sources.resolve(fleet, signal);
  const namespace = fleet.metadata.namespace ?? "";
  const inputs = await Promise.all(
    spec.layers.map(
      async (layer) => [layer.name, await sources.load(namespace, layer, signal)] as const,
    ),
  );
  return { revision: revisionOf(fleet, spec), inputs: new Map(inputs), sources };
}

/**
 * The objects that moving a member from a revision to the resolved one would delete, named as the
 * controller names them when it asks for an approval.
 */
export async function droppedSince(
  hub: KubeClient,
  { revision, sources }: Resolved,
  revisions: readonly string[],
): Promise<(from: string) => readonly string[]> {
  const { namespace = "", name: current } = revision.metadata;
  const kept = new Set((await layerKeys(sources, revision)).flatMap(({ keys }) => keys));
  const older = [...new Set(revisions)].filter((name) => name !== current);
  const dropped = older.map(async (name) => {
    const found = await hub.get(hubResources.fleetRevision, { namespace, name });
    if (found === undefined) return [name, []] as const;
    try {
      const layers = await layerKeys(sources, found as unknown as FleetRevision);
      const deleted = layers.filter(({ policy }) => policy === "Delete");
      return [name, deleted.flatMap(({ keys }) => keys).filter((key) => !kept.has(key))] as const;
    } catch (error) {
      if (!isCapitanError(error)) throw error;
      return [name, [`unknown objects of revision ${name}`]] as const;
    }
  });
  const found = new Map<string, readonly string[]>(await Promise.all(dropped));
  return (from) => found.get(from) ?? [];
}

function layerKeys(sources: Sources, { metadata, spec }: FleetRevision) {
  const signal = AbortSignal.timeout(120_000);
  return Promise.all(
    spec.layers.map(async (layer) => ({
      keys: await sources.keys(metadata.namespace ?? "", layer, signal),
      policy: layer.deletionPolicy,
    })),
  );
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
  workload: KubeClient,
  fleet: Fleet,
  { revision, inputs }: Resolved,
): Promise<readonly LayerPlan[]> {
  const rendered = renderLayers(revision, inputs);
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
  const placement = { owner: ownerOf({ namespace, name }), secretKey: randomBytes(32) };
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

function sourcesOf(hub: KubeClient): Sources {
  const cache = new ArtifactCache(cacheDirectory(), () => undefined);
  const repositories: Repositories = (reference, { insecure, ca, dockerConfig }) => {
    const login =
      dockerConfig === undefined
        ? undefined
        : parseDockerConfig(dockerConfig.text, dockerConfig.what);
    const registry = new RegistryClient(reference, { insecure, ca, login });
    return {
      resolve: (tag, signal) => registry.resolve(tag, signal),
      tags: (signal) => registry.tags(signal),
      pull: (digest, signal) => registry.pull(digest, cache, signal),
      close: () => registry.close(),
    };
  };
  const secrets = {
    secret: (name: { namespace: string; name: string }, signal: AbortSignal) =>
      hub.get(hubResources.secret, name, { signal }),
  };
  const packs = new PackCache(cacheDirectory(), () => undefined);
  return new Sources(
    secrets,
    repositories,
    (location, access) => new GitRepository(location, { ...access, cache: packs }),
  );
}
