import { clusterNameLabel } from "../capi/index.ts";
import { CapitanError, isCapitanError } from "../errors/index.ts";
import { hubResources } from "../api/index.ts";
import { createdMsOf } from "../fleet/index.ts";
import { isConflict, type Informer, type KubeClient } from "../kube/index.ts";
import { annotations, labels, type KubeObject, type Resource } from "../object/index.ts";

type Named = { readonly namespace: string; readonly name: string };
/** Whose age identities: a cluster's, or the manager's by the name of its first Secret. */
type Holder = Named & { readonly isManager?: boolean };

export type InputHandlers = {
  /**
   * A Secret beside Fleets came, changed or went; a later one of the manager goes by the name of its
   * first. `cluster` is the Cluster that it belongs to, if any.
   */
  readonly secretChanged: (secret: Named, cluster: Named | undefined) => void;
  /** A ConfigMap beside Fleets came, changed or went. */
  readonly configMapChanged: (configMap: Named) => void;
};

/** Begins to watch a kind in a namespace. */
export type Watch = (
  resource: Resource,
  onChange: (object: KubeObject, gone: boolean) => void,
  more?: object,
) => Informer;

type Watched = {
  readonly secrets: Informer;
  readonly configMaps: Informer;
  readonly stop: AbortController;
};

/**
 * Secrets and ConfigMaps, which Fleets and Clusters refer to, in the namespaces that have some. Of what
 * is watched only names and versions are kept; content is read when it is needed, as who needs it.
 */
export class Inputs {
  readonly #client: KubeClient;
  readonly #watch: (namespace: string) => Watched;
  /** One for each platform namespace, for as long as the controller runs. */
  readonly #platform: ReadonlyMap<string, Watched>;
  /** One for each namespace with tenants' Fleets. */
  readonly #tenants = new Map<string, Watched>();
  #signal: AbortSignal | undefined;

