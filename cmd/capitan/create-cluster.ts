import type { CommandModule } from "yargs";
import { hubResources, type ClusterTemplate } from "../../pkg/api/index.ts";
import { clusterResource } from "../../pkg/capi/index.ts";
import {
  checkClusterName,
  completeParameters,
  configurationOf,
  planCreation,
  type Cluster,
  type Creation,
  type FileChange,
} from "../../pkg/clustertemplate/index.ts";
import { identitySecret } from "../../pkg/controllers/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import type { JsonMap } from "../../pkg/json/index.ts";
import { generateIdentity } from "../../pkg/sops/index.ts";
import {
  commit,
  commitOptions,
  said,
  openRepository,
  type CommitArguments,
  type PlannedCommit,
  type RepositoryFiles,
} from "./cluster-commit.ts";
import type { FleetRepository } from "./fleet-repository.ts";
import { hubOptions, withHub, type HubArguments } from "./hub.ts";
import { listOf } from "./listing.ts";
import {
  askedParameters,
  givenParameters,
  parameterOptions,
  repeatedParameters,
  type ParameterArguments,
} from "./parameters.ts";
import { progress } from "./progress.ts";
import { repeatable } from "./repeatable.ts";
import { chance } from "./secret-keys.ts";
import { chosenTemplate, templatesIn, type FoundTemplate } from "./templates.ts";

type Arguments = CommitArguments &
  ParameterArguments &
  HubArguments & {
    readonly name: string;
    readonly namespace?: string | undefined;
    readonly template: string;
    readonly "hub-template": boolean;
    readonly offline: boolean;
  };

/** `capitan create cluster NAME --template T` */
export const createCluster: CommandModule<object, Arguments> = {
  command: "cluster <name>",
  describe: "Make a cluster from a ClusterTemplate: one commit in the fleet repository",
  builder: (y) =>
    repeatable(y, ...repeatedParameters)
      .positional("name", { type: "string", demandOption: true, describe: "Name of the cluster" })
      .options({
        template: {
          alias: "t",
          type: "string",
          demandOption: true,
          describe: "A ClusterTemplate of the repository",
        },
        "hub-template": {
          type: "boolean",
          default: false,
          describe: "Take the ClusterTemplate of the hub instead",
        },
        ...parameterOptions,
        namespace: {
          alias: "n",
          type: "string",
          describe: "Namespace on the hub; .capitan.yaml says which when not set",
        },
        offline: {
          type: "boolean",
          default: false,
          describe: "Do not ask the hub whether the name is free",
        },
        ...hubOptions,
        ...commitOptions,
        output: {
          type: "string",
          describe: "Write the files into this directory, and make no commit",
        },
      })
      .check(
        (args) =>
          wrongWay(args) ??
          (!(args["hub-template"] && args.offline) || "--hub-template asks the hub: not --offline"),
      )
      .example(
        "$0 create cluster prod-eu-1 --template lab --set region=eu --generate adminPassword",
        "One commit; the hub does the rest",
      ),
  handler: (args) => create(args),
};

/** Why it is not clear where the change is to go; undefined when it is. */
function wrongWay({ output, branch, "dry-run": isDry }: CommitArguments): string | undefined {
  const ways = [output !== undefined, branch !== undefined, isDry].filter(Boolean).length;
  return ways > 1 ? "say one of --output, --dry-run and --branch" : undefined;
}

/** Everything is checked before anything is written. */
async function create(args: Arguments): Promise<void> {
  checkClusterName(args.name);
  const open = await openRepository(args);
  const { repository, files } = open;
  const cluster = { name: args.name, namespace: args.namespace ?? repository.settings.namespace };
  refuseTaken(files, cluster, repository);
  const found = await templatesFor(args, repository, files);
  const template = chosenTemplate(found, args.template);
  if (!args.offline) await refuseTakenOnHub(cluster, args);
  const given = await askedParameters(template, await givenParameters(template, args));
  completeParameters(template, given);
  const identity = newIdentity(cluster);
  const plan = (now: RepositoryFiles) =>
    planned(now, repository, template, { cluster, parameters: given, identity });
  const pushed = await commit(open, args, plan);
  if (pushed === undefined) return;
  process.stdout.write(said(`cluster ${cluster.name}`, pushed, repository));
  process.stdout.write(`  → watch it come up: capitan get clusters -n ${cluster.namespace}\n`);
}

