import type { ClusterTemplate } from "../api/index.ts";
import { CapitanError, messageOf } from "../errors/index.ts";
import type { Json, JsonMap } from "../json/index.ts";
import { parseManifests, parseYaml } from "../object/index.ts";
import { generateIdentity, type Chance } from "../sops/index.ts";
import { parametersOf, problemsOfDefinition, type NamedParameter } from "./parameters.ts";
import {
  commitMessage,
  compileFile,
  renderFiles,
  secretsIn,
  type Cluster,
  type CompiledFile,
  type RenderedFile,
  type RenderInput,
} from "./render.ts";
import { twinOf } from "./create.ts";
import { withClusterRule } from "./creation-rules.ts";
import { sealFiles } from "./seal.ts";
import { originOf } from "./record.ts";

/** The cluster that templates are tried with. */
export const sampleCluster: Cluster = { name: "sample-cluster", namespace: "fleet" };

/** How often a template is rendered at most, with one parameter after the other changed. */
const trialsMax = 200;

/**
 * Everything that is wrong with a template, as sentences that name the place; empty when all is well.
 * `sops` is the repository's `.sops.yaml`, undefined when there is none to look at.
 */
export async function lintTemplate(
  template: ClusterTemplate,
  sops: string | undefined,
  chance: Chance,
): Promise<readonly string[]> {
  const parameters = parametersOf(template);
  const definitions = parameters.flatMap(problemsOfDefinition);
  const { compiled, problems } = compileAll(template);
  const before = [...definitions, ...problems];
  if (before.length > 0) return before;
  const unused = unusedParameters(parameters, compiled);
  const places = compiled.flatMap((file) => problemsOfPath(template, file));
  const tried = problemsOfTrials(template);
  const exposed = sops === undefined ? [] : await problemsOfSecrets(template, sops, chance);
  return [...new Set([...unused, ...places, ...tried, ...exposed])];
}

function compileAll(template: ClusterTemplate) {
  const problems: string[] = [];
  const compiled = template.spec.files.flatMap((file, index) => {
    const found = attempt(() => compileFile(template, file, index), problems);
    return found === undefined ? [] : [found];
  });
  attempt(() => commitMessage(template, sampleCluster), problems);
  return { compiled, problems };
}

/** What the work gives; what it throws becomes a problem. */
function attempt<T>(work: () => T, problems: string[]): T | undefined {
  try {
    return work();
  } catch (error) {
    problems.push(messageOf(error));
    return undefined;
  }
}

function unusedParameters(
  parameters: readonly NamedParameter[],
  compiled: readonly CompiledFile[],
): readonly string[] {
  const inputs = compiled.flatMap(({ path, content, when }) => [
    ...path.inputs,
    ...content.inputs,
    ...(when?.inputs ?? []),
  ]);
  const isUsed = ({ name }: NamedParameter) =>
    inputs.some(
      (input) =>
        ["", "parameters", `parameters.${name}`].includes(input) ||
        input.startsWith(`parameters.${name}.`),
    );
  return parameters
    .filter((parameter) => !isUsed(parameter))
    .map(({ name }) => `${name}: no file uses this parameter`);
}

function problemsOfPath(template: ClusterTemplate, { path, where }: CompiledFile) {
  const secrets = secretsIn(template, path);
  return [
    ...(path.inputs.has("cluster.name")
      ? []
      : [`${where("path")}: does not name the cluster: two clusters would share the file`]),
    ...(secrets.length === 0 ? [] : [`${where("path")}: holds ${secrets.join(", ")}`]),
  ];
}

function problemsOfTrials(template: ClusterTemplate): readonly string[] {
  const problems: string[] = [];
  for (const parameters of trialsOf(template)) {
    const files = attempt(() => renderFiles(template, trial(template, parameters)), problems);
    for (const file of files ?? []) attempt(() => checkYaml(file), problems);
    if (files !== undefined) attempt(() => checkCluster(files), problems);
  }
  return problems;
}

