import { clusterTemplateSchema, problemsIn, type ClusterTemplate } from "../api/index.ts";
import { CapitanError } from "../errors/index.ts";
import { asMap, canonicalJson, sha256Hex } from "../json/index.ts";
import type { KubeObject } from "../object/index.ts";

const apiVersion = "capitan.dev/v1alpha1";

/** Whether an object says that it is a ClusterTemplate. */
export function isClusterTemplate(object: KubeObject): boolean {
  return object.kind === "ClusterTemplate" && object.apiVersion.startsWith("capitan.dev/");
}

/** Takes an object for a ClusterTemplate. Throws ClusterTemplateInvalid with all that is wrong; `where` names it. */
export function readClusterTemplate(object: KubeObject, where: string): ClusterTemplate {
  if (object.apiVersion !== apiVersion || object.kind !== "ClusterTemplate")
    throw wrong(where, [`is no ClusterTemplate of ${apiVersion}`]);
  const problems = [
    ...problemsIn(
      asMap(asMap(clusterTemplateSchema["properties"])["spec"]),
      object["spec"],
      "spec",
    ),
    ...Object.keys(asMap(asMap(object["spec"])["parameters"]))
      .filter((name) => !/^[a-zA-Z][a-zA-Z0-9_]{0,62}$/.test(name))
      .map((name) => ({ path: "spec.parameters", what: `${JSON.stringify(name)} is no word` })),
  ];
  if (problems.length > 0)
    throw wrong(
      where,
      problems.map(({ path, what }) => `${path}: ${what}`),
    );
  return object as unknown as ClusterTemplate;
}

const wrong = (where: string, problems: readonly string[]) =>
  new CapitanError("ClusterTemplateInvalid", `${where}: ${problems.join("; ")}`);

/** What tells one state of a template from another; the same from a file and from the hub. */
export function templateDigest({ spec }: ClusterTemplate): string {
  return `sha256:${sha256Hex(canonicalJson(spec))}`;
}
