import { asMap } from "../json/index.ts";
import { type KubeObject } from "../object/index.ts";
import {
  decodeInventory,
  emptyInventory,
  encodeInventory,
  inventoryName,
  inventoryNamespace,
  type Document,
  type Inventory,
} from "../inventory/index.ts";
import { ApiError, type KubeClient } from "../kube/index.ts";
import { type Resource } from "../object/index.ts";

const configMap: Resource = {
  group: "",
  version: "v1",
  kind: "ConfigMap",
  plural: "configmaps",
  namespaced: true,
};
const namespace: Resource = {
  group: "",
  version: "v1",
  kind: "Namespace",
  plural: "namespaces",
  namespaced: false,
};
const labels = { "app.kubernetes.io/part-of": "capitan" };

/**
 * The inventory in the workload cluster. Each document is replaced under the resourceVersion that
 * was read, so that a second writer is noticed (409) and nothing is overwritten unseen.
 */
export class InventoryStore {
  readonly #client: KubeClient;
  #shards = 1;
  #held = new Map<string, KubeObject>();

  constructor(client: KubeClient) {
    this.#client = client;
  }

  /** Reads it, always from the cluster. Throws InventoryInvalid, ApiError. */
  async read(signal: AbortSignal): Promise<Inventory> {
    this.#held = new Map();
    const header = await this.#get(inventoryName, signal);
    this.#shards = 1;
    if (header === undefined) return emptyInventory;
    const shards = Number(/"shards":(\d+)/.exec(documentOf(header).data["header"] ?? "")?.[1] ?? 1);
    const names =
      shards <= 1 || shards > 64
        ? []
        : Array.from({ length: shards }, (_, i) => `${inventoryName}-${shards}-${i}`);
    const found = await Promise.all(names.map((name) => this.#get(name, signal)));
    const decoded = decodeInventory(
      [header, ...found.filter((object) => object !== undefined)].map(documentOf),
    );
    this.#shards = decoded.shards;
    return decoded.inventory;
  }

  /** Writes what has changed, shards before the header. Throws ApiError; 409 means: read again. */
  async store(inventory: Inventory, signal: AbortSignal): Promise<void> {
    const documents = encodeInventory(inventory, this.#shards);
    if (this.#held.size === 0) await this.#ensureNamespace(signal);
    for (const document of documents) await this.#put(document, signal);
    this.#shards = Math.max(1, documents.length - 1);
  }

  async #get(name: string, signal: AbortSignal): Promise<KubeObject | undefined> {
    const object = await this.#client.get(
      configMap,
      { namespace: inventoryNamespace, name },
      { signal },
    );
    if (object !== undefined) this.#held.set(name, object);
    return object;
  }

  async #put({ name, data }: Document, signal: AbortSignal): Promise<void> {
    const held = this.#held.get(name);
    if (held !== undefined && sameData(documentOf(held).data, data)) return;
    const found = held ?? (await this.#leftBehind(name, signal));
    const metadata = found?.metadata ?? { namespace: inventoryNamespace, name, labels };
    const object: KubeObject = { apiVersion: "v1", kind: "ConfigMap", metadata, data };
    const written =
      found === undefined
        ? await this.#client.create(configMap, object, { signal })
        : await this.#client.replace(configMap, object, { signal });
    this.#held.set(name, written);
  }

  /** A shard that no header names yet: written by somebody who did not come to the header. */
  async #leftBehind(name: string, signal: AbortSignal): Promise<KubeObject | undefined> {
    if (name === inventoryName) return undefined;
    return this.#client.get(configMap, { namespace: inventoryNamespace, name }, { signal });
  }

  async #ensureNamespace(signal: AbortSignal): Promise<void> {
    try {
      await this.#client.create(
        namespace,
        { apiVersion: "v1", kind: "Namespace", metadata: { name: inventoryNamespace, labels } },
        { signal },
      );
    } catch (error) {
      if (!(error instanceof ApiError) || error.reason !== "AlreadyExists") throw error;
    }
  }
}

function documentOf(object: KubeObject): Document {
  const data = Object.entries(asMap(object["data"])).filter(
    (e): e is [string, string] => typeof e[1] === "string",
  );
  return { name: object.metadata.name, data: Object.fromEntries(data) };
}

function sameData(a: Document["data"], b: Document["data"]): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}
