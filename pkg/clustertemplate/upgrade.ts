import type { ClusterTemplate } from "../api/index.ts";
import { CapitanError } from "../errors/index.ts";
import { asString, type JsonMap } from "../json/index.ts";
import { completeParameters, parametersOf, secretNames, versionParameter } from "./parameters.ts";
import { parseSopsConfig, type Chance } from "../sops/index.ts";
import { twinOf } from "./create.ts";
import { originOf, readRecord, type RecordedFile } from "./record.ts";
import { identitySecret, renderFiles, type Cluster, type RenderedFile } from "./render.ts";
import { sealFiles } from "./seal.ts";
import { checkVersionChange } from "./versions.ts";

/** A file that is to change, all texts whole; `after` undefined when it goes. */
export type FileChange = {
  readonly path: string;
  readonly before: string | undefined;
  readonly after: string | undefined;
};

/** What a secret parameter is while nobody has given it: only files that stay as they are read it. */
const unknownSecret = "unchanged";

/** The files of a repository that say that they were made for this cluster. */
export function filesOfCluster(
  files: ReadonlyMap<string, string>,
  { name, namespace }: Cluster,
): ReadonlyMap<string, RecordedFile> {
  const found = new Map<string, RecordedFile>();
  for (const [path, text] of files) {
    const record = readRecord(text);
    if (record?.cluster.name === name && record.cluster.namespace === namespace)
      found.set(path, record);
  }
  return found;
}

/** What an upgrade starts from. */
export type Upgrade = {
  readonly cluster: Cluster;
  /** What is given now, over what was recorded. */
  readonly given: JsonMap;
  /** The repository's YAML files. */
  readonly present: ReadonlyMap<string, string>;
  /** Of the cluster's newest identity. */
  readonly recipient: string;
};

/** What an upgrade does to the files of a cluster. */
export type UpgradePlan = Comparison & {
  /** Encrypted files that stay as they are. */
  readonly kept: readonly string[];
  /** Recorded parameters that the template does not have any more. */
  readonly dropped: readonly string[];
};

/**
 * What becomes of a cluster's files by this state of its template and these parameters. Throws
 * FileInvalid when the repository has no files of the cluster, ParameterInvalid, VersionRefused, and what
 * creating throws.
 */
export async function planUpgrade(
  template: ClusterTemplate,
  { cluster, given, present, recipient }: Upgrade,
  chance: Chance,
): Promise<UpgradePlan> {
  const recorded = recordOf(present, cluster).parameters;
  const { parameters, dropped } = nextParameters(template, recorded, given);
  const input = { cluster, parameters, identity: { recipient, secret: { data: {} } } };
  const rendered = renderFiles(template, input);
  const files = writableFiles(rendered, given, (path) => present.has(path));
  const config = parseSopsConfig(present.get(".sops.yaml") ?? "", ".sops.yaml");
  const origin = originOf(template, cluster, parameters);
  const twins = renderFiles(template, twinOf(template, input));
  const sealed = await sealFiles(files, twins, { config, origin }, chance);
  const kept = rendered.filter((file) => !files.includes(file)).map(({ path }) => path);
  const written = new Map(sealed.map(({ path, text }) => [path, text]));
  const { changes, edited } = compareFiles(present, cluster, written, new Set(kept));
  return { changes, edited, kept, dropped };
}

/** What a cluster's files say about how they were made. Throws FileInvalid. */
export function recordOf(present: ReadonlyMap<string, string>, cluster: Cluster): RecordedFile {
  const [record] = filesOfCluster(present, cluster).values();
  if (record !== undefined) return record;
  const what = `no file of the repository says that it was made for cluster ${cluster.namespace}/${cluster.name}`;
  throw new CapitanError("FileInvalid", what);
}

/** The parameters of a cluster after an upgrade, and what of the recorded ones the template has no more. */
export type NextParameters = {
  readonly parameters: JsonMap;
  readonly dropped: readonly string[];
};

