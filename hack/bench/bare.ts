import { isEstablished } from "../../pkg/drift/index.ts";
import { Informer, type KubeClient } from "../../pkg/kube/index.ts";
import { stageOf } from "../../pkg/object/index.ts";
import { resources } from "../lab/resources.ts";
import type { Contender } from "./contender.ts";
import { clientFor, type Ground, type Run, type Target } from "./ground.ts";

const establishedMs = 60_000;

/** Requests under way at once in each cluster, of which the best is the anchor. */
export const concurrencies = [4, 16, 64] as const;

/**
 * The anchor: Capitan's own client sends the same objects by server-side apply, with no logic. Each
 * cluster's definitions, Namespaces and ClusterRoles go first; when the definitions are Established,
 * everything else. No discovery, no inventory, no check, no status.
 */
export function bareApply(ground: Ground, concurrency: number): Contender {
  let clients: readonly KubeClient[] = [];
  const isFirst = ({ object }: Target) => stageOf(object) === 0;
  const first = ground.targets.filter(isFirst);
  const rest = ground.targets.filter((target) => !isFirst(target));
  const apply = async (client: KubeClient) => {
    await applyAll(client, first, concurrency);
    await established(client, first);
    await applyAll(client, rest, concurrency);
  };
  return {
    name: `bare apply, ${concurrency} at once`,
    prepare: async ({ clusters }: Run) => {
      clients = await Promise.all(clusters.map((cluster) => clientFor(ground.hub, cluster)));
    },
    install: async () => {
      await Promise.all(clients.map(apply));
      await Promise.all(clients.map((client) => client.close()));
    },
    remove: async () => undefined,
  };
}

async function applyAll(
  client: KubeClient,
  targets: readonly Target[],
  concurrency: number,
): Promise<void> {
  const waiting = [...targets];
  const worker = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift())
      await client.apply(next.resource, next.object, { manager: "bare", metadataOnly: true });
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}

/** Waits, by watching, until all definitions are Established. */
async function established(client: KubeClient, targets: readonly Target[]): Promise<void> {
  const isDefinition = ({ resource }: Target) => resource.kind === resources.crd.kind;
  const missing = new Set(targets.filter(isDefinition).map(({ object }) => object.metadata.name));
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const stop = new AbortController();
  const late = () => reject(new Error(`not Established: ${[...missing].join(", ")}`));
  const timer = setTimeout(late, establishedMs);
  const informer = new Informer(client, resources.crd, {
    random: Math.random,
    onChange: (object) => {
      if (isEstablished(object)) missing.delete(object.metadata.name);
      if (missing.size === 0) resolve();
    },
  });
  const running = informer.run(stop.signal);
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    stop.abort();
    await running;
  }
}
