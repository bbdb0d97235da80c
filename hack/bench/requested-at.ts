import { asMap } from "../../pkg/json/index.ts";
import { Informer, type KubeClient } from "../../pkg/kube/index.ts";
import { annotations, type Resource } from "../../pkg/object/index.ts";

const passMs = 300_000;

/** Objects of one kind in one namespace. */
export type Asked = { readonly namespace: string; readonly names: readonly string[] };

/**
 * Asks for a pass over objects by Flux's annotation `reconcile.fluxcd.io/requestedAt`, all at once,
 * and returns, by watching, when each of them says in its status that it has been handled. Gives the
 * milliseconds from the first request.
 */
export async function askAll(
  hub: KubeClient,
  resource: Resource,
  { namespace, names }: Asked,
): Promise<number> {
  const requestedAt = new Date().toISOString();
  const missing = new Set(names);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const stop = new AbortController();
  const informer = new Informer(hub, resource, {
    namespace,
    random: Math.random,
    onChange: ({ metadata, ...object }) => {
      if (asMap(object["status"])["lastHandledReconcileAt"] === requestedAt)
        missing.delete(metadata.name);
      if (missing.size === 0) resolve();
    },
  });
  const running = informer.run(stop.signal);
  await informer.synced;
  const late = () => reject(new Error(`not handled: ${[...missing].join(", ")}`));
  const timer = setTimeout(late, passMs);
  const startedMs = performance.now();
  try {
    const asked = { [annotations.requestedAt]: requestedAt };
    const ask = (name: string) =>
      hub.mergePatch(
        resource,
        { namespace, name },
        { metadata: { annotations: asked } },
        { metadataOnly: true },
      );
    await Promise.all(names.map(ask));
    await promise;
    return performance.now() - startedMs;
  } finally {
    clearTimeout(timer);
    stop.abort();
    await running;
  }
}