function trial(template: ClusterTemplate, parameters: JsonMap): RenderInput {
  const secrets = parametersOf(template)
    .filter((parameter) => parameter.secret === true)
    .map(({ name }) => [name, "sample-secret"] as const);
  return {
    cluster: sampleCluster,
    parameters: { ...parameters, ...Object.fromEntries(secrets) },
    identity: sampleIdentity,
  };
}

const sampleIdentity = {
  recipient: "age1sample",
  secret: {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: `${sampleCluster.name}-age-1`, namespace: sampleCluster.namespace },
    data: { identity: "c2FtcGxlLXNlY3JldA==" },
  },
};

/** Parameters by default, then each one with every other value that the template knows of. */
function trialsOf(template: ClusterTemplate): readonly JsonMap[] {
  const parameters = parametersOf(template);
  const base = Object.fromEntries(parameters.map((p) => [p.name, p.default ?? sampleOf(p)]));
  const others = parameters.flatMap((parameter) =>
    choicesOf(parameter).map((value) => ({ ...base, [parameter.name]: value })),
  );
  return [base, ...others].slice(0, trialsMax);
}

function choicesOf({ type, enum: words = [], default: otherwise }: NamedParameter) {
  const all: readonly Json[] = type === "boolean" ? [true, false] : words;
  return type === "array" ? [] : all.filter((word) => word !== otherwise);
}

/** A value of the type, for a parameter without default. */
function sampleOf({ type, enum: words = [], minimum = 1, minLength = 1 }: NamedParameter): Json {
  const [first] = words;
  const scalars = {
    string: "sample".padEnd(minLength, "x"),
    boolean: false,
    integer: minimum,
    number: minimum,
  } as const;
  if (type === "array") return [first ?? scalars.string];
  return first ?? scalars[type];
}

function checkYaml({ path, content }: RenderedFile): void {
  try {
    parseManifests(content, path);
  } catch {
    // Values are YAML as well, and no objects.
    parseYaml(content, path);
  }
}

/** There is one Cluster, and it is the one that was asked for. */
function checkCluster(files: readonly RenderedFile[]): void {
  const clusters = files
    .flatMap(objectsIn)
    .filter(
      ({ apiVersion, kind }) => kind === "Cluster" && apiVersion.startsWith("cluster.x-k8s.io/"),
    );
  const [cluster] = clusters;
  const { name, namespace } = sampleCluster;
  const isRight = cluster?.metadata.name === name && cluster.metadata.namespace === namespace;
  if (clusters.length === 1 && isRight) return;
  const what =
    clusters.length === 1
      ? "the Cluster is not named {{cluster.name}} in namespace {{cluster.namespace}}"
      : `there are ${clusters.length} Clusters of cluster.x-k8s.io in the files; one is wanted`;
  throw new CapitanError("ClusterTemplateInvalid", what);
}

function objectsIn({ path, content }: RenderedFile) {
  try {
    return parseManifests(content, path);
  } catch {
    // No objects: values.
    return [];
  }
}

/** Which files hold secrets does not depend on the parameters: one trial is enough. */
async function problemsOfSecrets(
  template: ClusterTemplate,
  sops: string,
  chance: Chance,
): Promise<readonly string[]> {
  const problems: string[] = [];
  const report = (error: unknown) => void problems.push(messageOf(error));
  const [parameters = {}] = trialsOf(template);
  const input = trial(template, parameters);
  const found = attempt(() => {
    const { config } = withClusterRule(sops, ".sops.yaml", {
      name: sampleCluster.name,
      recipient: generateIdentity(chance.random).recipient,
      identityPath: `management/clusters/${sampleCluster.name}/identity.sops.yaml`,
    });
    const files = renderFiles(template, input);
    return { config, files, twins: renderFiles(template, twinOf(template, input)) };
  }, problems);
  const origin = originOf(template, sampleCluster, {});
  for (const file of found?.files ?? [])
    if (found !== undefined)
      await sealFiles([file], found.twins, { config: found.config, origin }, chance).catch(report);
  return problems;
}
