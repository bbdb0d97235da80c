import { CapitanError } from "../errors/index.ts";
import { parseManifests, type KubeObject } from "../object/index.ts";
import { configurationOf, withoutClusterRule } from "./creation-rules.ts";
import type { Cluster } from "./render.ts";
import { filesOfCluster, type FileChange } from "./upgrade.ts";

/** An object of the hub that a person has agreed to lose. */
export type ApprovedObject = {
  readonly apiVersion: string;
  readonly kind: string;
  /** Undefined for an object of no namespace. */
  readonly namespace?: string | undefined;
  readonly name: string;
  readonly uid: string;
};

/** The document with which the removal is agreed to, in the cluster's directory. */
const approvalName = "removed.yaml";

/** Every file of a cluster: in its two directories, and wherever else its template has made one. */
export function removedFiles(
  files: ReadonlyMap<string, string>,
  cluster: Cluster,
  clusters: string,
): readonly string[] {
  const owned = filesOfCluster(files, cluster);
  const directories = [`${clusters}/${cluster.name}/`, configurationOf(cluster)];
  return [...files.keys()].filter(
    (path) => owned.has(path) || directories.some((directory) => path.startsWith(directory)),
  );
}

/** The objects that files of a cluster describe on the hub: those of the cluster's directory there. */
export function removedObjects(
  files: ReadonlyMap<string, string>,
  cluster: Cluster,
  clusters: string,
): readonly KubeObject[] {
  const directory = `${clusters}/${cluster.name}/`;
  return removedFiles(files, cluster, clusters)
    .filter((path) => path.startsWith(directory) && path !== `${directory}${approvalName}`)
    .flatMap((path) => parseManifests(files.get(path) ?? "", path));
}

/**
 * What takes a cluster out of the repository: its files and its rule go, the approval comes. Throws
 * FileInvalid when the repository has no file of it.
 */
export function planRemoval(
  files: ReadonlyMap<string, string>,
  cluster: Cluster,
  {
    clusters,
    approved,
  }: { readonly clusters: string; readonly approved: readonly ApprovedObject[] },
): readonly FileChange[] {
  const paths = removedFiles(files, cluster, clusters);
  const approval = `${clusters}/${cluster.name}/${approvalName}`;
  if (paths.every((path) => path === approval))
    throw new CapitanError("FileInvalid", `the repository has no files of cluster ${cluster.name}`);
  const sops = files.get(".sops.yaml");
  const rule =
    sops === undefined
      ? []
      : [
          {
            path: ".sops.yaml",
            before: sops,
            after: withoutClusterRule(sops, ".sops.yaml", cluster),
          },
        ];
  return [
    ...paths
      .filter((path) => path !== approval)
      .map((path) => ({ path, before: files.get(path), after: undefined })),
    ...rule,
    {
      path: approval,
      before: files.get(approval),
      // When nothing of it is on the hub there is nothing to agree to.
      after: approved.length === 0 ? undefined : approvalText(cluster, approved),
    },
  ].filter(({ before, after }) => before !== after);
}

/** A RemovalApproval: Capitan reads it with the files around it, and never applies it. */
function approvalText({ name }: Cluster, approved: readonly ApprovedObject[]): string {
  const lines = approved.map(
    ({ apiVersion, kind, namespace, name, uid }) =>
      `    - ${JSON.stringify({ apiVersion, kind, namespace, name, uid })}\n`,
  );
  return `# Written by capitan delete cluster. These objects may go; others of the same names may not.
apiVersion: capitan.dev/v1alpha1
kind: RemovalApproval
metadata:
  name: removed-${name}
spec:
  objects:
${lines.join("")}`;
}
