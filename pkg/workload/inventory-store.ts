import { CapitanError } from "../errors/index.ts";
import { asMap, asString } from "../json/index.ts";
import {
  decodeInventory,
  emptyInventory,
  encodeInventory,
  inventoryKeyName,
  inventoryNamespace,
  Lines,
  sameEntries,
  sameIntent,
  withHeader,
  type Document,
  type Header,
  type Inventory,
  type Ledger,
} from "../inventory/index.ts";
import { ApiError, type KubeClient } from "../kube/index.ts";
import { type KubeObject } from "../object/index.ts";
import { parallel } from "../pace/index.ts";
import { coreResources } from "./resources.ts";

const { configMap, namespace, secret } = coreResources;
const labels = { "app.kubernetes.io/part-of": "capitan" };
const shardsWidth = 8;

export type InventoryStoreOptions = {
  readonly randomKey: () => Uint8Array;
  /** The name of its header; those of its shards begin with it. */
  readonly inventory: string;
};

type Decoded = ReturnType<typeof decodeInventory>;

/**
 * The inventory in the workload cluster. Each document is replaced under the resourceVersion that
 * was read, so that a second writer is noticed (409) and nothing is overwritten unseen.
 */
export class InventoryStore {
  readonly #client: KubeClient;
  readonly #randomKey: () => Uint8Array;
  readonly #lines = new Lines();
  #shards = 1;
  /** The inventory as it was last read or written completely. */
  #written = emptyInventory;
  #held = new Map<string, KubeObject>();
  /** The last one that is all in its header, which is not decoded again. */
  #short: { readonly header: KubeObject; readonly whole: Decoded } | undefined;
  readonly #name: string;
  #key: { readonly bytes: Uint8Array; stored: boolean } | undefined;

  constructor(client: KubeClient, { randomKey, inventory }: InventoryStoreOptions) {
    this.#client = client;
    this.#randomKey = randomKey;
    this.#name = inventory;
  }

