import { matchesGlob } from "node:path";
import type { CommandModule } from "yargs";
import { hubResources } from "../../pkg/api/index.ts";
import { CapitanError, isCapitanError } from "../../pkg/errors/index.ts";
import type { Tip } from "../../pkg/git/index.ts";
import { sha256Hex } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { changeValue, formatValuePath, type ChangedValue } from "../../pkg/secretrotation/index.ts";
import type { Identity } from "../../pkg/sops/index.ts";
import { commitOptions, type CommitArguments } from "./cluster-commit.ts";
import { clusterNames, selectionOptions, type SelectionArguments } from "./cluster-selection.ts";
import { fleetRepository, type FleetRepository, type Pushed } from "./fleet-repository.ts";
import { forwardedText } from "./git-clone.ts";
import { hubOptions, withHub, type HubArguments } from "./hub.ts";
import { managerKeysOf, managerSecret } from "./manager-key.ts";
import { progress } from "./progress.ts";
import { repeatable } from "./repeatable.ts";
import { valuesRun } from "./rotate-secret-status.ts";
import { asSops } from "./secret-files.ts";
import { chance, ownIdentities } from "./secret-keys.ts";
import {
  newValues,
  valueOptions,
  wrongValueArguments,
  type ValueArguments,
} from "./secret-value.ts";
import { clean, outputOption } from "./text.ts";
import { isWaitUsable, waitOptions, type WaitArguments } from "./wait.ts";

type Arguments = CommitArguments &
  SelectionArguments &
  ValueArguments &
  WaitArguments &
  HubArguments & {
    readonly file: string;
    readonly key: string;
    readonly path?: string | undefined;
    readonly restart: boolean;
    readonly "manager-secret": string;
    readonly output: string;
  };

/** As many values as one SecretRotation holds. */
const filesMax = 500;

/** `capitan rotate secret PATH KEY` */
export const rotateSecret: CommandModule<object, Arguments> = {
  command: "secret <file> <key>",
  describe: "Change a value in encrypted files, through Git, and wait until every cluster runs it",
  builder: (y) =>
    repeatable(y, "cluster")
      .positional("file", {
        type: "string",
        demandOption: true,
        describe:
          "File in the fleet repository, or a pattern: config/clusters/*/secrets/db.sops.yaml",
      })
      .positional("key", {
        type: "string",
        demandOption: true,
        describe: 'Key below data or stringData, or a path to the value: ["key"]["other"][0]',
      })
      .options({
        ...valueOptions,
        ...selectionOptions,
        ...commitOptions,
        ...hubOptions,
        ...outputOption,
        ...waitOptions,
        wait: { ...waitOptions.wait, describe: "Wait until every cluster runs it" },
        timeout: { ...waitOptions.timeout, default: "30m" },
        namespace: {
          alias: "n",
          type: "string",
          default: "fleet",
          describe: "The namespace of the Clusters",
        },
        path: {
          type: "string",
          describe:
            "Directory of the repository that CI pushes as an artifact; config when the files are in it",
        },
        restart: {
          type: "boolean",
          default: true,
          describe: "Restart workloads that ask for it by capitan.dev/restart-on: secret/NAME",
        },
        "manager-secret": {
          type: "string",
          default: managerSecret,
          describe: "Secret of the hub that opens the files when you have no identity of your own",
        },
      })
      .check(isWaitUsable)
      .check((args) => wrongValueArguments(args) ?? true)
      .example(
        "$0 rotate secret config/clusters/prod-eu-1/secrets/db.sops.yaml password --generate 32",
        "A new password in one file",
      )
      .example(
        "$0 rotate secret 'config/clusters/*/secrets/db.sops.yaml' password -l env=prod --generate 32",
        "The same in the files of many clusters",
      ),
  handler: (args) => withHub(args, (hub) => asSops(() => rotate(hub, args))),
};

async function rotate(hub: KubeClient, args: Arguments): Promise<void> {
  const { namespace } = args;
  // Whoever has changed a value wants to know who runs it: without the hub nothing is begun.
  await hub.list(hubResources.secretRotation, { namespace });
  const clusters = await clustersMeant(hub, args);
  const repository = await fleetRepository(args, beginning);
  progress(`reading ${repository.url}`);
  const tip = await repository.tip();
  const paths = chosen(tip, repository, { ...args, clusters });
  const identities = await identitiesFor(hub, args);
  const change = changing(args.key, identities, await newValues(args));
  const planned = await change(tip, paths);
  (args["dry-run"] ? process.stdout : process.stderr).write(shown(planned));
  if (args["dry-run"]) return;
  const { changed, pushed } = await publish(repository, planned, (next) =>
    change(next, chosen(next, repository, { ...args, clusters })),
  );
  const commit = pushed?.commit ?? tip?.commit ?? "";
  if (pushed !== undefined) process.stderr.write(pushedText(pushed));
  const object = rotationOf(args, { repository, commit, changed, clusters });
  await hub.create(hubResources.secretRotation, object, {});
  const { name } = object.metadata;
  process.stderr.write(`SecretRotation ${namespace}/${name}: capitan rotate status ${name}\n`);
  if (args.wait) await valuesRun(hub, { namespace, name }, args);
}

/** To which clusters the files are narrowed; undefined when they are not. Throws NotFound. */
async function clustersMeant(
  hub: KubeClient,
  args: Arguments,
): Promise<readonly string[] | undefined> {
  const isNarrowed = [args.cluster, args.fleet, args.selector].some((given) => given !== undefined);
  return isNarrowed ? clusterNames(hub, args) : undefined;
}