function templatesFor(
  { "hub-template": isHubs, ...args }: Arguments,
  { settings }: FleetRepository,
  files: RepositoryFiles,
): Promise<readonly FoundTemplate[]> | readonly FoundTemplate[] {
  if (!isHubs) return templatesIn(filesBelow(files, `${settings.templates}/`));
  return withHub(args, async (hub) => {
    const { namespace } = settings;
    const objects = await listOf(hub, hubResources.clusterTemplate, { namespace });
    return objects.map((object) => ({
      name: object.metadata.name,
      where: "the hub",
      template: object as unknown as ClusterTemplate,
    }));
  });
}

/** The files below a directory. */
export function filesBelow(files: RepositoryFiles, directory: string): RepositoryFiles {
  return new Map([...files].filter(([path]) => path.startsWith(directory)));
}

async function planned(
  files: RepositoryFiles,
  repository: FleetRepository,
  template: ClusterTemplate,
  creation: Pick<Creation, "cluster" | "identity"> & { readonly parameters: JsonMap },
): Promise<PlannedCommit> {
  const { cluster } = creation;
  refuseTaken(files, cluster, repository);
  const { clusters } = repository.settings;
  const sops = files.get(".sops.yaml") ?? "";
  const plan = await planCreation(template, { ...creation, sops, clusters }, chance);
  const taken = plan.files.find(({ path }) => files.has(path));
  if (taken !== undefined)
    throw new CapitanError("AlreadyExists", `the repository has ${taken.path} already`);
  const changes: readonly FileChange[] = [
    { path: ".sops.yaml", before: sops, after: plan.sops },
    ...plan.files.map(({ path, text }) => ({ path, before: undefined, after: text })),
    // What an earlier cluster of this name has left behind approves nothing any more.
    ...[...filesBelow(files, directoryOf(cluster, repository))].map(([path, before]) => ({
      path,
      before,
      after: undefined,
    })),
  ];
  return { changes, message: plan.message };
}

const directoryOf = ({ name }: Cluster, { settings }: FleetRepository) =>
  `${settings.clusters}/${name}/`;

/** Throws AlreadyExists when the repository has a cluster of this name, or something where its files go. */
function refuseTaken(files: RepositoryFiles, cluster: Cluster, repository: FleetRepository): void {
  const own = [...filesBelow(files, directoryOf(cluster, repository)).keys()];
  const configuration = [...filesBelow(files, configurationOf(cluster)).keys()];
  const [taken] = [...own.filter((path) => !path.endsWith("/removed.yaml")), ...configuration];
  if (taken === undefined) return;
  const what = `the repository has a cluster ${cluster.name} already: ${taken}`;
  throw new CapitanError("AlreadyExists", what);
}

async function refuseTakenOnHub(cluster: Cluster, args: Arguments): Promise<void> {
  progress(`asking the hub whether ${cluster.name} is free`);
  const live = await withHub(args, (hub) => hub.get(clusterResource, cluster));
  if (live === undefined) return;
  const what = `the hub has a Cluster ${cluster.namespace}/${cluster.name} already`;
  throw new CapitanError("AlreadyExists", what);
}

/** The cluster's first identity. Its private half is nowhere but in the Secret, which is encrypted at once. */
function newIdentity(cluster: Cluster) {
  const made = generateIdentity(chance.random);
  const secret = identitySecret(cluster, 1, {
    ...made,
    created: chance.now(),
  }) as unknown as JsonMap;
  return { recipient: made.recipient, secret };
}
