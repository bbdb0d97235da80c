import type { Fleet, FleetRevisionSpec, Layer, RevisionLayer } from "../api/index.ts";
import { CapitanError, isCapitanError } from "../errors/index.ts";
import { checkFiles, orderLayers, renderLayer, type LayerInputs } from "../engine/index.ts";
import { deletionPolicyOf } from "../fleet/index.ts";
import { asMap, asString } from "../json/index.ts";
import { idOf, keyOf, nameOf, type KubeObject } from "../object/index.ts";
import { filesBelow, parseReference, selectVersion, type ArtifactFiles } from "../oci/index.ts";
import { GitSources } from "./git-sources.ts";
import type {
  GitRepositories,
  Named,
  Repositories,
  RepositoryAccess,
  RepositoryPort,
  Secrets,
} from "./ports.ts";
import { existingSecret, nameOfSecret } from "./secrets.ts";

/** Parsed artifacts that are kept in memory; one of Flux is about 1 MB. */
const parsedMax = 64;

type Access = {
  readonly url: string;
  readonly insecure?: boolean | undefined;
  readonly secretRef?: { readonly name: string } | undefined;
  readonly certSecretRef?: { readonly name: string } | undefined;
};

/** Turns what a Fleet names into what it means: versions into digests and commits, these into objects. */
export class Sources {
  readonly #secrets: Secrets;
  readonly #repositories: Repositories;
  readonly #git: GitSources;
  readonly #parsed = new Map<string, Promise<readonly KubeObject[]>>();

  constructor(secrets: Secrets, repositories: Repositories, git: GitRepositories) {
    this.#secrets = secrets;
    this.#repositories = repositories;
    this.#git = new GitSources(secrets, git);
  }

