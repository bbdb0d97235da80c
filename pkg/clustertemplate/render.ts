import type { ClusterTemplate, TemplateFile } from "../api/index.ts";
import { CapitanError } from "../errors/index.ts";
import type { JsonMap } from "../json/index.ts";
import {
  compileCondition,
  compileTemplate,
  holds,
  openMap,
  renderLine,
  renderPath,
  renderTemplate,
  type Shape,
  type Template,
} from "../template/index.ts";
import { parametersOf, secretNames } from "./parameters.ts";
import { templateDigest } from "./read.ts";

/** Which cluster. */
export type Cluster = { readonly name: string; readonly namespace: string };

/** A cluster's age identity: what it can be encrypted to, and the Secret that holds the private half. */
export type ClusterIdentity = { readonly recipient: string; readonly secret: JsonMap };

export type RenderInput = {
  readonly cluster: Cluster;
  /** Complete, as `completeParameters` gives them. */
  readonly parameters: JsonMap;
  readonly identity: ClusterIdentity;
};

/** One file that becomes of a cluster, in plaintext. */
export type RenderedFile = {
  readonly path: string;
  readonly content: string;
  /** Which secret parameters its template reads; `identity.secret` among them. */
  readonly secrets: readonly string[];
};

/** What a secret of the cluster's identity is called among the secrets that a file reads. */
export const identitySecret = "identity.secret";

/**
 * Every file of a cluster, by its path. Throws ClusterTemplateInvalid, PathUnsafe, and what templates
 * throw, with `TEMPLATE files[N].content:line:column`.
 */
export function renderFiles(
  template: ClusterTemplate,
  input: RenderInput,
): readonly RenderedFile[] {
  const context = contextOf(template, input);
  const shape = shapeOf(template);
  const files = template.spec.files.flatMap((file, index): readonly RenderedFile[] => {
    const compiled = compileFile(template, file, index);
    refuseShown(template, compiled);
    const where = compiled.where("path");
    if (compiled.when !== undefined && !holds(compiled.when, context)) return [];
    const path = cleanPath(renderPath(file.path, where, shape, context), where);
    const content = renderTemplate(compiled.content, context);
    return [{ path, content, secrets: secretsIn(template, compiled.content) }];
  });
  const twice = files.find(({ path }, i) => files.findIndex((f) => f.path === path) < i);
  if (twice === undefined) return files;
  throw new CapitanError(
    "ClusterTemplateInvalid",
    `template ${template.metadata.name}: two files are ${twice.path}`,
  );
}

/** The first line of the commit that makes the cluster. Throws TemplateInvalid. */
export function commitMessage(template: ClusterTemplate, cluster: Cluster): string {
  const { message = defaultMessage } = template.spec.commit ?? {};
  const { name } = template.metadata;
  const context = { cluster: { ...cluster }, template: { name, digest: templateDigest(template) } };
  return renderLine(message, `${name} commit.message`, messageShape, context);
}

const defaultMessage = "Create cluster {{cluster.name}} from template {{template.name}}";

const messageShape = {
  cluster: { name: "scalar", namespace: "scalar" },
  template: { name: "scalar", digest: "scalar" },
} as const satisfies Shape;

/** The names that a template may use. */
export function shapeOf(template: ClusterTemplate): Shape {
  const parameters = parametersOf(template).map(
    ({ name, type }) => [name, type === "array" ? openMap : "scalar"] as const,
  );
  return {
    ...messageShape,
    parameters: Object.fromEntries(parameters),
    identity: { recipient: "scalar", secret: openMap },
  };
}

function contextOf(template: ClusterTemplate, { cluster, parameters, identity }: RenderInput) {
  const { name } = template.metadata;
  return {
    cluster: { name: cluster.name, namespace: cluster.namespace },
    template: { name, digest: templateDigest(template) },
    parameters,
    identity,
  };
}

/** The templates of one file, read and checked. */
export type CompiledFile = {
  readonly path: Template;
  readonly content: Template;
  readonly when: Template | undefined;
  /** How a field of it is called in messages. */
  readonly where: (field: string) => string;
};

/** Throws TemplateInvalid, TemplateTooLarge. */
export function compileFile(
  template: ClusterTemplate,
  { path, content, when }: TemplateFile,
  index: number,
): CompiledFile {
  const shape = shapeOf(template);
  const where = (field: string) => `${template.metadata.name} files[${index}].${field}`;
  return {
    path: compileTemplate(path, where("path"), shape),
    content: compileTemplate(content, where("content"), shape),
    when: when === undefined ? undefined : compileCondition(when, where("when"), shape),
    where,
  };
}

/** Paths are read by everybody, and whether a file is there tells what its condition knows. Throws SecretExposed. */
function refuseShown(template: ClusterTemplate, { path, when, where }: CompiledFile): void {
  for (const [field, read] of [
    ["path", path],
    ["when", when],
  ] as const) {
    const secrets = read === undefined ? [] : secretsIn(template, read);
    if (secrets.length === 0) continue;
    const what = `${where(field)} reads ${secrets.join(", ")}: only content may`;
    throw new CapitanError("SecretExposed", what);
  }
}

/** Which secrets a template reads, or may read: a whole map stands for all that is in it. */
export function secretsIn(template: ClusterTemplate, { inputs }: Template): readonly string[] {
  const secrets = [...secretNames(template)].map((name) => `parameters.${name}`);
  const read = [...secrets, identitySecret].filter((secret) =>
    [...inputs].some((input) => covers(input, secret) || covers(secret, input)),
  );
  return read.map((secret) => secret.replace(/^parameters\./, ""));
}

const covers = (outer: string, inner: string) =>
  outer === "" || inner === outer || inner.startsWith(`${outer}.`);

/** `./a//b` as `a/b`. Throws PathUnsafe for a file that is not YAML, or that is not a template's to write. */
function cleanPath(path: string, where: string): string {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  const name = parts.at(-1) ?? "";
  const isOurs = name === ".sops.yaml" || name === ".capitan.yaml";
  if (/\.ya?ml$/.test(name) && !isOurs && !parts.some((part) => /^\.git$/i.test(part)))
    return parts.join("/");
  throw new CapitanError(
    "PathUnsafe",
    `${where}: ${path} is no file of YAML that a template may write`,
  );
}
