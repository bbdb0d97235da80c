import { CapitanError } from "../errors/index.ts";
import { asMap, asString } from "../json/index.ts";
import { type KubeObject } from "../object/index.ts";
import { isConflict, type KubeClient } from "../kube/index.ts";
import { hubResources } from "../api/index.ts";

const name = "capitan-hub-key";

/**
 * The hub's key for HMACs over secret content in inventories. Made once: whoever creates the Secret
 * first decides, others read it. It moves with `clusterctl move`.
 */
export async function ensureHubKey(
  client: KubeClient,
  namespace: string,
  random: () => Uint8Array,
): Promise<Uint8Array> {
  const found = await client.get(hubResources.secret, { namespace, name });
  if (found !== undefined) return keyOf(found);
  const metadata = {
    namespace,
    name,
    labels: { "app.kubernetes.io/part-of": "capitan", "clusterctl.cluster.x-k8s.io/move": "" },
  };
  const data = { key: Buffer.from(random()).toString("base64") };
  try {
    return keyOf(
      await client.create(hubResources.secret, {
        apiVersion: "v1",
        kind: "Secret",
        type: "Opaque",
        immutable: true,
        metadata,
        data,
      }),
    );
  } catch (error) {
    if (!isConflict(error)) throw error;
    return ensureHubKey(client, namespace, random);
  }
}

function keyOf(secret: KubeObject): Uint8Array {
  const key = Buffer.from(asString(asMap(secret["data"])["key"]) ?? "", "base64");
  if (key.length >= 32) return key;
  const what = `Secret ${secret.metadata.namespace ?? ""}/${secret.metadata.name}`;
  throw new CapitanError("SecretInvalid", `${what} has no key of 32 bytes`);
}
