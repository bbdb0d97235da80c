import { CapitanError } from "../errors/index.ts";
import { asMap, asString } from "../json/index.ts";
import { annotations, labels, type KubeObject } from "../object/index.ts";
import { parseIdentities, type Identity, type NewIdentity } from "../sops/index.ts";
import type { Actor, Named } from "./ports.ts";
import { nameOfSecret, secretText } from "./secrets.ts";

/** A cluster's age identities as its Flux gets them: base64 by key, and which state of the hub's Secrets that is. */
export type AgeKeys = {
  readonly data: Readonly<Record<string, string>>;
  readonly version: string;
  /** Recipients of the generations that are in use, and of those that end or have ended. */
  readonly recipients: { readonly used: readonly string[]; readonly ended: readonly string[] };
};

export type IdentityHub = {
  /** The Secrets with the cluster's label for age identities, from the API server itself, as this user. */
  identitySecrets(as: Actor, cluster: Named, signal: AbortSignal): Promise<readonly KubeObject[]>;
  /** All of a namespace, by the name of their cluster, from the API server itself, as the controller. */
  identitySecretsIn(
    namespace: string,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, readonly KubeObject[]>>;
  /** False when one of this name is there already. */
  createSecret(as: Actor, secret: KubeObject, signal: AbortSignal): Promise<boolean>;
};

/** What a cluster has in its Secret of identities: base64 by key; undefined when there is none. */
export type Planted = Readonly<Record<string, string>> | undefined;

/** Where a cluster's Flux finds its identities; `ageKeysSecret` of the engine makes it. */
export const plantedName = { namespace: "flux-system", name: "sops-age" } as const;

/** The key of an identity's Secret. */
const identityKey = "identity";
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

  /** Every generation of each cluster that has any, retired ones too. Throws SecretInvalid, IdentityInvalid. */
  async all(
    namespace: string,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, readonly AgeGeneration[]>> {
    const secrets = await this.#hub.identitySecretsIn(namespace, signal);
    const found = Array.from(
      secrets,
      async ([name, own]) => [name, await generationsIn(own, { name })] as const,
    );
    return new Map(await Promise.all(found));
  }

  /** Makes a generation; when somebody was faster, theirs counts. */
  async create(cluster: Named, generation: number, signal: AbortSignal): Promise<void> {
    await this.#hub.createSecret(
      undefined,
      identitySecret(cluster, generation, this.#newIdentity()),
      signal,
    );
  }

  /** Says for good what has become of a generation. Its Secret stays as it is. */
  async mark(
    cluster: Named,
    generation: number,
    state: AgeMark,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#hub.createSecret(undefined, markSecret(cluster, generation, state), signal);
  }

  /**
   * All identities of a cluster, read as this user; the first is made where there is none. `planted` is what the cluster
   * has of them: what the hub has lost is never taken from it, it may be the last copy. Throws
   * SecretInvalid, IdentityInvalid, IdentityLost.
   */
  async of(
    cluster: Named,
    { as, planted }: { readonly as: Actor; readonly planted: Planted },
    signal: AbortSignal,
  ): Promise<AgeKeys> {
    const held = await this.#hub.identitySecrets(as, cluster, signal);
    const marks = marksIn(held, cluster);
    if (held.some((secret) => generationOf(secret, cluster) !== undefined)) {
      const keys = await ageKeysOf(held, cluster);
      await refuseLost(cluster, keys.data, { planted, marks });
      return keys;
    }
    await refuseLost(cluster, {}, { planted, marks });
    // Whoever was faster has made it: what is there then counts.
    const first = Math.max(0, ...marks.keys()) + 1;
    await this.#hub.createSecret(as, identitySecret(cluster, first, this.#newIdentity()), signal);
    const keys = await ageKeysOf(await this.#hub.identitySecrets(as, cluster, signal), cluster);
    if (Object.keys(keys.data).length > 0) return keys;
    const name = `${cluster.namespace}/${cluster.name}-age-${first}`;
    const message = `Secret ${name} is there, but without the labels of an age identity`;
    throw new CapitanError("SecretInvalid", message);
  }
}

/** Refuses to withdraw or replace an identity that only the cluster has. Throws IdentityLost. */
async function refuseLost(
  cluster: Named,
  data: AgeKeys["data"],
  { planted, marks }: { readonly planted: Planted; readonly marks: Marks },
): Promise<void> {
  for (const [key, value] of Object.entries(planted ?? {})) {
    const isRetired = marks.get(Number(key.replace(/\.agekey$/, ""))) === "retired";
    const isKept = !key.endsWith(".agekey") || data[key] === value || isRetired;
    if (isKept || !(await isIdentity(value))) continue;
    const secret = `${cluster.namespace}/${cluster.name}-age-${key.replace(/\.agekey$/, "")}`;
    const message = `the cluster has the age identity ${key} in Secret ${plantedName.namespace}/${plantedName.name}, and Secret ${secret} on the hub is gone or holds another one: restore it`;
    throw new CapitanError("IdentityLost", message);
  }
}

async function isIdentity(base64: string): Promise<boolean> {
  const text = Buffer.from(base64, "base64").toString("utf8");
  return parseIdentities(text, "").then(
    () => true,
    () => false,
  );
}

/** The Secret of one generation. */
export function identitySecret(
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

/** What has become of a generation that is not used as before. */
export type AgeMark = "ending" | "retired";
type Marks = ReadonlyMap<number, AgeMark>;

/** The Secret that marks a generation. Another one, so that nobody needs the right to write on the first. */
function markSecret({ namespace, name }: Named, generation: number, state: AgeMark): KubeObject {
  const metadata = {
    namespace,
    name: `${name}-age-${generation}-${state}`,
    labels: {
      "cluster.x-k8s.io/cluster-name": name,
      [labels.ageGeneration]: String(generation),
      "clusterctl.cluster.x-k8s.io/move": "",
    },
    annotations: { [annotations.ageState]: state },
  };
  return { apiVersion: "v1", kind: "Secret", type: "Opaque", immutable: true, metadata, data: {} };
}

/** The marks among a cluster's Secrets; retired is the last word. */
function marksIn(secrets: readonly KubeObject[], { name }: { readonly name: string }): Marks {
  const marks = new Map<number, AgeMark>();
  for (const { metadata } of secrets) {
    const state = metadata.annotations?.[annotations.ageState];
    const generation = Number(metadata.labels?.[labels.ageGeneration]);
    if (state !== "ending" && state !== "retired") continue;
    if (metadata.name !== `${name}-age-${generation}-${state}`) continue;
    if (marks.get(generation) !== "retired") marks.set(generation, state);
  }
  return marks;
}

/** One generation of a cluster's identity. */
export type AgeGeneration = {
  readonly generation: number;
  readonly identity: Identity;
  readonly state: "active" | AgeMark;
  readonly createdMs: number;
};

/** The generations in a cluster's Secrets, oldest first. Throws SecretInvalid, IdentityInvalid. */
export async function generationsIn(
  secrets: readonly KubeObject[],
  cluster: { readonly name: string },
): Promise<readonly AgeGeneration[]> {
  const marks = marksIn(secrets, cluster);
  const found = secrets.map(async (secret): Promise<readonly AgeGeneration[]> => {
    const generation = generationOf(secret, cluster);
    if (generation === undefined) return [];
    const state = marks.get(generation) ?? "active";
    const createdMs = Date.parse(secret.metadata.creationTimestamp ?? "") || 0;
    const identities = await identitiesOf(secret);
    return identities.map((identity) => ({ generation, identity, state, createdMs }));
  });
  return (await Promise.all(found)).flat().sort((a, b) => a.generation - b.generation);
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

/** The identities in one Secret of a cluster. Throws SecretInvalid, IdentityInvalid. */
export function identitiesOf(secret: KubeObject): Promise<readonly Identity[]> {
  return parseIdentities(secretText(secret, identityKey), nameOfSecret(secret));
}

/** What a cluster's Flux gets of its identities: all but the retired ones. Throws SecretInvalid, IdentityInvalid. */
export async function ageKeysOf(secrets: readonly KubeObject[], cluster: Named): Promise<AgeKeys> {
  const marks = marksIn(secrets, cluster);
  const found = secrets.flatMap((secret) => {
    const generation = generationOf(secret, cluster);
    const isUsed = generation !== undefined && marks.get(generation) !== "retired";
    return isUsed ? [{ secret, generation }] : [];
  });
  const generations = await generationsIn(secrets, cluster);
  const recipientsOf = (isUsed: boolean) =>
    generations.flatMap(({ state, identity }) =>
      (state === "active") === isUsed ? [identity.recipient] : [],
    );
  const recipients = { used: recipientsOf(true), ended: recipientsOf(false) };
  const sorted = found.sort((a, b) => a.generation - b.generation);
  const data = sorted.map(async ({ secret, generation }) => {
    // One line that Flux cannot read spoils every Kustomization of the cluster.
    await identitiesOf(secret);
    return [`${generation}.agekey`, asString(asMap(secret["data"])[identityKey]) ?? ""] as const;
  });
  const version = sorted
    .map(({ secret: { metadata } }) => `${metadata.uid ?? ""}/${metadata.resourceVersion ?? ""}`)
    .join(" ");
  return { data: Object.fromEntries(await Promise.all(data)), version, recipients };
}
