import { Informer, type KubeClient } from "../../pkg/kube/index.ts";
import {
  fieldManager,
  labels,
  ownershipOf,
  type KubeObject,
  type Resource,
} from "../../pkg/object/index.ts";

/**
 * The anchor of drift: applies objects of one kind and from then on puts back what a metadata-only
 * watch says was taken, one server-side apply each. No inventory, no sequence number, no hub.
 */
export async function bareRepairs(
  client: KubeClient,
  resource: Resource,
  objects: readonly KubeObject[],
): Promise<{ readonly stop: () => Promise<void> }> {
  const wanted = new Map(objects.map((object) => [object.metadata.name, object]));
  const ownership = new Map<string, string>();
  const underWay = new Map<string, Promise<void>>();
  const apply = async (object: KubeObject) => {
    const { name } = object.metadata;
    const options = { manager: fieldManager, metadataOnly: true };
    const { metadata } = (await client.apply(resource, object, options)).object;
    ownership.set(name, ownershipOf(metadata));
    underWay.delete(name);
  };
  for (const object of objects) await apply(object);
  const stop = new AbortController();
  const informer = new Informer(client, resource, {
    labelSelector: labels.owner,
    metadataOnly: true,
    random: Math.random,
    onChange: ({ metadata }, gone) => {
      const { name } = metadata;
      const object = wanted.get(name);
      // Our own event often comes before our own reply.
      if (object === undefined || underWay.has(name)) return;
      if (gone || ownershipOf(metadata) !== ownership.get(name)) underWay.set(name, apply(object));
    },
  });
  const running = informer.run(stop.signal);
  await informer.synced;
  return {
    stop: async () => {
      await Promise.all(underWay.values());
      stop.abort();
      await running;
    },
  };
}
