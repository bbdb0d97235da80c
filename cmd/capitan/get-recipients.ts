import type { CommandModule } from "yargs";
import { stringify } from "yaml";
import { hubResources } from "../../pkg/api/index.ts";
import { clusterNameLabel } from "../../pkg/capi/index.ts";
import { generationsIn, newestActive, type AgeGeneration } from "../../pkg/controllers/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { labels, type KubeObject } from "../../pkg/object/index.ts";
import { hubOptions, withHub, type HubArguments } from "./hub.ts";
import { managerKeysOf, managerOptions } from "./manager-key.ts";
import { ago, formatted, foundTable } from "./text.ts";

type Arguments = HubArguments & {
  readonly namespace: string;
  readonly "manager-secret": string;
  readonly output: string;
};

/** Who can open what is encrypted to this recipient: one cluster, or the manager. */
type Recipient = {
  /** Undefined for the manager. */
  readonly cluster?: string | undefined;
  readonly generation: number;
  readonly recipient: string;
  readonly created: string;
  /** Ending and retired ones are not encrypted to any more. */
  readonly state: AgeGeneration["state"];
  /** Whether one encrypts to it now. */
  readonly isUsed: boolean;
};

/** `capitan get recipients [-o sops]` */
export const getRecipients: CommandModule<object, Arguments> = {
  command: "recipients",
  aliases: ["recipient"],
  describe: "List to whom secrets are encrypted; -o sops prints the rules for .sops.yaml",
  builder: (y) =>
    y.options({
      ...hubOptions,
      namespace: {
        alias: "n",
        type: "string",
        default: "fleet",
        describe: "The namespace of the Clusters",
      },
      ...managerOptions,
      output: {
        alias: "o",
        choices: ["table", "json", "yaml", "sops"],
        default: "table",
        describe: "Form of the output",
      },
    }),
  handler: (args) =>
    withHub(args, async (hub) => {
      const recipients = [...(await managers(hub, args)), ...(await clusters(hub, args))];
      process.stdout.write(textOf(recipients, args.output));
    }),
};

async function managers(hub: KubeClient, args: Arguments): Promise<readonly Recipient[]> {
  const { namespace, "manager-secret": name } = args;
  const keys = await managerKeysOf(hub, { namespace, name });
  if (keys === undefined) return [];
  const newest = new Set(newestActive(keys));
  return keys.generations.map((each) => recipientOf(each, undefined, newest.has(each)));
}

async function clusters(hub: KubeClient, { namespace }: Arguments): Promise<readonly Recipient[]> {
  const options = { namespace, labelSelector: `${clusterNameLabel},${labels.ageGeneration}` };
  const { items } = await hub.list(hubResources.secret, options);
  const byCluster = Map.groupBy(items, ({ metadata }) => metadata.labels?.[clusterNameLabel] ?? "");
  const found = await Promise.all(
    [...byCluster].map(([cluster, secrets]) => recipientsOf(cluster, secrets)),
  );
  return found.flat().sort((a, b) => (a.cluster ?? "").localeCompare(b.cluster ?? "", "en"));
}

/** From the identities themselves: an annotation is easily written by somebody else. */
async function recipientsOf(
  cluster: string,
  secrets: readonly KubeObject[],
): Promise<readonly Recipient[]> {
  const generations = await generationsIn(secrets, { name: cluster });
  return generations.map((each) => recipientOf(each, cluster, each.state === "active"));
}

function recipientOf(
  { generation, identity: { recipient }, state, createdMs }: AgeGeneration,
  cluster: string | undefined,
  isUsed: boolean,
): Recipient {
  const created = new Date(createdMs).toISOString().replace(/\.\d+/, "");
  return { cluster, generation, recipient, created, state, isUsed };
}

function textOf(recipients: readonly Recipient[], output: string): string {
  if (output === "sops") return stringify(rulesFor(recipients), { lineWidth: 0 });
  if (output === "json" || output === "yaml")
    return formatted(
      recipients.map(({ isUsed: _, ...shown }) => shown),
      output,
    );
  const now = new Date();
  const rows = recipients.map(({ cluster, generation, recipient, created, state }) => [
    cluster ?? "(manager)",
    String(generation),
    ago(created, now),
    state,
    recipient,
  ]);
  return foundTable("recipients", ["cluster", "generation", "age", "state", "recipient"], rows);
}

const valuesOnly = "^(data|stringData)$";

/**
 * The rules of `.sops.yaml`: what lies under `clusters/<name>/` is for the manager and that cluster,
 * everything else for the manager alone. No file is for two clusters.
 */
function rulesFor(recipients: readonly Recipient[]): object {
  const used = recipients.filter(({ isUsed }) => isUsed);
  const manager = used.filter(({ cluster }) => cluster === undefined);
  const names = [...new Set(used.flatMap(({ cluster }) => cluster ?? []))];
  const ageOf = (of: readonly Recipient[]) => of.map(({ recipient }) => recipient).join(",");
  const own = names.map((name) => ({
    path_regex: `(^|/)clusters/${name.replaceAll(".", "\\.")}/.*\\.sops\\.(ya?ml|json|env|ini)$`,
    encrypted_regex: valuesOnly,
    age: ageOf([...manager, ...used.filter(({ cluster }) => cluster === name)]),
  }));
  const shared = {
    path_regex: "\\.sops\\.(ya?ml|json|env|ini)$",
    encrypted_regex: valuesOnly,
    age: ageOf(manager),
  };
  return { creation_rules: manager.length === 0 ? own : [...own, shared] };
}