/**
 * What was recorded, and over it what is given now; a secret that nobody gives is not known. Throws
 * ParameterInvalid, VersionRefused.
 */
export function nextParameters(
  template: ClusterTemplate,
  recorded: JsonMap,
  given: JsonMap,
): NextParameters {
  const known = new Set(parametersOf(template).map(({ name }) => name));
  const hidden = secretNames(template);
  const kept = Object.entries(recorded).filter(([name]) => known.has(name) && !hidden.has(name));
  const secrets = [...hidden].filter((name) => !Object.hasOwn(given, name));
  const next = completeParameters(relaxed(template, secrets), {
    ...Object.fromEntries(kept),
    ...given,
  });
  const [from, to] = [recorded, next].map((values) => asString(values[versionParameter]));
  if (from !== undefined && to !== undefined) checkVersionChange(from, to);
  return {
    parameters: { ...next, ...Object.fromEntries(secrets.map((name) => [name, unknownSecret])) },
    dropped: Object.keys(recorded).filter((name) => !known.has(name)),
  };
}

/** The template as if these parameters need not be given. */
function relaxed(template: ClusterTemplate, names: readonly string[]): ClusterTemplate {
  const parameters = Object.entries(template.spec.parameters ?? {}).map(
    ([name, parameter]) =>
      [name, names.includes(name) ? { ...parameter, required: false } : parameter] as const,
  );
  return { ...template, spec: { ...template.spec, parameters: Object.fromEntries(parameters) } };
}

/**
 * Which rendered files are to be written: those without a secret, and those whose secrets are given anew,
 * which have to be all of it. Throws ParameterInvalid when a file needs a secret that nobody gave.
 */
export function writableFiles(
  rendered: readonly RenderedFile[],
  given: JsonMap,
  isThere: (path: string) => boolean,
): readonly RenderedFile[] {
  return rendered.filter(({ path, secrets }) => {
    const missing = secrets.filter((name) => !Object.hasOwn(given, name));
    if (missing.length === 0) return true;
    if (isThere(path) && missing.length === secrets.length) return false;
    const what = missing.includes(identitySecret)
      ? "the private half of the cluster's identity, which is there only when a cluster is created"
      : `${missing.join(", ")}, which has to be given`;
    throw new CapitanError("ParameterInvalid", `${path} holds ${what}`);
  });
}

type Comparison = {
  readonly changes: readonly FileChange[];
  /** Those among them that would undo what somebody has done by hand. */
  readonly edited: readonly FileChange[];
};

/**
 * Compares what there is with what is to be. `present` are the repository's files, `written` those that
 * the template makes now, `kept` the paths of encrypted ones that stay as they are.
 */
export function compareFiles(
  present: ReadonlyMap<string, string>,
  cluster: Cluster,
  written: ReadonlyMap<string, string>,
  kept: ReadonlySet<string>,
): Comparison {
  const owned = filesOfCluster(present, cluster);
  const gone = [...owned.keys()].filter((path) => !written.has(path) && !kept.has(path));
  const all = [
    ...[...written].map(([path, after]) => ({ path, before: present.get(path), after })),
    ...gone.map((path) => ({ path, before: present.get(path), after: undefined })),
  ];
  const changes = all.filter(({ before, after }) => before !== after);
  return { changes, edited: changes.filter((change) => isForeign(change, owned)) };
}

/** Whether a change would undo what somebody did by hand. */
function isForeign(
  { path, before, after }: FileChange,
  owned: ReadonlyMap<string, RecordedFile>,
): boolean {
  if (before === undefined) return false;
  const record = owned.get(path);
  const fresh = after === undefined ? undefined : readRecord(after);
  // An encrypted file has no record; what is given anew is meant to take its place.
  if (record === undefined) return fresh !== undefined;
  return record.isEdited && record.content !== fresh?.content;
}
