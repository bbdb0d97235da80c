import { clusterNameLabel } from "../capi/index.ts";
import { CapitanError } from "../errors/index.ts";
import { createdMsOf } from "../fleet/index.ts";
import { asMap, asString } from "../json/index.ts";
import { annotations, labels, type KubeObject } from "../object/index.ts";
import { parseIdentities, type Identity, type NewIdentity } from "../sops/index.ts";
import type { Actor, Holder, Named, Secrets } from "./ports.ts";
import { nameOfSecret, secretText } from "./secrets.ts";

/** A cluster's age identities as its Flux gets them: base64 by key, and which state of the hub's Secrets that is. */
export type AgeKeys = {
  readonly data: Readonly<Record<string, string>>;
  readonly version: string;
  /** Recipients of the generations that are in use, and of those that end or have ended. */
  readonly recipients: { readonly used: readonly string[]; readonly ended: readonly string[] };
};

export type IdentityHub = Pick<Secrets, "identitySecrets"> & {
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
 * Cluster, without an owner, never overwritten and never deleted by us. Those of the manager are kept
 * in the same way, but for the first.
 */
export class Identities {
  readonly #hub: IdentityHub;
  readonly #newIdentity: MakeIdentity;

  constructor(hub: IdentityHub, newIdentity: MakeIdentity) {
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

  /** Makes a generation, of the kind of the one before; when somebody was faster, theirs counts. Throws SecretInvalid. */
  async create(
    holder: Holder,
    { generation, before }: { readonly generation: number; readonly before: string },
    signal: AbortSignal,
  ): Promise<void> {
    const made = await this.#newIdentity(isPostQuantum(before));
    await this.#store(holder, identitySecret(holder, generation, made), signal);
  }

  /** Says for good what has become of a generation. Its Secret stays as it is. Throws SecretInvalid. */
  mark(holder: Holder, generation: number, state: AgeMark, signal: AbortSignal): Promise<void> {
    return this.#store(holder, markSecret(holder, generation, state), signal);
  }

  /** Creates a Secret; one of its name that is none of the holder's is in the way. */
  async #store(holder: Holder, secret: KubeObject, signal: AbortSignal): Promise<void> {
    if (await this.#hub.createSecret(undefined, secret, signal)) return;
    const held = await this.#hub.identitySecrets(undefined, holder, signal);
    if (held.some(({ metadata }) => metadata.name === secret.metadata.name)) return;
    throw inTheWay(secret.metadata.name, holder);
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
    const made = await this.#newIdentity(false);
    await this.#hub.createSecret(as, identitySecret(cluster, first, made), signal);
    const keys = await ageKeysOf(await this.#hub.identitySecrets(as, cluster, signal), cluster);
    if (Object.keys(keys.data).length > 0) return keys;
    throw inTheWay(`${cluster.name}-age-${first}`, cluster);
  }
}

const inTheWay = (name: string, { namespace, name: whose }: Holder) =>
  new CapitanError(
    "SecretInvalid",
    `Secret ${namespace}/${name} is there, but without the labels of an age identity of ${whose}`,
  );

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

/** A new identity, and when it was made. */
export type MadeIdentity = NewIdentity & { readonly created: Date };
type MakeIdentity = (isPostQuantum: boolean) => Promise<MadeIdentity>;

/** Whether a recipient is of the kind that a quantum computer does not open. */
export const isPostQuantum = (recipient: string): boolean => recipient.startsWith("age1pq1");

/** The label that says whose identity a Secret holds. */
const holderLabel = ({ isManager = false }: Pick<Holder, "isManager">) =>
  isManager ? labels.managerKey : clusterNameLabel;

/** The Secret of one generation. */
export function identitySecret(
  holder: Holder,
  generation: number,
  { identity, recipient, created }: MadeIdentity,
): KubeObject {
  const name = `${holder.name}-age-${generation}`;
  const data = { [identityKey]: Buffer.from(`${identity}\n`).toString("base64") };
  return secretOf(holder, generation, {
    name,
    annotations: {
      [annotations.recipient]: recipient,
      [annotations.created]: created.toISOString().replace(/\.\d+/, ""),
    },
    data,
  });
}

function secretOf(
  holder: Holder,
  generation: number,
  { name, annotations: noted, data }: Noted,
): KubeObject {
  const metadata = {
    namespace: holder.namespace,
    name,
    labels: {
      [holderLabel(holder)]: holder.name,
      [labels.ageGeneration]: String(generation),
      "clusterctl.cluster.x-k8s.io/move": "",
    },
    annotations: noted,
  };
  return { apiVersion: "v1", kind: "Secret", type: "Opaque", immutable: true, metadata, data };
}

type Noted = {
  readonly name: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly data: Readonly<Record<string, string>>;
};

/** What has become of a generation that is not used as before. */
export type AgeMark = "ending" | "retired";
type Marks = ReadonlyMap<number, AgeMark>;

/** The Secret that marks a generation. Another one, so that nobody needs the right to write on the first. */
const markSecret = (holder: Holder, generation: number, state: AgeMark): KubeObject =>
  secretOf(holder, generation, {
    name: `${holder.name}-age-${generation}-${state}`,
    annotations: { [annotations.ageState]: state },
    data: {},
  });

/** The marks among a holder's Secrets; retired is the last word. */
export function marksIn(secrets: readonly KubeObject[], holder: Whose): Marks {
  const marks = new Map<number, AgeMark>();
  for (const { metadata } of secrets) {
    const state = metadata.annotations?.[annotations.ageState];
    const generation = Number(metadata.labels?.[labels.ageGeneration]);
    if (state !== "ending" && state !== "retired") continue;
    if (metadata.labels?.[holderLabel(holder)] !== holder.name) continue;
    if (metadata.name !== `${holder.name}-age-${generation}-${state}`) continue;
    if (marks.get(generation) !== "retired") marks.set(generation, state);
  }
  return marks;
}

/** Whose identities are meant, where the namespace is known. */
type Whose = Omit<Holder, "namespace">;

/** One generation of a holder's identity. */
export type AgeGeneration = {
  readonly generation: number;
  readonly identity: Identity;
  readonly state: "active" | AgeMark;
  readonly createdMs: number;
};

/** The generations in a holder's Secrets, oldest first. Throws SecretInvalid, IdentityInvalid. */
export async function generationsIn(
  secrets: readonly KubeObject[],
  holder: Whose,
): Promise<readonly AgeGeneration[]> {
  const marks = marksIn(secrets, holder);
  const found = secrets.map(async (secret): Promise<readonly AgeGeneration[]> => {
    const generation = generationOf(secret, holder);
    if (generation === undefined) return [];
    const state = marks.get(generation) ?? "active";
    const createdMs = createdMsOf(secret.metadata);
    const identities = await identitiesOf(secret);
    return identities.map((identity) => ({ generation, identity, state, createdMs }));
  });
  return (await Promise.all(found)).flat().sort((a, b) => a.generation - b.generation);
}

/** The generation of an identity's Secret; undefined when it is none of this holder. */
function generationOf({ metadata }: KubeObject, holder: Whose): number | undefined {
  const { [labels.ageGeneration]: said = "", [holderLabel(holder)]: whose } = metadata.labels ?? {};
  const generation = /^[1-9][0-9]{0,8}$/.test(said) ? Number(said) : undefined;
  const isOwn = whose === holder.name && metadata.name === `${holder.name}-age-${said}`;
  return isOwn ? generation : undefined;
}

/** The identities in one Secret of a generation. Throws SecretInvalid, IdentityInvalid. */
function identitiesOf(secret: KubeObject): Promise<readonly Identity[]> {
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
  // All of them are read here: one line that Flux cannot read spoils every Kustomization of the cluster.
  const generations = await generationsIn(secrets, cluster);
  const recipientsOf = (isUsed: boolean) =>
    generations.flatMap(({ state, identity }) =>
      (state === "active") === isUsed ? [identity.recipient] : [],
    );
  const recipients = { used: recipientsOf(true), ended: recipientsOf(false) };
  const sorted = found.sort((a, b) => a.generation - b.generation);
  const data = sorted.map(
    ({ secret, generation }) =>
      [`${generation}.agekey`, asString(asMap(secret["data"])[identityKey]) ?? ""] as const,
  );
  const version = sorted
    .map(({ secret: { metadata } }) => `${metadata.uid ?? ""}/${metadata.resourceVersion ?? ""}`)
    .join(" ");
  return { data: Object.fromEntries(data), version, recipients };
}
