import { clusterNameLabel } from "../capi/index.ts";
import { hubResources } from "../api/index.ts";
import { isConflict, type Informer, type KubeClient } from "../kube/index.ts";
import { labels, type KubeObject, type Resource } from "../object/index.ts";

type Named = { readonly namespace: string; readonly name: string };

export type InputHandlers = {
  /** A Secret of a platform namespace came, changed or went. `cluster` is the Cluster that it belongs to, if any. */
  readonly secretChanged: (secret: Named, cluster: Named | undefined) => void;
  /** A ConfigMap of a platform namespace came, changed or went. */
  readonly configMapChanged: (configMap: Named) => void;
};

/** Begins to watch a kind in a namespace. */
export type Watch = (
  resource: Resource,
  onChange: (object: KubeObject) => void,
  more: object,
) => Informer;

/** Secrets and ConfigMaps of the platform namespaces, which Fleets and Clusters refer to. Of what is watched only names and versions are kept. */
export class Inputs {
  readonly #client: KubeClient;
  /** One for each platform namespace: nobody reads the Secrets of others. */
  readonly #secrets: readonly Informer[];
  readonly #configMaps: readonly Informer[];

  constructor(
    client: KubeClient,
    handlers: InputHandlers,
    watch: Watch,
    platformNamespaces: readonly string[],
  ) {
    this.#client = client;
    const each = (resource: Resource, onChange: (object: KubeObject) => void) =>
      platformNamespaces.map((namespace) =>
        watch(resource, onChange, { namespace, metadataOnly: true, keep: versionOnly }),
      );
    this.#secrets = each(hubResources.secret, (object) =>
      handlers.secretChanged(named(object), clusterOf(object)),
    );
    this.#configMaps = each(hubResources.configMap, (object) =>
      handlers.configMapChanged(named(object)),
    );
  }

  /** Keeps the caches until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#secrets, ...this.#configMaps].map((one) => one.run(signal)));
  }

  /** Resolves when the Secrets of every platform namespace have been listed once, which is never where that is forbidden. */
  async synced(): Promise<void> {
    await Promise.all(this.#secrets.map((informer) => informer.synced));
  }

  secret(name: Named, signal: AbortSignal): Promise<KubeObject | undefined> {
    return this.#client.get(hubResources.secret, name, { signal });
  }

  configMap(name: Named, signal: AbortSignal): Promise<KubeObject | undefined> {
    return this.#client.get(hubResources.configMap, name, { signal });
  }

  /** Which state of a ConfigMap the watch has seen last; empty for none. */
  configMapVersion({ namespace, name }: Named): string {
    const found = this.#configMaps.flatMap((informer) => informer.get(namespace, name) ?? []);
    const { uid = "", resourceVersion = "" } = found[0]?.metadata ?? {};
    return `${uid}${resourceVersion}`;
  }

  /** The Secrets with a Cluster's label for age identities, from the API server itself. */
  async identitySecrets(
    { namespace, name }: Named,
    signal: AbortSignal,
  ): Promise<readonly KubeObject[]> {
    const labelSelector = `${clusterNameLabel}=${name},${labels.ageGeneration}`;
    const options = { namespace, labelSelector, signal };
    return (await this.#client.list(hubResources.secret, options)).items;
  }

  /** The newest age key of each cluster, as far as the watch has seen. */
  ageKeys(): readonly AgeKey[] {
    const found = this.#secrets.flatMap((informer) => informer.items()).flatMap(ageKeyOf);
    const byCluster = Map.groupBy(found, ({ namespace, cluster }) => `${namespace}/${cluster}`);
    return [...byCluster.values()].flatMap(
      (keys) => keys.toSorted((x, y) => y.generation - x.generation)[0] ?? [],
    );
  }

  /** Clusters of a namespace that have age identities, from the API server itself. */
  async clustersWithIdentities(namespace: string, signal: AbortSignal): Promise<readonly string[]> {
    const options = { namespace, labelSelector: labels.ageGeneration, metadataOnly: true, signal };
    const { items } = await this.#client.list(hubResources.secret, options);
    return [...new Set(items.flatMap(({ metadata }) => metadata.labels?.[clusterNameLabel] ?? []))];
  }

  /** Creates a Secret; false when one of this name is there already, whatever it holds. */
  async createSecret(secret: KubeObject, signal: AbortSignal): Promise<boolean> {
    try {
      await this.#client.create(hubResources.secret, secret, { signal });
      return true;
    } catch (error) {
      if (isConflict(error)) return false;
      throw error;
    }
  }
}

const named = ({ metadata }: KubeObject) => ({
  namespace: metadata.namespace ?? "",
  name: metadata.name,
});

type AgeKey = Named & {
  readonly cluster: string;
  readonly generation: number;
  readonly createdMs: number;
};

/** None for other Secrets, and for the marks of ended generations, which have longer names. */
function ageKeyOf(secret: KubeObject): readonly AgeKey[] {
  const { namespace, name } = named(secret);
  const { labels: all = {}, creationTimestamp = "" } = secret.metadata;
  const cluster = all[clusterNameLabel] ?? "";
  const generation = all[labels.ageGeneration] ?? "";
  if (generation === "" || name !== `${cluster}-age-${generation}`) return [];
  const createdMs = Date.parse(creationTimestamp);
  return [{ namespace, name, cluster, generation: Number(generation), createdMs }];
}

function clusterOf({ metadata }: KubeObject): Named | undefined {
  const name = metadata.labels?.[clusterNameLabel];
  return name === undefined ? undefined : { namespace: metadata.namespace ?? "", name };
}

/** Of what is only watched for changes: which one, and which state of it. */
function versionOnly({ metadata, ...object }: KubeObject): KubeObject {
  const { managedFields: _fields, annotations: _annotations, ...kept } = metadata;
  return { apiVersion: object.apiVersion, kind: object.kind, metadata: kept };
}
