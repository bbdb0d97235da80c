import type { CommandModule } from "yargs";
import type { ClusterTemplate } from "../../pkg/api/index.ts";
import {
  planUpgrade,
  recordOf,
  versionParameter,
  type Cluster,
} from "../../pkg/clustertemplate/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import type { JsonMap } from "../../pkg/json/index.ts";
import { annotations, parseManifests } from "../../pkg/object/index.ts";
import {
  commit,
  commitOptions,
  said,
  shownChange,
  openRepository,
  type CommitArguments,
  type PlannedCommit,
  type RepositoryFiles,
} from "./cluster-commit.ts";
import { filesBelow } from "./create-cluster.ts";
import type { FleetRepository } from "./fleet-repository.ts";
import {
  givenParameters,
  parameterOptions,
  repeatedParameters,
  type ParameterArguments,
} from "./parameters.ts";
import { repeatable } from "./repeatable.ts";
import { chance } from "./secret-keys.ts";
import { chosenTemplate, templatesIn } from "./templates.ts";
import { clean } from "./text.ts";

type Arguments = CommitArguments &
  ParameterArguments & {
    readonly name: string;
    readonly namespace?: string | undefined;
    readonly version?: string | undefined;
    readonly template?: string | undefined;
    readonly overwrite: boolean;
  };

/** `capitan upgrade cluster NAME --version V` */
export const upgradeCluster: CommandModule<object, Arguments> = {
  command: "cluster <name>",
  describe:
    "Bring a cluster's files to another version, other parameters, or its template as it is now",
  builder: (y) =>
    repeatable(y, ...repeatedParameters)
      .positional("name", { type: "string", demandOption: true, describe: "The cluster" })
      .options({
        version: {
          type: "string",
          describe: `The Kubernetes version: the parameter ${versionParameter}`,
        },
        template: {
          alias: "t",
          type: "string",
          describe: "Another ClusterTemplate of the repository than the one that it was made from",
        },
        ...parameterOptions,
        overwrite: {
          type: "boolean",
          default: false,
          describe: "Give up what somebody has changed in the files by hand",
        },
        namespace: {
          alias: "n",
          type: "string",
          describe: "Namespace on the hub; .capitan.yaml says which when not set",
        },
        ...commitOptions,
      })
      .example("$0 upgrade cluster prod-eu-1 --version v1.37.0", "One minor version at a time"),
  handler: (args) => upgrade(args),
};

async function upgrade(args: Arguments): Promise<void> {
  const open = await openRepository(args);
  const { repository, files } = open;
  const cluster = { name: args.name, namespace: args.namespace ?? repository.settings.namespace };
  const template = templateOf(files, repository, cluster, args.template);
  const { version } = args;
  const given = {
    ...(await givenParameters(template, args)),
    ...(version === undefined ? {} : { [versionParameter]: version }),
  };
  const plan = (files: RepositoryFiles) => planned(files, repository, { ...args, cluster, given });
  const pushed = await commit(open, args, plan);
  if (pushed !== undefined)
    process.stdout.write(said(`cluster ${cluster.name}`, pushed, repository));
}

/** The template that a cluster was made from, or another one. */
function templateOf(
  files: RepositoryFiles,
  { settings }: FleetRepository,
  cluster: Cluster,
  other: string | undefined,
): ClusterTemplate {
  const name = other ?? recordOf(files, cluster).template.name;
  return chosenTemplate(templatesIn(filesBelow(files, `${settings.templates}/`)), name);
}

type Request = Pick<Arguments, "template" | "overwrite"> & {
  readonly cluster: Cluster;
  readonly given: JsonMap;
};

async function planned(
  files: RepositoryFiles,
  repository: FleetRepository,
  { cluster, given, template: other, overwrite }: Request,
): Promise<PlannedCommit | undefined> {
  const template = templateOf(files, repository, cluster, other);
  const recipient = recipientOf(files, `${repository.settings.clusters}/${cluster.name}/`);
  const upgrade = { cluster, given, present: files, recipient };
  const { changes, edited, kept, dropped } = await planUpgrade(template, upgrade, chance);
  if (edited.length > 0 && !overwrite) {
    process.stderr.write(clean(edited.map(shownChange).join("")));
    const names = edited.map(({ path }) => path).join(", ");
    throw new CapitanError("FileEdited", `changed by hand: ${names}`);
  }
  for (const name of dropped)
    process.stderr.write(clean(`  → the template has no parameter ${name} any more\n`));
  for (const path of kept) process.stderr.write(clean(`  → ${path} stays as it is\n`));
  if (changes.length === 0) process.stdout.write(`cluster ${cluster.name}: nothing changes\n`);
  if (changes.length === 0) return undefined;
  return { changes, message: messageOf(template, cluster, given) };
}

function messageOf({ metadata }: ClusterTemplate, { name }: Cluster, given: JsonMap): string {
  const version = given[versionParameter];
  const isVersion = typeof version === "string" && /^[\w.+-]{1,40}$/.test(version);
  return isVersion
    ? `Upgrade cluster ${name} to Kubernetes ${version}`
    : `Upgrade cluster ${name} to template ${metadata.name} as it is now`;
}

/** To whom the cluster's newest identity is encrypted; its annotation is in plaintext. */
function recipientOf(files: RepositoryFiles, directory: string): string {
  const secrets = [...filesBelow(files, directory)].flatMap(([path, text]) =>
    parseManifests(text, path).filter(({ kind }) => kind === "Secret"),
  );
  const recipients = secrets.flatMap(
    ({ metadata }) => metadata.annotations?.[annotations.recipient] ?? [],
  );
  return recipients.at(-1) ?? "";
}
