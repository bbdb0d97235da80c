import type { RevisionLayer } from "../api/index.ts";
import { CapitanError, isCapitanError } from "../errors/index.ts";
import { canonicalJson, hmacHex, sha256Hex } from "../json/index.ts";
import {
  annotations,
  compareForApply,
  idOf,
  keyOf,
  matchesSelector,
  nameOf,
  normalize,
  parseManifests,
  stageOf,
  type KubeObject,
  type ObjectId,
  type Stage,
} from "../object/index.ts";
import { applyPatches, parsePatches } from "../patch/index.ts";
import { splitApprovals, type ApprovedRemoval } from "./approved.ts";
import { ageKeysSecret, syncObjects } from "./flux-sync.ts";
import { fluxSystemNamespace, selectFlux } from "./flux.ts";

/** An object as it is to be in the cluster. */
export type DesiredObject = {
  readonly key: string;
  readonly id: ObjectId;
  readonly stage: Stage;
  readonly layer: string;
  readonly object: KubeObject;
  /** Digest of the object as it is sent; an HMAC for Secrets, since inventories are readable. */
  readonly digest: string;
  readonly mode: ApplyMode;
};

/** The annotation `capitan.dev/apply` of an object: keep it as it is written, only create it, or leave it alone. */
export type ApplyMode = "Always" | "IfNotPresent" | "Ignore";

/** What a layer is made from besides its own text. */
export type LayerInputs = {
  /** Objects of the artifact, when the source is one; see `checkFiles`. */
  readonly artifact?: readonly KubeObject[] | undefined;
  /** The hub's Secrets that `flux.imagePullSecret` and `flux.sync` name; each is planted beside Flux. */
  readonly planted?: readonly KubeObject[] | undefined;
  /** The directory that the cluster's own Flux applies, for this cluster. */
  readonly syncPath?: string | undefined;
  /** The cluster's age identities for its own Flux, base64 by key of the Secret; see `ageKeysSecret`. */
  readonly ageKeys?: Readonly<Record<string, string>> | undefined;
  /** Equal when everything here is equal. */
  readonly made?: string | undefined;
};

/** What a layer applies, and which removals it approves. */
export type LayerContent = {
  readonly objects: readonly KubeObject[];
  readonly approvals: readonly ApprovedRemoval[];
};

/** Reading YAML takes about a third of a second per megabyte, and nothing else happens meanwhile. */
const manifestBytesMax = 8 * 1024 * 1024;
const manifestFile = /\.(ya?ml|json)$/i;
const kustomizationFile = /(^|\/)kustomization\.ya?ml$|(^|\/)Kustomization$/;

type Manifests = ReadonlyMap<string, { readonly content: Buffer }>;

/**
 * Reads every manifest among these files; there may be none. Throws KustomizeNotRendered,
 * ArtifactTooLarge, ManifestInvalid, DuplicateObject.
 */
export function parseFiles(files: Manifests): readonly KubeObject[] {
  const paths = [...files.keys()].sort();
  const kustomization = paths.find((path) => kustomizationFile.test(path));
  if (kustomization !== undefined)
    throw new CapitanError("KustomizeNotRendered", `the source contains ${kustomization}`);
  const manifests = paths.filter((path) => manifestFile.test(path));
  const bytes = manifests.reduce((sum, path) => sum + (files.get(path)?.content.length ?? 0), 0);
  if (bytes > manifestBytesMax) {
    const what = `the manifests have ${bytes} bytes, more than ${manifestBytesMax}`;
    throw new CapitanError("ArtifactTooLarge", what);
  }
  const objects = manifests.flatMap((path) =>
    parseManifests(files.get(path)?.content.toString("utf8") ?? "", path),
  );
  refuseDuplicates(objects);
  return objects;
}

/**
 * The objects of one layer, before they are placed in a cluster. Throws ManifestInvalid,
 * DuplicateObject, ComponentUnknown, with the layer's name in front.
 */
export function renderLayer(layer: RevisionLayer, inputs: LayerInputs): readonly KubeObject[] {
  return readLayer(layer, inputs).objects;
}

/** The same, with the removals that the layer's files approve. */
export function readLayer(layer: RevisionLayer, inputs: LayerInputs): LayerContent {
  try {
    const { objects: all, approvals } = splitApprovals(sourceObjects(layer, inputs));
    if (all.length === 0 && approvals.length > 0) return { objects: [], approvals };
    if (all.length === 0) throw new CapitanError("ManifestInvalid", "it has no Kubernetes object");
    const included = all.filter(({ metadata }) =>
      matchesSelector(layer.include ?? {}, metadata.labels),
    );
    if (included.length === 0)
      throw new CapitanError("ManifestInvalid", "include matches no object");
    const { objects, unmatched } = applyPatches(
      included,
      parsePatches(layer.patches ?? [], "patches"),
    );
    // A mistyped target would go unnoticed for ever.
    if (unmatched[0] !== undefined)
      throw new CapitanError("PatchFailed", `${unmatched[0]} matches no object of the layer`);
    refuseDuplicates(objects);
    return { objects, approvals };
  } catch (error) {
    throw isCapitanError(error) ? error.within(`layer ${layer.name}`) : error;
  }
}