  /** Reads it, always as it is in the cluster. Throws InventoryInvalid, ApiError. */
  async read(signal: AbortSignal): Promise<Ledger> {
    const known = await this.#stillThere(signal);
    this.#held = new Map(known === undefined ? [] : [[this.#name, known]]);
    const header = known ?? (await this.#get(this.#name, signal));
    this.#shards = 1;
    this.#written = emptyInventory;
    if (header === undefined) return { header: undefined, inventory: emptyInventory };
    const short = this.#short;
    const decoded = short?.header === header ? short.whole : await this.#decode(header, signal);
    this.#shards = decoded.shards;
    this.#written = decoded.inventory;
    return decoded;
  }

  async #decode(header: KubeObject, signal: AbortSignal): Promise<Decoded> {
    const shards = Number(/"shards":(\d+)/.exec(documentOf(header).data["header"] ?? "")?.[1] ?? 1);
    const names =
      shards <= 1 || shards > 256
        ? []
        : Array.from({ length: shards }, (_, i) => `${this.#name}-${shards}-${i}`);
    const found = await parallel(names, shardsWidth, (name) => this.#get(name, signal));
    const whole = decodeInventory(
      [header, ...found.filter((object) => object !== undefined)].map(documentOf),
      this.#name,
    );
    this.#short = names.length === 0 ? { header, whole } : undefined;
    return whole;
  }

  /** Throws ApiError 409 when the header is not the one last read or written here, with nothing read but its metadata. */
  async confirm(signal: AbortSignal): Promise<void> {
    if ((await this.#stillThere(signal)) !== undefined) return;
    const what = `ConfigMap ${inventoryNamespace}/${this.#name}`;
    const detail = "somebody else has written it meanwhile: it is read again";
    throw new ApiError(what, detail, { status: 409, reason: "Conflict" });
  }

  /**
   * Writes the header and, unless only what repairs have learned is new, all that has changed. True
   * when nothing is left to be written. Throws ApiError; 409 means: read again.
   */
  async storeSoon(
    ledger: { readonly header: Header; readonly inventory: Inventory },
    signal: AbortSignal,
  ): Promise<boolean> {
    const held = this.#held.get(this.#name);
    if (held === undefined || !sameIntent(ledger.inventory, this.#written)) {
      await this.store(ledger, signal);
      return true;
    }
    await this.#put(withHeader(documentOf(held), ledger.header, this.#shards), signal);
    return sameEntries(ledger.inventory, this.#written);
  }

  /** Writes what has changed, shards before the header. Throws ApiError; 409 means: read again. */
  async store(
    ledger: { readonly header: Header; readonly inventory: Inventory },
    signal: AbortSignal,
  ): Promise<void> {
    const documents = encodeInventory(ledger, this.#name, this.#shards, this.#lines);
    if (this.#held.size === 0) await this.#ensureNamespace(signal);
    await this.#storeKey(signal);
    const header = documents.at(-1);
    await parallel(documents.slice(0, -1), shardsWidth, (shard) => this.#put(shard, signal));
    if (header !== undefined) await this.#put(header, signal);
    this.#shards = Math.max(1, documents.length - 1);
    this.#written = ledger.inventory;
  }

  /**
   * The key of this cluster's digests over Secrets. It lies beside the inventory, so that whoever
   * reads the one can be kept from the other, and so that a rebuilt hub computes the same digests.
   */
  async secretKey(signal: AbortSignal): Promise<Uint8Array> {
    this.#key ??= await this.#readKey(signal);
    return this.#key.bytes;
  }

  async #readKey(signal: AbortSignal): Promise<{ bytes: Uint8Array; stored: boolean }> {
    const name = { namespace: inventoryNamespace, name: inventoryKeyName };
    const found = await this.#client.get(secret, name, { signal });
    if (found === undefined) return { bytes: this.#randomKey(), stored: false };
    const text = asString(asMap(found["data"])["key"]) ?? "";
    if (text === "") {
      const message = `Secret ${inventoryNamespace}/${inventoryKeyName} has no key: delete it, a new one is made`;
      throw new CapitanError("InventoryInvalid", message);
    }
    return { bytes: Buffer.from(text, "base64"), stored: true };
  }

  async #storeKey(signal: AbortSignal): Promise<void> {
    if (this.#key === undefined || this.#key.stored) return;
    const metadata = { namespace: inventoryNamespace, name: inventoryKeyName, labels };
    const data = { key: Buffer.from(this.#key.bytes).toString("base64") };
    const object = { apiVersion: "v1", kind: "Secret", metadata, data };
    try {
      await this.#client.create(secret, object, { signal });
      this.#key.stored = true;
    } catch (error) {
      if (!isAlreadyThere(error)) throw error;
      await this.#takeKey(this.#key.bytes, signal);
    }
  }

  /** The Secret is there: by our own create, whose reply was lost, or by somebody else, whose key counts. */
  async #takeKey(ours: Uint8Array, signal: AbortSignal): Promise<void> {
    this.#key = await this.#readKey(signal);
    if (this.#key.stored && Buffer.from(this.#key.bytes).equals(ours)) return;
    const message =
      "somebody else made the key of the inventory's digests: once more, with that one";
    throw new CapitanError("ApplyFailed", message);
  }

  /** The header, if it is the one last read or written: what has the version that is known has the content that is known. */
  async #stillThere(signal: AbortSignal): Promise<KubeObject | undefined> {
    const held = this.#held.get(this.#name);
    if (held === undefined) return undefined;
    const name = { namespace: inventoryNamespace, name: this.#name };
    const found = await this.#client.get(configMap, name, { metadataOnly: true, signal });
    const isSame =
      found !== undefined &&
      found.metadata.uid === held.metadata.uid &&
      found.metadata.resourceVersion === held.metadata.resourceVersion;
    return isSame ? held : undefined;
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
    const metadata =
      found === undefined
        ? { namespace: inventoryNamespace, name, labels }
        : {
            namespace: inventoryNamespace,
            name,
            labels: {
              ...found.metadata.labels,
              ...labels,
            },
            uid: found.metadata.uid ?? "",
            resourceVersion: found.metadata.resourceVersion ?? "",
          };
    const object: KubeObject = { apiVersion: "v1", kind: "ConfigMap", metadata, data };
    const written =
      found === undefined
        ? await this.#client.create(configMap, object, { signal })
        : await this.#client.replace(configMap, object, { metadataOnly: true, signal });
    this.#held.set(name, { ...object, metadata: written.metadata });
  }

  /** A shard that no header names yet: written by somebody who did not come to the header. */
  async #leftBehind(name: string, signal: AbortSignal): Promise<KubeObject | undefined> {
    if (name === this.#name) return undefined;
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
      if (!isAlreadyThere(error)) throw error;
    }
  }
}

const isAlreadyThere = (error: unknown) =>
  error instanceof ApiError && error.reason === "AlreadyExists";

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
