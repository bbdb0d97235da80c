import type { Fleet, FleetRevisionSpec, Layer, RevisionLayer } from "../api/index.ts";
import { fileForNobody } from "../content/index.ts";
import { CapitanError, isCapitanError } from "../errors/index.ts";
import { orderLayers, renderLayer, type LayerInputs } from "../engine/index.ts";
import { deletionPolicyOf } from "../fleet/index.ts";
import { canonicalJson, sha256Hex } from "../json/index.ts";
import { idOf, keyOf, matchesSelector, nameOf, type KubeObject } from "../object/index.ts";
import type { ArtifactFiles } from "../oci/index.ts";
import { Artifacts, keyOfArtifact, refOf } from "./artifacts.ts";
import {
  checkPath,
  Content,
  isTemplate,
  pathFor,
  readerOf,
  type Audience,
  type SourceFiles,
} from "./content.ts";
import { GitSources, keyOfGit } from "./git-sources.ts";
import type {
  Actor,
  ConfigMaps,
  GitRepositories,
  Reader,
  RendererPort,
  Repositories,
  Secrets,
} from "./ports.ts";
import { dockerSecret, existingSecret } from "./secrets.ts";
import { copyValues } from "./values.ts";

export type SourcesOptions = {
  readonly secrets: Secrets;
  readonly configMaps: ConfigMaps;
  readonly repositories: Repositories;
  readonly gitRepositories: GitRepositories;
  readonly renderer: RendererPort;
};

/** Turns what a Fleet names into what it means: versions into digests and commits, these into objects. */
export class Sources {
  readonly #options: SourcesOptions;
  readonly #artifacts: Artifacts;
  readonly #content: Content;
  readonly #git: GitSources;

  constructor(options: SourcesOptions) {
    const { secrets, repositories, gitRepositories, renderer } = options;
    this.#options = options;
    this.#artifacts = new Artifacts(secrets, repositories);
    this.#content = new Content(secrets, renderer);
    this.#git = new GitSources(secrets, gitRepositories);
  }

