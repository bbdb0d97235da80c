import type { RevisionLayer } from "../api/index.ts";
import {
  fileAt,
  filesUnder,
  refuseCiphertext,
  refusePlaintext,
  sortFiles,
  type SortedFiles,
} from "../content/index.ts";
import { parseFiles } from "../engine/index.ts";
import { CapitanError, isCapitanError } from "../errors/index.ts";
import { clusterKey } from "../cluster/index.ts";
import { canonicalJson, sha256Hex, type JsonMap } from "../json/index.ts";
import type { KubeObject } from "../object/index.ts";
import type { ArtifactFiles } from "../oci/index.ts";
import { decryptFile, formatOf, isEncrypted, recipientsOf, type Identity } from "../sops/index.ts";
import {
  bareCluster,
  compileTemplate,
  layerShape,
  mergeValues,
  parseValues,
  renderPath,
  type ClusterInput,
  type LayerContext,
  type Shape,
} from "../template/index.ts";
import type { Actor, Named, Reader, RendererPort, Secrets } from "./ports.ts";
import type { AgeGeneration, AgeKeys } from "./identities.ts";
import { Kept } from "./kept.ts";
import { managerKeys } from "./manager-keys.ts";
import { existingSecret, secretText } from "./secrets.ts";

/** Characters of JSON that kept objects may have together. */
const objectsMax = 96 * 1024 * 1024;
const valuesBytesMax = 1024 * 1024;
const weightOf = (objects: readonly KubeObject[]) =>
  objects.reduce((sum, object) => sum + canonicalJson(object).length, 0);

/** A layer's files, with a name that no other files have. */
export type SourceFiles = {
  readonly key: string;
  readonly files: ArtifactFiles;
  /** The directory of the source that these are the files of; undefined for the whole source. */
  readonly below?: string | undefined;
};

/** For whom a layer is made. */
export type Audience = {
  readonly fleet: Named;
  /** The user as whom the Fleet's inputs are read. */
  readonly as: Actor;
  readonly cluster: ClusterInput;
  /** The cluster's own age identities, where its Flux is to decrypt. */
  readonly ageKeys?: AgeKeys | undefined;
};

/** Objects of a layer, and a digest of everything that they were made from. */
export type Made = { readonly objects: readonly KubeObject[]; readonly made: string };

/** What is the same for every cluster, and whether it is all of the layer. */
export type Fixed = { readonly objects: readonly KubeObject[]; readonly isAll: boolean };

/** A cluster that says nothing, in a Fleet without values. */
const nobody: LayerContext = {
  cluster: bareCluster("nobody", "nobody"),
  fleet: { name: "nobody", namespace: "nobody" },
  values: {},
};

type Job = {
  readonly layer: RevisionLayer;
  readonly source: SourceFiles;
  readonly audience: Audience;
};

/** What a layer's files are opened with. */
type Opened = {
  readonly identities: readonly Identity[];
  /** Recipients of identities that are there and not used any more. */
  readonly ended: readonly string[];
  /** The same for the same identities. */
  readonly version: string;
};

/** `pinned` is what members have already; what they are to be pinned to must open without keys that end. */
type Use = "pinned" | "new";

/** Makes the objects of a layer from its files: opened and rendered for one cluster. */
export class Content {
  readonly #secrets: Secrets;
  readonly #renderer: RendererPort;
  /** Of a source and directory: what its files are. */
  readonly #sorted = new Kept<SortedFiles>(256);
  /** What many clusters share. */
  readonly #fixed = new Kept<readonly KubeObject[]>(objectsMax, weightOf);
  /** What was made for one cluster. */
  readonly #own = new Kept<readonly KubeObject[]>(objectsMax, weightOf);
  readonly #values = new Kept<JsonMap>(1_024);

  constructor(secrets: Secrets, renderer: RendererPort) {
    this.#secrets = secrets;
    this.#renderer = renderer;
  }

