import { CapitanError } from "../../pkg/errors/index.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import { parseYaml } from "../../pkg/object/index.ts";

export const repositoryFile = ".capitan.yaml";
/** The directory of a fleet repository that CI pushes as an artifact: what the clusters run. */
export const configurationDirectory = "config";

/** What `.capitan.yaml` says of a fleet repository. */
export type RepositorySettings = {
  readonly url: string;
  readonly branch: string;
  /** Directories, without a slash at the end. */
  readonly templates: string;
  readonly clusters: string;
  /** Namespace of what is made for the hub. */
  readonly namespace: string;
};

const apiVersion = "capitan.dev/v1alpha1";
const kind = "Repository";
const directory = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(?:\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/;
const namespacePattern = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** Reads a `.capitan.yaml`. Throws FileInvalid, ManifestInvalid; `what` names the file. */
export function parseRepositoryFile(text: string, what: string): RepositorySettings {
  const given = asMap(parseYaml(text, what));
  const { apiVersion: version, kind: kindGiven, ...fields } = given;
  if (version !== apiVersion || kindGiven !== kind)
    throw invalid(what, `it is not ${apiVersion} ${kind}`);
  const known = ["url", "branch", "templates", "clusters", "namespace"];
  const unknown = Object.keys(fields).find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw invalid(
      what,
      `it has no field ${JSON.stringify(unknown)}; there are ${known.join(", ")}`,
    );
  const field = (name: string, otherwise?: string, pattern = /./) => {
    const value = name in fields ? asString(fields[name]) : otherwise;
    if (value === undefined || !pattern.test(value))
      throw invalid(what, `${name} is missing or wrong`);
    return value;
  };
  return {
    url: field("url"),
    branch: field("branch", "main"),
    templates: field("templates", "management/templates", directory),
    clusters: field("clusters", "management/clusters", directory),
    namespace: field("namespace", "fleet", namespacePattern),
  };
}

/** The file again. */
export function formatRepositoryFile(settings: RepositorySettings): string {
  const { url, branch, templates, clusters, namespace } = settings;
  const lines = { apiVersion, kind, url, branch, templates, clusters, namespace };
  return Object.entries(lines)
    .map(([name, value]) => `${name}: ${JSON.stringify(value)}\n`)
    .join("");
}

const invalid = (what: string, why: string) => new CapitanError("FileInvalid", `${what}: ${why}`);