  /**
   * What the Fleet means now, to the user that it reads as: every source resolved once, pulled by that digest, verified and read, so
   * that a revision exists only when it can be applied; what depends on a cluster's facts is seen there.
   * Throws CapitanError with the layer's name.
   */
  async resolve(fleet: Fleet, as: Actor, signal: AbortSignal): Promise<FleetRevisionSpec> {
    const { namespace = "", name } = fleet.metadata;
    const of = { fleet: { namespace, name }, as };
    orderLayers(fleet.spec.layers);
    const layers = await Promise.all(
      fleet.spec.layers.map((layer) => this.#resolveLayer(layer, fleet, readerOf(of), signal)),
    );
    const seen = new Map<string, string>();
    for (const layer of layers)
      for (const object of await this.#check(layer, of, signal))
        refuseShared(object, layer.name, seen);
    return { fleetRef: { name }, layers };
  }

  /** Everything that rendering a layer of a revision for one cluster needs. Throws CapitanError with the layer's name. */
  async load(layer: RevisionLayer, audience: Audience, signal: AbortSignal): Promise<LayerInputs> {
    try {
      const source = await this.#filesOf(layer, readerOf(audience), signal);
      const content =
        source === undefined
          ? { made: "" }
          : await this.#content.objects(layer, source, audience, signal);
      const artifact = "objects" in content ? { artifact: content.objects } : {};
      if (layer.flux === undefined) return { ...artifact, made: content.made };
      const flux = await this.#fluxInputs(layer.flux, audience, signal);
      const made = sha256Hex(canonicalJson([content.made, flux.made]));
      return { ...artifact, ...flux, made };
    } catch (error) {
      throw isCapitanError(error) ? error.within(`layer ${layer.name}`) : error;
    }
  }

  /**
   * Refuses what the cluster's own Flux could not open: a file for identities that have ended, and for
   * none that it still has. Throws KeyRetired.
   */
  async refuseRetired(
    layer: RevisionLayer,
    audience: Audience,
    signal: AbortSignal,
  ): Promise<void> {
    const { used, ended } = audience.ageKeys?.recipients ?? { used: [], ended: [] };
    const { sync } = layer.flux ?? {};
    if (sync === undefined || ended.length === 0) return;
    const files = await this.#pinnedFiles(readerOf(audience), sync, signal);
    const directory = pathFor(sync.path, "sync.path", audience);
    const found = fileForNobody(files, directory, { used, ended });
    if (found === undefined) return;
    const message = `layer ${layer.name}: ${found} opens with retired keys of Cluster ${audience.cluster.name} only`;
    throw new CapitanError("KeyRetired", message);
  }

  /** What the cluster's own Flux pulls by digest or commit; nothing when it follows a reference by itself. */
  async #pinnedFiles(
    reader: Reader,
    { oci, git }: NonNullable<NonNullable<RevisionLayer["flux"]>["sync"]>,
    signal: AbortSignal,
  ): Promise<ArtifactFiles> {
    const { digest } = oci?.ref ?? {};
    if (oci !== undefined && digest !== undefined)
      return this.#artifacts.files(reader, { ...oci, digest }, signal);
    const { commit, branch } = git?.ref ?? {};
    if (git === undefined || commit === undefined) return new Map();
    const ref = branch === undefined ? {} : { branch };
    return this.#git.files(reader, { ...git, ref, commit }, "./", signal);
  }

  /** The objects of a layer that are the same for all clusters; everything else in it can be read. */
  async #check(
    layer: RevisionLayer,
    of: Pick<Audience, "fleet" | "as">,
    signal: AbortSignal,
  ): Promise<readonly KubeObject[]> {
    try {
      checkPath(layer.flux?.sync?.path ?? "./", "sync.path");
      const source = await this.#filesOf(layer, readerOf(of), signal);
      if (source === undefined) return renderLayer(layer, {});
      const { objects, isAll } = await this.#content.check(layer, source, of, signal);
      const planted =
        layer.flux === undefined ? [] : await this.#planted(readerOf(of), layer.flux, signal);
      if (isAll) return renderLayer(layer, { artifact: objects, planted });
      return objects.filter(({ metadata }) =>
        matchesSelector(layer.include ?? {}, metadata.labels),
      );
    } catch (error) {
      throw isCapitanError(error) ? error.within(`layer ${layer.name}`) : error;
    }
  }

