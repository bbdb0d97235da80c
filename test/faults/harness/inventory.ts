import {
  decodeInventory,
  inventoryNamespace,
  type Inventory,
} from "../../../pkg/inventory/index.ts";
import { asMap } from "../../../pkg/json/index.ts";
import type { KubeClient } from "../../../pkg/kube/index.ts";
import { resources } from "../../harness/index.ts";

/** The inventory as it is in a workload cluster. */
export async function inventoryOf(client: KubeClient): Promise<Inventory> {
  const { items } = await client.list(resources.configMap, { namespace: inventoryNamespace });
  const documents = items.map(({ metadata, ...object }) => ({
    name: metadata.name,
    data: asMap(object["data"]) as Readonly<Record<string, string>>,
  }));
  return decodeInventory(documents).inventory;
}