  /** The objects for one cluster. What no fact of the cluster can change is made once for all. Throws CapitanError. */
  async objects(
    layer: RevisionLayer,
    source: SourceFiles,
    audience: Audience,
    signal: AbortSignal,
  ): Promise<Made> {
    const directory = pathFor(layer.path ?? "./", "path", audience);
    const sorted = await this.#sort(source, directory);
    const opened = await this.#opened(layer, readerOf(audience), "pinned", signal);
    const fixed = digestOf([source.key, directory, opened?.version]);
    const still = this.#fixed.of(fixed, () => stillObjects(sorted, opened));
    if (sorted.templates.size === 0) return { made: fixed, objects: await still };
    const values = await this.#valuesFor({ layer, source, audience }, opened, signal);
    const context = { ...contextOf(audience), values };
    const made = digestOf([fixed, context]);
    const objects = await this.#own.of(made, async () => {
      const rendered = await this.#rendered(sorted.templates, clusterKey(audience.fleet), context);
      const objects = parseFiles(rendered);
      refuseCiphertext(objects, "a template");
      return [...(await still), ...objects];
    });
    return { made, objects };
  }

  /**
   * What can be said of a layer without a cluster: its templates can be read, and the objects that
   * are the same everywhere. Throws CapitanError.
   */
  async check(
    layer: RevisionLayer,
    source: SourceFiles,
    of: Pick<Audience, "fleet" | "as">,
    signal: AbortSignal,
  ): Promise<Fixed> {
    const { path = "./", valuesFiles = [] } = layer;
    for (const line of [path, ...valuesFiles]) checkPath(line, "path");
    if (isTemplate(path)) return { objects: [], isAll: false };
    const sorted = await this.#sort(source, path);
    await this.#checkTemplates(sorted.templates, clusterKey(of.fleet));
    const opened = await this.#opened(layer, readerOf(of), "new", signal);
    const fixed = digestOf([source.key, path, opened?.version]);
    const objects = await this.#fixed.of(fixed, () => stillObjects(sorted, opened));
    const isAll = sorted.templates.size === 0;
    if (isAll && hasValues(layer)) {
      const what =
        "values are given, but no file of the layer is a template (*.hbs) that could read them";
      throw new CapitanError("InputInvalid", what);
    }
    if (isAll && objects.length === 0)
      throw new CapitanError("ManifestInvalid", "the source contains no Kubernetes object");
    return { objects, isAll };
  }

  /** Looking for encrypted files means reading every file. */
  #sort(source: SourceFiles, directory: string): Promise<SortedFiles> {
    const key = JSON.stringify([source.key, directory]);
    return this.#sorted.of(key, () =>
      Promise.resolve(sortFiles(filesIn(source, directory), isEncryptedFile)),
    );
  }

  /** Says what is wrong with templates whatever the cluster: they are rendered for nobody, in a thread. */
  async #checkTemplates(templates: ArtifactFiles, key: string): Promise<void> {
    if (templates.size === 0) return;
    const result = await this.#render(templates, key, nobody);
    if (isCapitanError(result) && !result.code.startsWith("Input")) throw result;
  }

  async #rendered(templates: ArtifactFiles, key: string, context: LayerContext) {
    const result = await this.#render(templates, key, context);
    if (isCapitanError(result)) throw result;
    const entries = [...(result ?? [])].map(
      ([path, bytes]) => [path, { content: Buffer.from(bytes) }] as const,
    );
    return new Map(entries);
  }

  async #render(templates: ArtifactFiles, key: string, context: LayerContext) {
    const files = new Map([...templates].map(([path, { content }]) => [path, content] as const));
    const [result] = await this.#renderer.render({ key, files, contexts: [context] });
    return result;
  }

  /** Values by precedence: valuesFrom in order, then valuesFiles in order, then values. */
  async #valuesFor(
    { layer, source, audience }: Job,
    opened: Opened | undefined,
    signal: AbortSignal,
  ): Promise<JsonMap> {
    const from = await Promise.all(
      (layer.valuesFrom ?? []).map((one) => this.#valuesOf(one, readerOf(audience), signal)),
    );
    const files = await Promise.all(
      (layer.valuesFiles ?? []).map(async (line) => {
        const path = pathFor(line, "valuesFiles", audience);
        const content = fileAt(source.files, path);
        const key = digestOf([source.key, path, opened?.version]);
        return this.#values.of(key, () => valuesIn(content, path, opened));
      }),
    );
    return mergeValues([...from, ...files, (layer.values ?? {}) as JsonMap]);
  }

  async #valuesOf(
    { kind, name, key, optional, values }: NonNullable<RevisionLayer["valuesFrom"]>[number],
    reader: Reader,
    signal: AbortSignal,
  ): Promise<JsonMap> {
    if (kind === "ConfigMap") return (values ?? {}) as JsonMap;
    const { as, namespace } = reader;
    const secret = await this.#secrets.secretAs(as, { namespace, name }, signal);
    if (secret === undefined && optional === true) return {};
    const found = secret ?? (await existingSecret(this.#secrets, reader, name, signal));
    return parseValues(secretText(found, key), `Secret ${namespace}/${name}, key ${key}`);
  }

  /** The manager's identities that open a layer's files. */
  async #opened(
    { decryption }: RevisionLayer,
    reader: Reader,
    use: Use,
    signal: AbortSignal,
  ): Promise<Opened | undefined> {
    if (decryption === undefined) return undefined;
    const { name } = decryption.secretRef;
    const { generations } = await managerKeys(this.#secrets, reader, name, signal);
    const isUsed = ({ state }: AgeGeneration) =>
      state === "active" || (state === "ending" && use === "pinned");
    const identities = generations.filter(isUsed).map(({ identity }) => identity);
    const ended = generations.filter((each) => !isUsed(each));
    return {
      identities,
      ended: ended.map(({ identity }) => identity.recipient),
      version: identities.map(({ recipient }) => recipient).join(" "),
    };
  }
}

/** Who reads for an audience. */
export const readerOf = ({ fleet, as }: Pick<Audience, "fleet" | "as">): Reader => ({
  namespace: fleet.namespace,
  as,
});

const filesIn = ({ files, below }: SourceFiles, directory: string) =>
  below === directory ? files : filesUnder(files, directory);

/** Reading a file as SOPS takes its time, so that only what has SOPS's metadata at its top is read. */
const metadataOfSops = /^sops\s*:|["']sops["']\s*:/m;
const isEncryptedFile = (content: Buffer, path: string) =>
  content.includes("sops") &&
  metadataOfSops.test(content.toString("latin1")) &&
  isEncrypted(content, formatOf(path));
const hasValues = ({ values, valuesFrom, valuesFiles }: RevisionLayer) =>
  [values, valuesFrom, valuesFiles].some((given) => given !== undefined);
/** Whether a field of one line differs from cluster to cluster. */
export const isTemplate = (text: string): boolean => text.includes("{{");

/** What templates know of a cluster and a Fleet. */
function contextOf({ fleet: { name, namespace }, cluster: of }: Audience) {
  return { cluster: of, fleet: { name, namespace } };
}

/** The names that a path may use: values come later. */
const { cluster, fleet } = layerShape as { readonly cluster: Shape; readonly fleet: Shape };
const pathShape: Shape = { cluster, fleet };

/** Refuses a path that no cluster could have. Throws TemplateInvalid. */
export function checkPath(text: string, field: string): void {
  compileTemplate(text, field, pathShape);
}

/** A path of a layer for one cluster; without braces it stays as it is. Throws PathUnsafe, InputMissing, TemplateInvalid. */
export function pathFor(text: string, field: string, audience: Audience): string {
  if (!isTemplate(text)) return text;
  return renderPath(text, field, pathShape, contextOf(audience));
}

/** What is the same for every cluster: plain manifests, and those that had to be opened. */
async function stillObjects(
  { plain, encrypted }: SortedFiles,
  opened: Opened | undefined,
): Promise<readonly KubeObject[]> {
  const objects = parseFiles(plain);
  refuseCiphertext(objects, "the source");
  if (opened !== undefined) refusePlaintext(objects);
  const files = new Map<string, { readonly content: Buffer }>();
  for (const [path, { content }] of encrypted)
    files.set(path, { content: await open(content, path, opened) });
  return [...objects, ...parseFiles(files)];
}

/** Values in a file, encrypted or not. Throws InputInvalid, ManifestInvalid, and what opening throws. */
async function valuesIn(
  content: Buffer,
  path: string,
  opened: Opened | undefined,
): Promise<JsonMap> {
  if (content.length > valuesBytesMax)
    throw new CapitanError("InputInvalid", `${path}: more than ${valuesBytesMax} bytes of values`);
  const isClosed = isEncryptedFile(content, path);
  const text = isClosed ? await open(content, path, opened) : content;
  const values = parseValues(text.toString("utf8"), path);
  refuseCiphertext([values], path);
  return values;
}

/**
 * Opens one file. Throws DecryptionMissing where the layer has nothing to open it with, KeyRetired where
 * it had, and what `decryptFile` does.
 */
async function open(content: Buffer, path: string, opened: Opened | undefined): Promise<Buffer> {
  if (opened === undefined)
    throw new CapitanError("DecryptionMissing", `${path} is encrypted with SOPS`);
  const { identities, ended } = opened;
  const format = formatOf(path);
  try {
    return (await decryptFile(content, { format, identities })).plaintext;
  } catch (error) {
    if (!isCapitanError(error)) throw error;
    const isMissing = error.code === "SopsKeyMissing";
    if (
      !isMissing ||
      !recipientsOf(content, format)
        .groups.flat()
        .some((name) => ended.includes(name))
    )
      throw error.within(path);
    const message = `${path} opens with retired keys of the manager only`;
    throw new CapitanError("KeyRetired", message);
  }
}

const digestOf = (parts: unknown) => sha256Hex(canonicalJson(parts));
