import type { ClusterTemplate } from "../api/index.ts";
import type { JsonMap } from "../json/index.ts";
import type { Chance } from "../sops/index.ts";
import { withClusterRule } from "./creation-rules.ts";
import { checkClusterName } from "./names.ts";
import { completeParameters, secretNames } from "./parameters.ts";
import { originOf } from "./record.ts";
import {
  commitMessage,
  renderFiles,
  type Cluster,
  type ClusterIdentity,
  type RenderInput,
} from "./render.ts";
import { sealFiles, type GeneratedFile } from "./seal.ts";

/** What a new cluster is made from. */
export type Creation = {
  readonly cluster: Cluster;
  /** What was given; defaults are filled in. */
  readonly parameters: JsonMap;
  readonly identity: ClusterIdentity;
  /** `.sops.yaml` as it is. */
  readonly sops: string;
  /** The directory of clusters in the repository. */
  readonly clusters: string;
};

/** What goes into the repository for a new cluster. */
export type CreationPlan = {
  readonly files: readonly GeneratedFile[];
  /** `.sops.yaml` with the cluster's rule. */
  readonly sops: string;
  readonly message: string;
};

/**
 * Everything that a new cluster is in the repository, encrypted as its rules say. Throws NameInvalid,
 * ParameterInvalid, SecretExposed, AlreadyExists and SopsConfigInvalid about `.sops.yaml`, and what
 * templates throw.
 */
export async function planCreation(
  template: ClusterTemplate,
  creation: Creation,
  chance: Chance,
): Promise<CreationPlan> {
  const { cluster, identity, clusters } = creation;
  checkClusterName(cluster.name);
  const parameters = completeParameters(template, creation.parameters);
  const input = { cluster, parameters, identity };
  const files = renderFiles(template, input);
  const twins = renderFiles(template, twinOf(template, input));
  const { text, config } = withClusterRule(creation.sops, ".sops.yaml", {
    name: cluster.name,
    recipient: identity.recipient,
    identityPath: `${clusters}/${cluster.name}/identity.sops.yaml`,
  });
  const origin = originOf(template, cluster, parameters);
  const sealed = await sealFiles(files, twins, { config, origin }, chance);
  return { files: sealed, sops: text, message: commitMessage(template, cluster) };
}

/** The same with other secrets, in each place as many as there are. */
export function twinOf(template: ClusterTemplate, input: RenderInput): RenderInput {
  const secrets = secretNames(template);
  const other = ([name, value]: readonly [string, JsonMap[string]]) =>
    [name, secrets.has(name) ? twinSecret : value] as const;
  const { recipient, secret } = input.identity;
  return {
    ...input,
    parameters: Object.fromEntries(Object.entries(input.parameters).map(other)),
    identity: { recipient, secret: { ...secret, data: { identity: twinSecret } } },
  };
}

/** No secret that anybody has chosen is this one. */
const twinSecret = "dHdpbi1zZWNyZXQtb2YtY2FwaXRhbg==";
