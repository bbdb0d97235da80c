import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { root } from "../../hack/lab/paths.ts";
import { planCreation, readClusterTemplate } from "../../pkg/clustertemplate/index.ts";
import type { JsonMap } from "../../pkg/json/index.ts";
import { parseManifests, type KubeObject } from "../../pkg/object/index.ts";
import { generateIdentity } from "../../pkg/sops/index.ts";

export const chance = { random: randomBytes, now: () => new Date() };
/** The identities of the fleet's manager and of the new cluster. */
export const manager = generateIdentity(randomBytes);
export const own = generateIdentity(randomBytes);
/** Of every secret parameter. */
export const password = "correct-horse-battery";
/** `.sops.yaml` of a repository without clusters. */
export const sops = `creation_rules:
  - path_regex: \\.sops\\.ya?ml$
    encrypted_regex: ^(data|stringData)$
    age: ${manager.recipient}
`;

/** A ClusterTemplate that we ship. */
export async function shippedTemplate(name: string) {
  const file = join(root, "templates", `${name}.yaml`);
  const [object] = parseManifests(await readFile(file, "utf8"), file);
  assert.ok(object);
  return readClusterTemplate(object, file);
}

type Named = { readonly namespace: string; readonly name: string };

/** Everything that a shipped template makes of a new cluster, by path. */
export async function filesOfTemplate(
  template: string,
  cluster: Named,
  parameters: JsonMap = {},
): Promise<ReadonlyMap<string, string>> {
  const secret = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { namespace: cluster.namespace, name: `${cluster.name}-age-1` },
    data: { identity: Buffer.from(own.identity).toString("base64") },
  };
  const creation = {
    cluster,
    parameters: { adminPassword: password, ...parameters },
    identity: { recipient: own.recipient, secret },
    sops,
    clusters: "management/clusters",
  };
  const { files } = await planCreation(await shippedTemplate(template), creation, chance);
  return new Map(files.map(({ path, text }) => [path, text]));
}

/** The Cluster API objects among them. */
export async function objectsOfTemplate(
  template: string,
  cluster: Named,
  parameters: JsonMap = {},
): Promise<readonly KubeObject[]> {
  const path = `management/clusters/${cluster.name}/cluster.yaml`;
  const files = await filesOfTemplate(template, cluster, parameters);
  return parseManifests(files.get(path) ?? "", path);
}
