import { asMap, asString } from "../json/index.ts";
import { annotations, labels, type KubeObject } from "../object/index.ts";
import { parseIdentities, type NewIdentity } from "../sops/index.ts";
import type { Named } from "./ports.ts";
import { nameOfSecret, secretText } from "./secrets.ts";

/** A cluster's age identities as its Flux gets them: base64 by key, and which state of the hub's Secrets that is. */
export type AgeKeys = {
  readonly data: Readonly<Record<string, string>>;
  readonly version: string;
};

export type IdentityHub = {
  /** The Secrets with the cluster's label for age identities, from the API server itself. */
  identitySecrets(cluster: Named, signal: AbortSignal): Promise<readonly KubeObject[]>;
  /** False when one of this name is there already. */
  createSecret(secret: KubeObject, signal: AbortSignal): Promise<boolean>;
};

/** The key of an identity's Secret. */
const identityKey = "identity";
const firstGeneration = 1;

/**
 * The age identities of clusters: one immutable Secret `<cluster>-age-<generation>` each, beside the
 * Cluster, without an owner, never overwritten and never deleted by us.
 */
export class Identities {
  readonly #hub: IdentityHub;
  readonly #newIdentity: () => NewIdentity;

  constructor(hub: IdentityHub, newIdentity: () => NewIdentity) {
    this.#hub = hub;
    this.#newIdentity = newIdentity;
  }

  /** All identities of a cluster; the first is made where there is none. Throws SecretInvalid. */
  async of(cluster: Named, signal: AbortSignal): Promise<AgeKeys> {
    const held = await this.#hub.identitySecrets(cluster, signal);
    if (held.some((secret) => generationOf(secret, cluster) !== undefined))
      return ageKeysOf(held, cluster);
    // Whoever was faster has made it: what is there then counts.
    await this.#hub.createSecret(
      identitySecret(cluster, firstGeneration, this.#newIdentity()),
      signal,
    );
    return ageKeysOf(await this.#hub.identitySecrets(cluster, signal), cluster);
  }
}

/** The Secret of one generation. */
function identitySecret(
  { namespace, name }: Named,
  generation: number,
  { identity, recipient }: NewIdentity,
): KubeObject {
  const metadata = {
    namespace,
    name: `${name}-age-${generation}`,
    labels: {
      "cluster.x-k8s.io/cluster-name": name,
      [labels.ageGeneration]: String(generation),
      "clusterctl.cluster.x-k8s.io/move": "",
    },
    annotations: { [annotations.recipient]: recipient },
  };
  const data = { [identityKey]: Buffer.from(`${identity}\n`).toString("base64") };
  return { apiVersion: "v1", kind: "Secret", type: "Opaque", immutable: true, metadata, data };
}

/** The generation of an identity's Secret; undefined when it is none of this cluster. */
export function generationOf(
  { metadata }: KubeObject,
  { name }: { readonly name: string },
): number | undefined {
  const said = metadata.labels?.[labels.ageGeneration] ?? "";
  const generation = /^[1-9][0-9]{0,8}$/.test(said) ? Number(said) : undefined;
  return metadata.name === `${name}-age-${said}` ? generation : undefined;
}

/** What a cluster's Flux gets of its identities. Throws SecretInvalid, IdentityInvalid. */
export async function ageKeysOf(secrets: readonly KubeObject[], cluster: Named): Promise<AgeKeys> {
  const found = secrets.flatMap((secret) => {
    const generation = generationOf(secret, cluster);
    return generation === undefined ? [] : [{ secret, generation }];
  });
  const sorted = found.sort((a, b) => a.generation - b.generation);
  const data = sorted.map(async ({ secret, generation }) => {
    // One line that Flux cannot read spoils every Kustomization of the cluster.
    await parseIdentities(secretText(secret, identityKey), nameOfSecret(secret));
    return [`${generation}.agekey`, asString(asMap(secret["data"])[identityKey]) ?? ""] as const;
  });
  const version = sorted.map(({ secret }) => secret.metadata.uid ?? "").join(" ");
  return { data: Object.fromEntries(await Promise.all(data)), version };
}
