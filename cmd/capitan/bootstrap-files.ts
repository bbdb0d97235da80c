import { stringify } from "yaml";
import type { Edit } from "../../pkg/git/index.ts";
import { manifestText } from "./apply-manifests.ts";
import { managerSecret } from "./manager-key.ts";
import {
  configurationDirectory,
  formatRepositoryFile,
  repositoryFile,
  type RepositorySettings,
} from "./repository-file.ts";
import type { KubeObject } from "../../pkg/object/index.ts";

export const installPath = "management/capitan/install.yaml";
export const platformPath = "management/platform.yaml";
export const sopsPath = ".sops.yaml";
export const platformName = "platform";

/** How the hub reads the repository. */
export type HubSource = { readonly url: string; readonly secret: string | undefined };

export type Layout = {
  readonly settings: RepositorySettings;
  readonly recipient: string;
  readonly install: readonly KubeObject[];
  readonly source: HubSource;
};

/** The files that a fleet repository begins with. */
export function fleetFiles({ settings, recipient, install, source }: Layout): readonly Edit[] {
  const texts: Readonly<Record<string, string>> = {
    ".gitignore": "# Private keys.\n*.agekey\n",
    [repositoryFile]: formatRepositoryFile(settings),
    [sopsPath]: sopsText(recipient),
    "README.md": readme(settings),
    [installPath]: `# What capitan install --export prints: to upgrade Capitan, write it anew.\n${manifestText(install)}`,
    [platformPath]: platformText(settings, source),
  };
  return Object.entries(texts).map(([path, text]) => ({ path, content: Buffer.from(text) }));
}

/** Keys that name an object stay readable, as Flux and kubectl need them; all else is encrypted. */
const sopsText = (recipient: string) =>
  `# Who can read what. The first rule that matches counts; a cluster's own rule comes before the last one.
creation_rules:
  - path_regex: \\.sops\\.(ya?ml|json|env|ini)$
    unencrypted_regex: ^(apiVersion|kind|metadata)$
    age: ${recipient}
`;

function platformText(
  { namespace, branch }: RepositorySettings,
  { url, secret }: HubSource,
): string {
  const fleet = {
    apiVersion: "capitan.dev/v1alpha1",
    kind: "Fleet",
    metadata: { name: platformName, namespace },
    spec: {
      target: "Management",
      interval: "1m",
      layers: [
        {
          name: "management",
          git: {
            url,
            ref: { branch },
            ...(secret === undefined ? {} : { secretRef: { name: secret } }),
          },
          path: "./management",
          decryption: { provider: "sops", secretRef: { name: managerSecret } },
          wait: false,
        },
      ],
    },
  };
  return `# Delivers ./management of this repository to the hub, this file too.
# wait: false, because a new cluster takes minutes; its Cluster object says how it is.
${stringify(fleet, { lineWidth: 0 })}`;
}

const readme = ({ branch, templates, clusters }: RepositorySettings) => `# Fleet

What is on branch \`${branch}\` is what the fleet is; the hub reads it.

| path | what |
|---|---|
| \`management/\` | everything that is delivered to the hub, by \`${platformPath}\` |
| \`${installPath}\` | Capitan itself; \`capitan install --export\` prints a newer one |
| \`management/fleets/\` | Fleets for workload clusters |
| \`${templates}/\` | ClusterTemplates |
| \`${clusters}/NAME/\` | one cluster, made by \`capitan create cluster NAME\` |
| \`${configurationDirectory}/\` | what the clusters run; CI pushes it as an OCI artifact |
| \`${sopsPath}\` | who can read which encrypted file |
| \`${repositoryFile}\` | where things are, for the CLI |
`;