function sourceObjects(
  { flux, inline }: RevisionLayer,
  { artifact = [], planted = [], syncPath, ageKeys }: LayerInputs,
): readonly KubeObject[] {
  if (inline !== undefined) return inlineObjects(inline);
  if (flux === undefined) return artifact;
  const path = syncPath === undefined ? {} : { path: syncPath };
  const synced = flux.sync === undefined ? [] : syncedBy(flux, { ...flux.sync, ...path }, ageKeys);
  return [...selectFlux(artifact, flux), ...planted.map(plantedSecret), ...synced];
}

/** The objects of `sync`. Throws ComponentUnknown when nobody would act on them. */
function syncedBy(
  { components, tenancy }: Flux,
  sync: NonNullable<Flux["sync"]>,
  ageKeys: LayerInputs["ageKeys"],
): readonly KubeObject[] {
  const missing = ["source-controller", "kustomize-controller"].find(
    (name) => components !== undefined && !components.includes(name),
  );
  if (missing !== undefined)
    throw new CapitanError(
      "ComponentUnknown",
      `sync needs ${missing}, which components leaves out`,
    );
  const keys = sync.decryption === undefined ? [] : [ageKeysSecret(ageKeys ?? {})];
  return [...keys, ...syncObjects(sync, tenancy === "Lockdown")];
}

type Flux = NonNullable<RevisionLayer["flux"]>;

function inlineObjects(inline: readonly unknown[]): readonly KubeObject[] {
  return inline.flatMap((object, i) => parseManifests(canonicalJson(object), `inline[${i}]`));
}

function plantedSecret(secret: KubeObject): KubeObject {
  const { name } = secret.metadata;
  return {
    apiVersion: "v1",
    kind: "Secret",
    type: secret["type"],
    metadata: { name, namespace: fluxSystemNamespace },
    data: secret["data"],
  };
}

function refuseDuplicates(objects: readonly KubeObject[]): void {
  const seen = new Set<string>();
  for (const object of objects) {
    const key = keyOf(idOf(object));
    if (seen.has(key))
      throw new CapitanError("DuplicateObject", `${nameOf(idOf(object))} is described twice`);
    seen.add(key);
  }
}

/** How a kind is scoped in the target cluster; undefined when it is not known there. */
type ScopeOf = (object: KubeObject) => "Namespaced" | "Cluster" | undefined;

export type Placement = {
  readonly owner: string;
  readonly scopeOf: ScopeOf;
  readonly secretKey: Uint8Array;
  readonly shared?: SharedObjects | undefined;
};

/**
 * Objects as they are sent, each made once for all clusters of a Fleet: artifacts are shared, so what
 * is made of them is too. A thousand clusters do not hold a thousand copies of Flux.
 */
export class SharedObjects {
  readonly #made = new WeakMap<KubeObject, Map<string, DesiredObject>>();

  /** What was made of this source under this name, or what `make` makes now. */
  of(source: KubeObject, name: string, make: () => DesiredObject): DesiredObject {
    const held = this.#made.get(source) ?? new Map<string, DesiredObject>();
    const found = held.get(name) ?? make();
    this.#made.set(source, held.set(name, found));
    return found;
  }
}

/**
 * The objects as they are sent to one cluster, in order of application: normalised, with the owner
 * label, namespaced ones without a namespace in `default`. Throws ManifestInvalid, DuplicateObject.
 */
export function desiredObjects(
  layer: string,
  objects: readonly KubeObject[],
  placement: Placement,
): readonly DesiredObject[] {
  const { owner, scopeOf, shared = new SharedObjects() } = placement;
  const desired = objects.map((source) => {
    const scope = scopeOf(source);
    const make = () => desiredObject(layer, normalize(inScope(source, scope), owner), placement);
    // The digest of a Secret is made with the cluster's own key.
    if (isSecret(source)) return make();
    return shared.of(source, `${owner} ${layer} ${scope ?? ""}`, make);
  });
  refuseDuplicates(desired.map(({ object }) => object));
  return desired.sort((a, b) => compareForApply(a.object, b.object));
}

function desiredObject(layer: string, object: KubeObject, { secretKey }: Placement): DesiredObject {
  const id = idOf(object);
  const text = canonicalJson(object);
  const digest = (isSecret(object) ? hmacHex(secretKey, text) : sha256Hex(text)).slice(0, 32);
  return {
    key: keyOf(id),
    id,
    stage: stageOf(object),
    layer,
    object,
    digest,
    mode: modeOf(object),
  };
}

const isSecret = ({ apiVersion, kind }: KubeObject) => kind === "Secret" && apiVersion === "v1";

function modeOf(object: KubeObject): ApplyMode {
  const said = object.metadata.annotations?.[annotations.apply] ?? "Always";
  if (said === "Always" || said === "IfNotPresent" || said === "Ignore") return said;
  const what = `${annotations.apply} must be IfNotPresent or Ignore, not ${JSON.stringify(said.slice(0, 40))}`;
  throw new CapitanError("ManifestInvalid", `${nameOf(idOf(object))}: ${what}`);
}

function inScope(object: KubeObject, scope: "Namespaced" | "Cluster" | undefined): KubeObject {
  const { namespace, ...metadata } = object.metadata;
  if (scope === "Cluster") return { ...object, metadata };
  if (scope === "Namespaced" && (namespace === undefined || namespace === ""))
    return { ...object, metadata: { ...metadata, namespace: "default" } };
  return object;
}