/** A repository without .capitan.yaml is one, too. */
const beginning = {
  branch: "main",
  templates: "management/templates",
  clusters: "management/clusters",
  namespace: "fleet",
};

type Choice = Pick<Arguments, "file"> & { readonly clusters: readonly string[] | undefined };

/** The files that are meant. Throws FileInvalid when none is. */
function chosen(
  tip: Tip | undefined,
  { url, branch }: FleetRepository,
  { file, clusters }: Choice,
): readonly string[] {
  const pattern = file.replace(/^\.\//, "");
  const isRules = (path: string) => path.split("/").at(-1) === ".sops.yaml";
  const isMeant = (path: string) =>
    (path === pattern || matchesGlob(path, pattern)) && !isRules(path);
  const ofClusters = (path: string) =>
    clusters === undefined || clusters.some((name) => `/${path}`.includes(`/clusters/${name}/`));
  const matching = [...(tip?.files.keys() ?? [])].filter(isMeant);
  const paths = matching.filter(ofClusters).sort();
  if (paths.length > filesMax)
    throw new CapitanError("FileInvalid", `${file} means more than ${filesMax} files`);
  if (paths.length > 0) return paths;
  const why =
    matching.length === 0
      ? `no file of ${url}, branch ${branch}, matches ${file}`
      : `no file that matches ${file} is in a directory clusters/NAME of ${clusters?.join(", ") ?? ""}`;
  throw new CapitanError("FileInvalid", why);
}

/** The person's own identities; where there is none, the manager's from the hub. */
async function identitiesFor(
  hub: KubeClient,
  { namespace, "manager-secret": name }: Arguments,
): Promise<readonly Identity[]> {
  try {
    return await ownIdentities();
  } catch (error) {
    if (!isCapitanError(error) || error.code !== "SopsKeyMissing") throw error;
    const keys = await managerKeysOf(hub, { namespace, name });
    if (keys === undefined) throw error;
    return keys.generations.map(({ identity }) => identity);
  }
}

type Change = (tip: Tip | undefined, paths: readonly string[]) => Promise<readonly ChangedValue[]>;

/** Changes files of a tip; the same bytes always become the same ones, however often a push has to be tried. */
function changing(
  key: string,
  identities: readonly Identity[],
  valueOf: (path: string) => string,
): Change {
  const made = new Map<string, ChangedValue>();
  return async (tip, paths) => {
    const changed: ChangedValue[] = [];
    for (const path of paths) {
      const bytes = tip?.files.get(path) ?? Buffer.alloc(0);
      const name = `${path} ${sha256Hex(bytes.toString("latin1"))}`;
      const known = made.get(name);
      const options = { text: valueOf(path), identities };
      const value = known ?? (await changeValue({ path, bytes, key }, options, chance));
      made.set(name, value);
      changed.push(value);
    }
    return changed;
  };
}

const isNew = ({ value, replaces }: ChangedValue) => value !== replaces;

function shown(values: readonly ChangedValue[]): string {
  const lines = values.map((value) => {
    const what = isNew(value) ? "a new value" : "has this value already";
    return `${value.path}: ${formatValuePath(value.where)}: ${what}\n`;
  });
  return clean(lines.join(""));
}

/** One commit with all of it; none when every file has the value already. */
async function publish(
  repository: FleetRepository,
  planned: readonly ChangedValue[],
  again: (tip: Tip | undefined) => Promise<readonly ChangedValue[]>,
): Promise<{ readonly changed: readonly ChangedValue[]; readonly pushed: Pushed | undefined }> {
  let changed = planned;
  progress(`committing to branch ${repository.branch}`);
  const pushed = await repository.publish(async (tip) => {
    changed = await again(tip);
    const edits = changed.filter(isNew).map(({ path, file }) => ({ path, content: file }));
    return edits.length === 0 ? undefined : { edits, message: messageOf(changed.filter(isNew)) };
  });
  return { changed, pushed };
}

function messageOf(values: readonly ChangedValue[]): string {
  const keys = [...new Set(values.map(({ where }) => String(where.at(-1))))];
  const files = values.length === 1 ? "1 file" : `${values.length} files`;
  return `Rotate ${keys.join(", ")} in ${files}\n\n${values.map(({ path }) => path).join("\n")}\n`;
}

function pushedText({ commit, branch, clone }: Pushed): string {
  const line = clean(`✔ commit ${commit.slice(0, 12)} on ${branch}\n`);
  return clone === undefined ? line : `${line}${forwardedText(clone)}`;
}

type Made = {
  readonly repository: FleetRepository;
  readonly commit: string;
  readonly changed: readonly ChangedValue[];
  readonly clusters: readonly string[] | undefined;
};

const configDirectory = "config";

function rotationOf(
  { namespace, path, restart }: Arguments,
  { repository: { url }, commit, changed, clusters }: Made,
) {
  const isConfig = changed.every((value) => value.path.startsWith(`${configDirectory}/`));
  const directory = path ?? (isConfig ? configDirectory : undefined);
  const time = new Date().toISOString().replace(/\D/g, "").slice(0, 17);
  const files = changed.map(({ path: file, where, value, replaces, modified }) => ({
    path: file,
    key: formatValuePath(where),
    value,
    replaces,
    modified,
  }));
  return {
    apiVersion: "capitan.dev/v1alpha1",
    kind: "SecretRotation",
    metadata: { name: `secret-${time}`, namespace },
    spec: {
      repository: { url, ...(directory === undefined ? {} : { path: directory }) },
      commit,
      files,
      restart,
      ...(clusters === undefined ? {} : { clusters }),
    },
  };
}
