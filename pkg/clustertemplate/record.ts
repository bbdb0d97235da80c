import { encodeJson, isJsonMap, parseJson, sha256Hex, type JsonMap } from "../json/index.ts";
import type { ClusterTemplate } from "../api/index.ts";
import { secretNames } from "./parameters.ts";
import { templateDigest } from "./read.ts";
import type { Cluster } from "./render.ts";

/** What a generated file says about how it was made. */
export type Origin = {
  readonly cluster: Cluster;
  readonly template: { readonly name: string; readonly digest: string };
  /** Without the secret ones. */
  readonly parameters: JsonMap;
};

/** What a cluster's files are to say about how they were made. Secret parameters are left out. */
export function originOf(template: ClusterTemplate, cluster: Cluster, parameters: JsonMap): Origin {
  const secrets = secretNames(template);
  const shown = Object.entries(parameters).filter(([name]) => !secrets.has(name));
  const { name } = template.metadata;
  return {
    cluster,
    template: { name, digest: templateDigest(template) },
    parameters: Object.fromEntries(shown),
  };
}

/** A generated file as it was found. */
export type RecordedFile = Origin & {
  /** The file without its record. */
  readonly content: string;
  /** Whether it is no longer as it was made. */
  readonly isEdited: boolean;
};

/** A generated file with its record before it. */
export function withRecord(content: string, { cluster, template, parameters }: Origin): string {
  const lines = [
    `# Made by capitan from a ClusterTemplate. To change it: capitan upgrade cluster ${cluster.name}`,
    `# capitan.dev/cluster: ${cluster.namespace}/${cluster.name}`,
    `# capitan.dev/template: ${template.name} ${template.digest}`,
    `# capitan.dev/parameters: ${encodeJson(parameters)}`,
    `# capitan.dev/content: sha256:${sha256Hex(content)}`,
  ];
  return `${lines.join("\n")}\n${content}`;
}

const recorded = new RegExp(
  [
    String.raw`^# Made by capitan [^\n]*\n`,
    String.raw`# capitan\.dev/cluster: ([a-z0-9-]+)/([a-z0-9-]+)\n`,
    String.raw`# capitan\.dev/template: (\S+) (sha256:[0-9a-f]{64})\n`,
    String.raw`# capitan\.dev/parameters: (\{[^\n]*\})\n`,
    String.raw`# capitan\.dev/content: sha256:([0-9a-f]{64})\n`,
  ].join(""),
);

/** Reads a generated file; undefined when it has no record. What it says is a claim, as the file is anybody's. */
export function readRecord(text: string): RecordedFile | undefined {
  const match = recorded.exec(text);
  if (match === null) return undefined;
  const [record, namespace = "", name = "", template = "", digest = "", json = "", sum] = match;
  const parameters = mapOf(json);
  if (parameters === undefined) return undefined;
  const content = text.slice(record.length);
  return {
    cluster: { namespace, name },
    template: { name: template, digest },
    parameters,
    content,
    isEdited: sha256Hex(content) !== sum,
  };
}

function mapOf(json: string): JsonMap | undefined {
  try {
    const value = parseJson(json);
    return isJsonMap(value) ? value : undefined;
  } catch {
    // Whoever wrote this, it was not us: the file has no record.
    return undefined;
  }
}