  constructor(
    client: KubeClient,
    handlers: InputHandlers,
    watch: Watch,
    platformNamespaces: readonly string[],
  ) {
    this.#client = client;
    this.#watch = (namespace) => {
      const options = { namespace, metadataOnly: true, keep: versionOnly };
      return {
        secrets: watch(
          hubResources.secret,
          (object) => handlers.secretChanged(asFleetsName(object), clusterOf(object)),
          options,
        ),
        configMaps: watch(
          hubResources.configMap,
          (object) => handlers.configMapChanged(named(object)),
          options,
        ),
        stop: new AbortController(),
      };
    };
    this.#platform = new Map(platformNamespaces.map((name) => [name, this.#watch(name)]));
  }

  /** Keeps the caches until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    for (const watched of this.#tenants.values()) void run(watched, signal);
    await Promise.all([...this.#platform.values()].map((watched) => run(watched, signal)));
  }

  /** Watches exactly these namespaces besides the platform's. */
  follow(namespaces: ReadonlySet<string>): void {
    for (const [namespace, { stop }] of this.#tenants) {
      if (namespaces.has(namespace)) continue;
      stop.abort();
      this.#tenants.delete(namespace);
    }
    for (const namespace of namespaces) {
      if (this.#platform.has(namespace) || this.#tenants.has(namespace)) continue;
      const watched = this.#watch(namespace);
      this.#tenants.set(namespace, watched);
      if (this.#signal !== undefined) void run(watched, this.#signal);
    }
  }

  /** Resolves when the Secrets of every platform namespace have been listed once, which is never where that is forbidden. */
  async synced(): Promise<void> {
    await Promise.all([...this.#platform.values()].map(({ secrets }) => secrets.synced));
  }

  /** A Secret as it is now, as far as this user may read it; undefined is the controller itself. */
  async secretAs(
    as: string | undefined,
    name: Named,
    signal: AbortSignal,
  ): Promise<KubeObject | undefined> {
    const found = await this.#client.as(as).get(hubResources.secret, name, { signal });
    if (as === undefined || found?.["type"] !== clusterSecretType) return found;
    const message = `Secret ${name.namespace}/${name.name} is Cluster API's own (type ${clusterSecretType}): with it ${as} would have every right on the cluster`;
    throw new CapitanError("AccessDenied", message);
  }

  /** The same for a ConfigMap. */
  configMapAs(
    as: string | undefined,
    name: Named,
    signal: AbortSignal,
  ): Promise<KubeObject | undefined> {
    return this.#client.as(as).get(hubResources.configMap, name, { signal });
  }

  /** Which state of a ConfigMap the watch has seen last; empty for none. */
  configMapVersion(name: Named): string {
    return versionIn(this.#watched(name)?.configMaps, name);
  }

  /** Which state of a Secret the watch has seen last; empty for none, and while nothing is told. */
  secretVersion(name: Named): string {
    const { secrets } = this.#watched(name) ?? {};
    return secrets?.isFollowing === true ? versionIn(secrets, name) : "";
  }

  #watched({ namespace }: Named): Watched | undefined {
    return this.#platform.get(namespace) ?? this.#tenants.get(namespace);
  }

  /**
   * The Secrets with a holder's label for age identities, from the API server itself. For a user that
   * is impersonated only which there are is looked up by the controller; each is read as that user, but
   * for marks, in which there is nothing. What it may not read of the manager's is left out: its Fleets
   * go on with the older key, and the rotation waits.
   */
  async identitySecrets(
    as: string | undefined,
    { namespace, name, isManager = false }: Holder,
    signal: AbortSignal,
  ): Promise<readonly KubeObject[]> {
    const label = isManager ? labels.managerKey : clusterNameLabel;
    const labelSelector = `${label}=${name},${labels.ageGeneration}`;
    const options = { namespace, labelSelector, metadataOnly: as !== undefined, signal };
    const { items } = await this.#client.list(hubResources.secret, options);
    if (as === undefined) return items;
    const read = items.map(async (item): Promise<KubeObject | undefined> => {
      if (item.metadata.annotations?.[annotations.ageState] !== undefined) return item;
      return this.secretAs(as, { namespace, ...item.metadata }, signal).catch((error: unknown) => {
        if (isManager && isCapitanError(error) && error.code === "AccessDenied") return undefined;
        throw error;
      });
    });
    return (await Promise.all(read)).filter((secret) => secret !== undefined);
  }

  /** The newest age key of each cluster, as far as the watch has seen. */
  ageKeys(): readonly AgeKey[] {
    const found = [...this.#platform.values(), ...this.#tenants.values()]
      .flatMap(({ secrets }) => secrets.items())
      .flatMap(ageKeyOf);
    const byCluster = Map.groupBy(found, ({ namespace, cluster }) => `${namespace}/${cluster}`);
    return [...byCluster.values()].flatMap(
      (keys) => keys.toSorted((x, y) => y.generation - x.generation)[0] ?? [],
    );
  }

  /** The Secrets of a namespace with a Cluster's label for age identities, by that Cluster, from the API server itself. */
  async identitySecretsIn(
    namespace: string,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, readonly KubeObject[]>> {
    const options = { namespace, labelSelector: labels.ageGeneration, signal };
    const { items } = await this.#client.list(hubResources.secret, options);
    const named = items.filter(({ metadata }) => metadata.labels?.[clusterNameLabel] !== undefined);
    return Map.groupBy(named, ({ metadata }) => metadata.labels?.[clusterNameLabel] ?? "");
  }

  /** Creates a Secret as this user; false when one of this name is there already, whatever it holds. */
  async createSecret(
    as: string | undefined,
    secret: KubeObject,
    signal: AbortSignal,
  ): Promise<boolean> {
    try {
      await this.#client.as(as).create(hubResources.secret, secret, { signal });
      return true;
    } catch (error) {
      if (isConflict(error)) return false;
      throw error;
    }
  }
}

/** With its type, what Cluster API keeps in Secrets: kubeconfigs and the keys of clusters. */
const clusterSecretType = "cluster.x-k8s.io/secret";

async function run({ secrets, configMaps, stop }: Watched, signal: AbortSignal): Promise<void> {
  const until = AbortSignal.any([signal, stop.signal]);
  await Promise.all([secrets.run(until), configMaps.run(until)]);
}

function versionIn(informer: Informer | undefined, { namespace, name }: Named): string {
  const { uid = "", resourceVersion = "" } = informer?.get(namespace, name)?.metadata ?? {};
  return `${uid}${resourceVersion}`;
}

const named = ({ metadata }: KubeObject) => ({
  namespace: metadata.namespace ?? "",
  name: metadata.name,
});

/** Fleets name the manager's first Secret, and mean all. */
function asFleetsName({ metadata }: KubeObject): Named {
  const { namespace = "", name } = metadata;
  return { namespace, name: metadata.labels?.[labels.managerKey] ?? name };
}

type AgeKey = Named & {
  readonly cluster: string;
  readonly generation: number;
  readonly createdMs: number;
};

/** None for other Secrets, and for the marks of ended generations, which have longer names. */
function ageKeyOf(secret: KubeObject): readonly AgeKey[] {
  const { namespace, name } = named(secret);
  const { labels: all = {} } = secret.metadata;
  const cluster = all[clusterNameLabel] ?? "";
  const generation = all[labels.ageGeneration] ?? "";
  if (generation === "" || name !== `${cluster}-age-${generation}`) return [];
  const createdMs = createdMsOf(secret.metadata);
  return [{ namespace, name, cluster, generation: Number(generation), createdMs }];
}

function clusterOf({ metadata }: KubeObject): Named | undefined {
  const name = metadata.labels?.[clusterNameLabel];
  return name === undefined ? undefined : { namespace: metadata.namespace ?? "", name };
}

/** Of what is only watched for changes: which one, which state of it, and how old. */
function versionOnly({ metadata, ...object }: KubeObject): KubeObject {
  const { managedFields: _fields, annotations: noted, ...kept } = metadata;
  const created = noted?.[annotations.created];
  const age = created === undefined ? {} : { annotations: { [annotations.created]: created } };
  return { apiVersion: object.apiVersion, kind: object.kind, metadata: { ...kept, ...age } };
}
