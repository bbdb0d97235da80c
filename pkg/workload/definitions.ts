import { isBarrier, type Mirror } from "../drift/index.ts";
import {
  planDefinition,
  type DesiredObject,
  type Migration,
  type Problem,
} from "../engine/index.ts";
import { isConflict, isNotFound, type KubeClient } from "../kube/index.ts";
import { atVersion } from "../drift/index.ts";
import type { KubeObject, Resource } from "../object/index.ts";
import { parallel } from "../pace/index.ts";
import { coreResources } from "./resources.ts";

/** Stored objects that are rewritten at once. */
const width = 8;
const triesMax = 5;

/**
 * What must happen before these CRDs are applied: objects stored at a version that is dropped must
 * be rewritten, else the API server refuses (422). A CRD that drops the version in which objects are
 * written now would lose them: DowngradeRefused, before anything of the batch is applied.
 */
export async function planDefinitions(
  client: KubeClient,
  objects: readonly DesiredObject[],
  mirror: Mirror,
  signal: AbortSignal,
): Promise<{ readonly migrations: readonly Migration[] } | { readonly problem: Problem }> {
  const changed = objects.filter(
    ({ key, object }) =>
      isBarrier(object) && object.kind !== "Namespace" && mirror.get(key) !== undefined,
  );
  const plans = await parallel(changed, width, async ({ object }) => {
    const live = await client.get(coreResources.definition, object.metadata, { signal });
    return live === undefined ? undefined : planDefinition(live, object);
  });
  const refused = plans.find((plan) => plan !== undefined && "problem" in plan);
  if (refused !== undefined && "problem" in refused) return refused;
  return {
    migrations: plans.flatMap((plan) => (plan !== undefined && "dropped" in plan ? [plan] : [])),
  };
}

/**
 * Writes every object of the kind again, as it is: the API server stores it at the version of today.
 * Then says in the CRD's status that nothing else is stored. Resumable at any point.
 */
export async function migrate(
  client: KubeClient,
  { definition, resource, dropped }: Migration,
  signal: AbortSignal,
): Promise<void> {
  const { items } = await client.list(resource, { metadataOnly: true, signal });
  await parallel(items, width, ({ metadata }) =>
    rewrite(client, resource, { metadata, dropped, signal }),
  );
  const { name, resourceVersion } = definition.metadata;
  const patch = { metadata: { resourceVersion }, status: { storedVersions: [resource.version] } };
  await client.mergePatch(coreResources.definition, { name }, patch, {
    subresource: "status",
    signal,
  });
}

async function rewrite(
  client: KubeClient,
  resource: Resource,
  {
    metadata,
    dropped,
    signal,
  }: { metadata: KubeObject["metadata"]; dropped: ReadonlySet<string>; signal: AbortSignal },
): Promise<void> {
  const group = `${resource.group}/`;
  const isGone = (apiVersion: string) =>
    apiVersion.startsWith(group) && dropped.has(apiVersion.slice(group.length));
  for (let tries = 1; ; tries++) {
    const live = await client.get(resource, metadata, { signal });
    if (live === undefined) return;
    // Ownership entries at a version that is not served block every later apply.
    const managedFields = atVersion(live.metadata, `${group}${resource.version}`, isGone);
    const next =
      managedFields === undefined
        ? live
        : { ...live, metadata: { ...live.metadata, managedFields } };
    try {
      await client.replace(resource, next, { signal });
      return;
    } catch (error) {
      if (isNotFound(error)) return;
      if (!isConflict(error) || tries >= triesMax) throw error;
    }
  }
}
