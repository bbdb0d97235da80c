import { isEstablished } from "../drift/index.ts";
import { type KubeClient } from "../kube/index.ts";
import { idOf, keyOf, labels, parseKey, type KubeObject, type Resource } from "../object/index.ts";
import { coreResources } from "./resources.ts";

const deadlineMs = 15_000;

/** Waits, by watching, until CRDs are Established and Namespaces Active; gives the keys of those that are. */
export async function awaitEstablished(
  client: KubeClient,
  keys: readonly string[],
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(deadlineMs)]);
  const results = await Promise.all(
    [coreResources.definition, coreResources.namespace].map((resource) => {
      const names = keys
        .map(parseKey)
        .filter((id) => id?.kind === resource.kind)
        .map((id) => id?.name ?? "");
      return awaitKind(client, resource, new Set(names), deadline);
    }),
  );
  return new Set(results.flat());
}

async function awaitKind(
  client: KubeClient,
  resource: Resource,
  names: ReadonlySet<string>,
  deadline: AbortSignal,
): Promise<readonly string[]> {
  const done = new Map<string, string>();
  const see = (object: KubeObject) => {
    if (names.has(object.metadata.name) && isEstablished(object))
      done.set(object.metadata.name, keyOf(idOf(object)));
  };
  if (names.size === 0) return [];
  const { items, resourceVersion } = await client.list(resource, {
    labelSelector: labels.owner,
    signal: deadline,
  });
  items.forEach(see);
  if (done.size === names.size) return [...done.values()];
  try {
    const events = client.watch(resource, {
      labelSelector: labels.owner,
      resourceVersion,
      idleMs: deadlineMs,
      timeoutSeconds: 60,
      signal: deadline,
    });
    for await (const event of events) {
      if (event.type === "BOOKMARK") continue;
      see(event.object);
      if (done.size === names.size) break;
    }
  } catch (error) {
    if (!deadline.aborted) throw error;
  }
  return [...done.values()];
}