  /**
   * What the Fleet means now: every source resolved once, pulled by that digest, verified and
   * rendered, so that a revision exists only when it can be applied. Throws CapitanError with the layer's name.
   */
  async resolve(fleet: Fleet, signal: AbortSignal): Promise<FleetRevisionSpec> {
    const { namespace = "", name } = fleet.metadata;
    orderLayers(fleet.spec.layers);
    const layers = await Promise.all(
      fleet.spec.layers.map((layer) => this.#resolveLayer(layer, fleet, signal)),
    );
    const seen = new Map<string, string>();
    for (const layer of layers) {
      const objects = renderLayer(layer, await this.load(namespace, layer, signal));
      for (const object of objects) refuseShared(object, layer.name, seen);
    }
    return { fleetRef: { name }, layers };
  }

  /** Everything that rendering a layer of a revision needs. Throws CapitanError with the layer's name. */
  async load(namespace: string, layer: RevisionLayer, signal: AbortSignal): Promise<LayerInputs> {
    try {
      const artifact = await this.#artifact(namespace, layer, signal);
      return {
        ...(artifact === undefined ? {} : { artifact }),
        ...(layer.flux === undefined
          ? {}
          : { planted: await this.#planted(namespace, layer.flux, signal) }),
      };
    } catch (error) {
      throw isCapitanError(error) ? error.within(`layer ${layer.name}`) : error;
    }
  }

  /** The hub's Secrets that Flux needs in the cluster, each once. */
  #planted(
    namespace: string,
    { imagePullSecret, sync }: NonNullable<RevisionLayer["flux"]>,
    signal: AbortSignal,
  ): Promise<readonly KubeObject[]> {
    const refs = [sync?.oci?.secretRef, sync?.oci?.certSecretRef, sync?.git?.secretRef];
    const names = new Set([imagePullSecret, ...refs.map((ref) => ref?.name)]);
    return Promise.all(
      [...names]
        .filter((name) => name !== undefined)
        .map((name) =>
          name === imagePullSecret
            ? this.#dockerSecret({ namespace, name }, signal)
            : this.#existing({ namespace, name }, signal),
        ),
    );
  }

  /** The keys of a layer's objects; namespaces that the cluster fills in are left out. Throws CapitanError. */
  async keys(
    namespace: string,
    layer: RevisionLayer,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const objects = renderLayer(layer, await this.load(namespace, layer, signal));
    return objects.map((object) => keyOf(idOf(object)));
  }

  async #resolveLayer(layer: Layer, fleet: Fleet, signal: AbortSignal): Promise<RevisionLayer> {
    const { namespace = "" } = fleet.metadata;
    const { name, wait, timeout, dependsOn = [], include, adopt, path } = layer;
    const deletionPolicy = deletionPolicyOf(fleet.spec, name);
    const base = { name, wait, timeout, dependsOn, deletionPolicy };
    try {
      const source = await this.#resolveSource(layer, namespace, signal);
      return {
        ...base,
        ...(include === undefined ? {} : { include }),
        ...(adopt === undefined ? {} : { adopt }),
        ...(path === undefined ? {} : { path }),
        ...source,
      };
    } catch (error) {
      throw isCapitanError(error) ? error.within(`layer ${name}`) : error;
    }
  }

  async #resolveSource(
    { oci, git, flux, inline }: Layer,
    namespace: string,
    signal: AbortSignal,
  ): Promise<Pick<RevisionLayer, "oci" | "git" | "flux" | "inline">> {
    if (oci !== undefined) {
      const { ref, ...access } = oci;
      return { oci: { ...access, ...(await this.#locate(namespace, access, refOf(ref), signal)) } };
    }
    if (git !== undefined)
      return { git: { ...git, ...(await this.#git.resolve(namespace, git, signal)) } };
    if (flux === undefined) return inline === undefined ? {} : { inline };
    const { artifact, version: wanted, sync, ...options } = flux;
    const found = await this.#locate(namespace, artifact, { semver: wanted }, signal);
    const version = found.revision.split("@")[0] ?? found.revision;
    const synced = sync === undefined ? {} : { sync: await this.#pin(namespace, sync, signal) };
    return { flux: { ...artifact, ...options, ...synced, ...found, version } };
  }

  /** What the cluster's own Flux is to pull: by digest or commit, unless it follows the reference by itself. */
  async #pin(
    namespace: string,
    { follow, oci, git, ...rest }: NonNullable<NonNullable<Layer["flux"]>["sync"]>,
    signal: AbortSignal,
  ): Promise<NonNullable<RevisionLayer["flux"]>["sync"]> {
    const source = { ...(oci === undefined ? {} : { oci }), ...(git === undefined ? {} : { git }) };
    if (follow === "Tag") return { ...rest, ...source };
    if (git !== undefined) {
      const { commit, revision } = await this.#git.resolve(namespace, git, signal);
      // Flux fetches one commit cheaply when it knows the branch that it is on.
      const branch = git.ref?.branch === undefined ? {} : { branch: git.ref.branch };
      return { ...rest, git: { ...git, ref: { ...branch, commit }, revision } };
    }
    if (oci === undefined) return rest;
    const { ref, ...access } = oci;
    const { digest, revision } = await this.#locate(namespace, access, refOf(ref), signal);
    return { ...rest, oci: { ...access, ref: { digest }, revision } };
  }

  /** The one resolution of a moving reference: everything later goes by the digest. */
  async #locate(
    namespace: string,
    access: Access,
    ref: Reference,
    signal: AbortSignal,
  ): Promise<{ digest: string; revision: string }> {
    if ("digest" in ref) return { digest: ref.digest, revision: ref.digest };
    return this.#withRepository(namespace, access, signal, async (repository) => {
      const tag = "tag" in ref ? ref.tag : selectVersion(await repository.tags(signal), ref.semver);
      if (tag === undefined)
        throw new CapitanError(
          "VersionNotFound",
          `${access.url} has no tag in the range ${JSON.stringify("semver" in ref ? ref.semver : "")}`,
        );
      const digest = await repository.resolve(tag, signal);
      return { digest, revision: `${tag}@${digest}` };
    });
  }

  /** The parsed objects of a layer's artifact, when it has one; clusters that ask at once share one pull. */
  #artifact(
    namespace: string,
    { oci, git, flux, path = "./" }: RevisionLayer,
    signal: AbortSignal,
  ): Promise<readonly KubeObject[] | undefined> {
    if (git !== undefined)
      return this.#once(`${namespace}/${git.url}@${git.commit}:${path}`, () =>
        this.#git.files(namespace, git, path, signal),
      );
    const source = oci ?? flux;
    if (source === undefined) return Promise.resolve(undefined);
    const what = `${source.url}@${source.digest}`;
    return this.#once(`${namespace}/${what}:${path}`, async () => {
      const files = await this.#withRepository(namespace, source, signal, (repository) =>
        repository.pull(source.digest, signal),
      );
      return filesBelow(files, path, what);
    });
  }

  /** What these files hold, read at most once while it is remembered. */
  #once(key: string, read: () => Promise<ArtifactFiles>): Promise<readonly KubeObject[]> {
    const held = this.#parsed.get(key);
    if (held !== undefined) return held;
    const parsed = read().then(checkFiles);
    this.#parsed.set(key, parsed);
    parsed.catch(() => this.#parsed.delete(key));
    const [oldest] = this.#parsed.keys();
    if (this.#parsed.size > parsedMax && oldest !== undefined) this.#parsed.delete(oldest);
    return parsed;
  }

  async #withRepository<T>(
    namespace: string,
    access: Access,
    signal: AbortSignal,
    work: (repository: RepositoryPort) => Promise<T>,
  ): Promise<T> {
    const repository = this.#repositories(
      parseReference(access.url),
      await this.#accessOf(namespace, access, signal),
    );
    try {
      return await work(repository);
    } finally {
      await repository.close();
    }
  }

  async #accessOf(
    namespace: string,
    { insecure, secretRef, certSecretRef }: Access,
    signal: AbortSignal,
  ): Promise<RepositoryAccess> {
    const login =
      secretRef === undefined
        ? undefined
        : await this.#dockerSecret({ namespace, name: secretRef.name }, signal);
    const cert =
      certSecretRef === undefined
        ? undefined
        : await this.#existing({ namespace, name: certSecretRef.name }, signal);
    const ca = cert === undefined ? undefined : valueOf(cert, "ca.crt");
    const dockerConfig =
      login === undefined
        ? undefined
        : { text: valueOf(login, ".dockerconfigjson"), what: nameOfSecret(login) };
    return { insecure, ca, dockerConfig };
  }

  async #dockerSecret(name: Named, signal: AbortSignal): Promise<KubeObject> {
    const secret = await this.#existing(name, signal);
    if (secret["type"] !== "kubernetes.io/dockerconfigjson")
      throw new CapitanError(
        "SecretInvalid",
        `${nameOfSecret(secret)} is not of type kubernetes.io/dockerconfigjson`,
      );
    return secret;
  }

  #existing(name: Named, signal: AbortSignal): Promise<KubeObject> {
    return existingSecret(this.#secrets, name, signal);
  }
}

/** One object in two layers would be fought over by them. */
function refuseShared(object: KubeObject, layer: string, seen: Map<string, string>): void {
  const id = idOf(object);
  const other = seen.get(keyOf(id));
  seen.set(keyOf(id), layer);
  if (other === undefined || other === layer) return;
  const message = `layer ${layer}: ${nameOf(id)} is also in layer ${other}`;
  throw new CapitanError("DuplicateObject", message);
}

type Reference =
  | { readonly digest: string }
  | { readonly semver: string }
  | { readonly tag: string };
type LayerRef = NonNullable<Layer["oci"]>["ref"];

function refOf({ digest, semver, tag = "latest" }: NonNullable<LayerRef> = {}): Reference {
  if (digest !== undefined) return { digest };
  return semver === undefined ? { tag } : { semver };
}

function valueOf(secret: KubeObject, key: string): string {
  const value = asString(asMap(secret["data"])[key]);
  if (value === undefined || value === "")
    throw new CapitanError("SecretInvalid", `${nameOfSecret(secret)} has no key ${key}`);
  return Buffer.from(value, "base64").toString("utf8");
}