  async #filesOf(
    { oci, git, flux, path = "./", valuesFiles }: RevisionLayer,
    reader: Reader,
    signal: AbortSignal,
  ): Promise<SourceFiles | undefined> {
    if (git !== undefined) {
      // Of a repository no more is read than the layer can need.
      const below = valuesFiles === undefined && !isTemplate(path) ? path : undefined;
      const files = await this.#git.files(reader, git, below ?? "./", signal);
      return { key: keyOfGit(reader, git, below ?? ""), files, below };
    }
    const source = oci ?? flux;
    if (source === undefined) return undefined;
    const files = await this.#artifacts.files(reader, source, signal);
    return { key: keyOfArtifact(reader, source), files };
  }

  /** What the cluster's own Flux gets from the hub. */
  async #fluxInputs(
    flux: NonNullable<RevisionLayer["flux"]>,
    audience: Audience,
    signal: AbortSignal,
  ) {
    const { sync } = flux;
    const planted = await this.#planted(readerOf(audience), flux, signal);
    const syncPath = pathFor(sync?.path ?? "./", "sync.path", audience);
    const versions = planted.map(({ metadata }) => [metadata.uid, metadata.resourceVersion]);
    const { ageKeys } = audience;
    const made = canonicalJson([versions, syncPath, ageKeys?.version]);
    return { planted, syncPath, ageKeys: ageKeys?.data, made };
  }

  /** The hub's Secrets that Flux needs in the cluster, each once. */
  #planted(
    reader: Reader,
    { imagePullSecret, sync }: NonNullable<RevisionLayer["flux"]>,
    signal: AbortSignal,
  ): Promise<readonly KubeObject[]> {
    const refs = [sync?.oci?.secretRef, sync?.oci?.certSecretRef, sync?.git?.secretRef];
    const names = new Set([imagePullSecret, ...refs.map((ref) => ref?.name)]);
    const { secrets } = this.#options;
    return Promise.all(
      [...names]
        .filter((name) => name !== undefined)
        .map((name) =>
          name === imagePullSecret
            ? dockerSecret(secrets, reader, name, signal)
            : existingSecret(secrets, reader, name, signal),
        ),
    );
  }

  async #resolveLayer(
    layer: Layer,
    fleet: Fleet,
    reader: Reader,
    signal: AbortSignal,
  ): Promise<RevisionLayer> {
    const {
      name,
      wait,
      timeout,
      dependsOn = [],
      oci: _oci,
      git: _git,
      flux: _flux,
      ...rest
    } = layer;
    const { inline: _inline, valuesFrom, deletionPolicy: _policy, ...copied } = rest;
    const deletionPolicy = deletionPolicyOf(fleet.spec, name);
    const base = { name, wait, timeout, dependsOn, deletionPolicy };
    try {
      const source = await this.#resolveSource(layer, reader, signal);
      if (valuesFrom === undefined) return { ...base, ...copied, ...source };
      const values = await copyValues(valuesFrom, reader, this.#options.configMaps, signal);
      return { ...base, ...copied, valuesFrom: values, ...source };
    } catch (error) {
      throw isCapitanError(error) ? error.within(`layer ${name}`) : error;
    }
  }

  async #resolveSource(
    { oci, git, flux, inline }: Layer,
    reader: Reader,
    signal: AbortSignal,
  ): Promise<Pick<RevisionLayer, "oci" | "git" | "flux" | "inline">> {
    if (oci !== undefined) {
      const { ref, ...access } = oci;
      return {
        oci: {
          ...access,
          ...(await this.#artifacts.locate(reader, access, refOf(ref), signal)),
        },
      };
    }
    if (git !== undefined)
      return { git: { ...git, ...(await this.#git.resolve(reader, git, signal)) } };
    if (flux === undefined) return inline === undefined ? {} : { inline };
    const { artifact, version: wanted, sync, ...options } = flux;
    const found = await this.#artifacts.locate(reader, artifact, { semver: wanted }, signal);
    const version = found.revision.split("@")[0] ?? found.revision;
    const synced = sync === undefined ? {} : { sync: await this.#pin(reader, sync, signal) };
    return { flux: { ...artifact, ...options, ...synced, ...found, version } };
  }

  /** What the cluster's own Flux is to pull: by digest or commit, unless it follows the reference by itself. */
  async #pin(
    reader: Reader,
    { follow, oci, git, ...rest }: NonNullable<NonNullable<Layer["flux"]>["sync"]>,
    signal: AbortSignal,
  ): Promise<NonNullable<RevisionLayer["flux"]>["sync"]> {
    const source = { ...(oci === undefined ? {} : { oci }), ...(git === undefined ? {} : { git }) };
    if (follow === "Tag") return { ...rest, ...source };
    if (git !== undefined) {
      const { commit, revision } = await this.#git.resolve(reader, git, signal);
      // Flux fetches one commit cheaply when it knows the branch that it is on.
      const branch = git.ref?.branch === undefined ? {} : { branch: git.ref.branch };
      return { ...rest, git: { ...git, ref: { ...branch, commit }, revision } };
    }
    if (oci === undefined) return rest;
    const { ref, ...access } = oci;
    const { digest, revision } = await this.#artifacts.locate(reader, access, refOf(ref), signal);
    return { ...rest, oci: { ...access, ref: { digest }, revision } };
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
