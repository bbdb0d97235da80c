import type { CommandModule, Options } from "yargs";
import { parseGitUrl } from "../../pkg/gitdata/index.ts";
import { hubResources, type KeyRotation } from "../../pkg/api/index.ts";
import { clusterNameLabel } from "../../pkg/capi/index.ts";
import { generationsIn, type AgeGeneration } from "../../pkg/controllers/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { labels } from "../../pkg/object/index.ts";
import { managerName } from "../../pkg/rotation/index.ts";
import { clusterNames, selectionOptions, type SelectionArguments } from "./cluster-selection.ts";
import { localSettings, noRepository } from "./fleet-repository.ts";
import { hubOptions, withHub, type HubArguments } from "./hub.ts";
import { managerKeysOf, managerOptions, storeNextKey } from "./manager-key.ts";
import { configurationDirectory, repositoryFile } from "./repository-file.ts";
import { repeatable } from "./repeatable.ts";
import { rotationDone, showPlan } from "./rotate-status.ts";
import { isWaitUsable, waitOptions, type WaitArguments } from "./wait.ts";

type Arguments = WaitArguments &
  SelectionArguments &
  HubArguments & {
    readonly manager: boolean;
    readonly out?: string | undefined;
    readonly repo?: string | undefined;
    readonly branch?: string | undefined;
    readonly secret: string;
    readonly path?: string | undefined;
    readonly delivery: "Push" | "Branch";
    readonly "manager-secret": string;
    readonly reason: "scheduled" | "compromise";
    readonly immediate: boolean;
    readonly plan: boolean;
  };

/** Whose keys. */
const whoseOptions = {
  ...selectionOptions,
  manager: {
    type: "boolean",
    default: false,
    describe: "The manager's own key, over all files",
  },
  out: {
    type: "string",
    describe: "File for the offline copy of the manager's new key, which must not exist",
  },
} as const satisfies Record<string, Options>;

/** Where the files are, and how they are written. */
const repositoryOptions = {
  repo: {
    type: "string",
    describe: `URL of the Git repository with the encrypted files; the one of the nearest ${repositoryFile} when not set`,
  },
  branch: {
    type: "string",
    describe: `Branch that is released from; the one of ${repositoryFile}, else main`,
  },
  secret: {
    type: "string",
    default: "git-write",
    describe: "Secret with a login that may write to the repository",
  },
  path: {
    type: "string",
    describe: `Directory of the repository that CI pushes as an artifact; where there is a ${repositoryFile}: ./${configurationDirectory}`,
  },
  delivery: {
    choices: ["Push", "Branch"] as const,
    default: "Push" as const,
    describe: "Branch: propose branches, for a protected branch",
  },
} as const satisfies Record<string, Options>;

/** `capitan rotate keys` */
export const rotateKeys: CommandModule<object, Arguments> = {
  command: "keys",
  describe: "Give clusters new age keys, re-encrypt their files, and take the old keys away",
  builder: (y) =>
    repeatable(y, "cluster")
      .options({
        ...hubOptions,
        ...waitOptions,
        timeout: { ...waitOptions.timeout, default: "30m" },
        namespace: {
          alias: "n",
          type: "string",
          default: "fleet",
          describe: "The namespace of the Clusters",
        },
        ...whoseOptions,
        ...repositoryOptions,
        ...managerOptions,
        reason: {
          choices: ["scheduled", "compromise"] as const,
          default: "scheduled" as const,
          describe: "compromise: also list the values that the old keys could read",
        },
        immediate: {
          type: "boolean",
          default: false,
          describe: "Take the old key out as soon as the cluster has the new one, without a proof",
        },
        plan: {
          type: "boolean",
          default: false,
          describe: "Show what would be done, to which files, and change nothing",
        },
      })
      .check(isWaitUsable)
      .check(
        ({ out, manager, plan }) =>
          out === undefined || (manager && !plan) || "--out is for --manager, without --plan",
      )
      .example("$0 rotate keys --cluster prod-eu-1", "One cluster, in a clone of the repository")
      .example(
        "$0 rotate keys --selector env=prod --repo https://git.example/fleet --plan",
        "What would happen",
      )
      .example("$0 rotate keys --manager --out manager-2.agekey", "The manager's key, and a copy")
      .example("$0 rotate status", "How far every cluster has come"),
  handler: (args) => withHub(args, (hub) => rotate(hub, args)),
};

async function rotate(hub: KubeClient, args: Arguments): Promise<void> {
  const repository = await repositoryOf(args);
  const clusters = await targetsOf(hub, args);
  const newest = args.manager ? await newestOf(hub, args) : undefined;
  const manager = newest === undefined ? undefined : { ends: newest.generation };
  const object = rotationOf(args, { repository, clusters, manager });
  if (newest !== undefined && args.out !== undefined)
    await storeNextKey(hub, { ...managerOf(args), out: args.out }, newest);
  await hub.create(hubResources.keyRotation, object, {});
  const { name } = object.metadata;
  const all = manager === undefined ? clusters : [...clusters, { name: managerName, ...manager }];
  const names = all.map((target) => `${target.name} (generation ${target.ends})`).join(", ");
  if (args.plan) return showPlan(hub, { namespace: args.namespace, name }, args.timeout);
  process.stdout.write(`KeyRotation ${args.namespace}/${name}: ${names}\n${copyText(args)}`);
  if (args.wait) await rotationDone(hub, { namespace: args.namespace, name }, args.timeout);
}

/** What a person should know of offline copies. */
function copyText({ manager, out }: Arguments): string {
  if (!manager) return "";
  const now =
    out === undefined
      ? "  → the new key is on the hub only: keep a copy of its Secret where the hub cannot lose it\n"
      : `  → ${out} is the new offline copy: put it where the hub cannot lose it\n`;
  return `${now}  → an older copy opens the history of Git only, once the rotation is complete\n`;
}

type Repository = Pick<KeyRotation["spec"]["repository"], "url" | "branch" | "path">;

/** The repository that is named, or else the one that we are in a clone of. Throws FileInvalid, RefInvalid. */
async function repositoryOf({ repo, branch, path }: Arguments): Promise<Repository> {
  const local = repo === undefined ? await localSettings() : undefined;
  const given = local === undefined ? undefined : `./${configurationDirectory}`;
  const { url = repo, branch: own = "main" } = local ?? {};
  if (url === undefined) throw noRepository();
  parseGitUrl(url, undefined);
  const directory = path ?? given;
  return { url, branch: branch ?? own, ...(directory === undefined ? {} : { path: directory }) };
}

const managerOf = (args: Arguments) => ({
  namespace: args.namespace,
  name: args["manager-secret"],
});

/** The newest generation that the manager has: that one is to end. Throws SecretNotFound. */
async function newestOf(hub: KubeClient, args: Arguments): Promise<AgeGeneration> {
  const { namespace, name } = managerOf(args);
  const newest = (await managerKeysOf(hub, { namespace, name }))?.generations.at(-1);
  if (newest !== undefined) return newest;
  const message = `Secret ${namespace}/${name} does not exist: there is nothing to rotate`;
  throw new CapitanError("SecretNotFound", message);
}

/** Which clusters, and for each the newest generation that it has: that one is to end. */
async function targetsOf(
  hub: KubeClient,
  args: Arguments,
): Promise<KeyRotation["spec"]["clusters"]> {
  const { namespace } = args;
  const names = await clusterNames(hub, args);
  if (names.length === 0 && !args.manager) {
    const message = "nobody's key is meant: name --cluster, --fleet, --selector or --manager";
    throw new CapitanError("NotFound", message);
  }
  const options = { namespace, labelSelector: labels.ageGeneration };
  const { items } = await hub.list(hubResources.secret, options);
  const targets = names.map(async (name) => {
    const own = items.filter(({ metadata }) => metadata.labels?.[clusterNameLabel] === name);
    const generations = (await generationsIn(own, { name })).map(({ generation }) => generation);
    if (generations.length > 0) return { name, ends: Math.max(...generations) };
    const message = `Cluster ${namespace}/${name} has no age identity: there is nothing to rotate`;
    throw new CapitanError("NotFound", message);
  });
  return Promise.all(targets);
}

function rotationOf(
  args: Arguments,
  {
    repository,
    clusters,
    manager,
  }: Pick<KeyRotation["spec"], "clusters" | "manager"> & { readonly repository: Repository },
) {
  const { secret, delivery } = args;
  const time = new Date().toISOString().replace(/\D/g, "").slice(0, 17);
  return {
    apiVersion: "capitan.dev/v1alpha1",
    kind: "KeyRotation",
    metadata: { name: `keys-${time}`, namespace: args.namespace },
    spec: {
      clusters,
      ...(manager === undefined ? {} : { manager }),
      repository: { ...repository, secretRef: { name: secret }, delivery },
      decryption: { secretRef: { name: args["manager-secret"] } },
      ...(args.plan ? { dryRun: true } : {}),
      rollout: args.immediate ? "Immediate" : "Proven",
      reason: args.reason === "compromise" ? "Compromise" : "Scheduled",
    },
  };
}
