import type { Argv, CommandModule } from "yargs";
import { hubResources } from "../../pkg/api/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import type { Tip } from "../../pkg/git/index.ts";
import { parseGitUrl } from "../../pkg/gitdata/index.ts";
import { installManifests } from "../../pkg/install/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { parseManifests, type KubeObject } from "../../pkg/object/index.ts";
import { applyManifests, manager, type Outcome } from "./apply-manifests.ts";
import {
  fleetFiles,
  installPath,
  platformName,
  platformPath,
  sopsPath,
  type HubSource,
  type Layout,
} from "./bootstrap-files.ts";
import { deployKeyPage } from "./deploy-key.ts";
import {
  fleetRepository,
  repositoryOptions,
  type FleetRepository,
  type RepositoryArguments,
} from "./fleet-repository.ts";
import { forwardedText } from "./git-clone.ts";
import { personOf, signerOf } from "./git-person.ts";
import { hubOptions, withHub, type HubArguments } from "./hub.ts";
import { canHubRead, ensureSourceSecret, hubSourceOf, type SourceArguments } from "./hub-source.ts";
import { installOptions, processFlags, wrongArgument, type ProcessArguments } from "./install.ts";
import { findManagerKey, freshManagerKey, managerSecret, type FoundKey } from "./manager-key.ts";
import { repeatable } from "./repeatable.ts";
import { checkServed } from "./served-namespaces.ts";
import { clean, outputOption, printed } from "./text.ts";

type Arguments = RepositoryArguments &
  SourceArguments &
  Omit<ProcessArguments, "platform-namespace" | "management"> &
  HubArguments & {
    readonly namespace: string;
    readonly "platform-namespace": readonly string[];
    readonly out: string;
    readonly "dry-run": boolean;
    readonly output: string;
  };

/** `capitan bootstrap` */
export const bootstrap: CommandModule<object, Arguments> = {
  command: "bootstrap",
  describe:
    "From nothing: a fleet repository, Capitan on the hub, and the platform Fleet that delivers the one to the other; safe to repeat",
  builder,
  handler: run,
};

function builder(y: Argv) {
  return repeatable(y, "platform-namespace", "receiver-token")
    .options({
      ...hubOptions,
      ...repositoryOptions,
      namespace: {
        alias: "n",
        type: "string",
        default: "fleet",
        describe: "Namespace of Clusters and Fleets, when the repository does not say",
      },
      "platform-namespace": {
        type: "string",
        array: true,
        nargs: 1,
        default: [],
        describe: "Another namespace of Clusters and Fleets on this hub; repeatable",
      },
      "hub-url": {
        type: "string",
        describe:
          "How the hub reads the repository; when not set as you do, if everybody may, else by ssh with a deploy key",
      },
      out: {
        type: "string",
        default: "manager.agekey",
        describe: "File of the offline copy of the manager's key",
      },
      ...processFlags,
      "dry-run": {
        type: "boolean",
        default: false,
        describe: "Only say what would be done; -o yaml shows the files",
      },
      ...outputOption,
    })
    .check(
      (args) =>
        wrongArgument({ ...args, ...forFleet(args.namespace, args["platform-namespace"]) }) ?? true,
    )
    .example(
      "$0 bootstrap --repo ssh://git@github.com/example/fleet.git",
      "Into an empty repository",
    )
    .example("$0 bootstrap", "Once more, in a clone: nothing is changed that need not be");
}

/** What the fleet needs of the controller: its own namespace served, and Fleets there that deliver to the hub. */
const forFleet = (namespace: string, others: readonly string[]) => ({
  "platform-namespace": [namespace, ...others],
  management: true,
});

/** What was done, as it is told at once and again in the end. */
class Report {
  readonly steps: { readonly step: string; readonly outcome: string }[] = [];
  readonly #output: string;

  constructor(output: string) {
    this.#output = output;
  }

  told(step: string, outcome: string): void {
    this.steps.push({ step, outcome });
    if (this.#output === "text") process.stdout.write(clean(`${step}: ${outcome}\n`));
  }

  get isChanged(): boolean {
    return this.steps.some(({ outcome }) => !outcome.startsWith("unchanged"));
  }
}

/** Everything that can be found out is found out before anything is made. */
async function run(args: Arguments): Promise<void> {
  await Promise.all([personOf(args), signerOf(args)]);
  const { namespace, branch = "main" } = args;
  const beginning = {
    branch,
    namespace,
    templates: "management/templates",
    clusters: "management/clusters",
  };
  const repository = await fleetRepository(args, beginning);
  const tip = await repository.tip();
  const source = await hubSourceOf(repository, tip, args);
  const install = await installed(tip, repository.settings.namespace, args);
  const ground = { settings: repository.settings, install, source };
  const report = new Report(args.output);
  await withHub(args, (hub) =>
    args["dry-run"]
      ? plan(hub, { repository, tip, ground, report }, args)
      : perform(hub, { repository, tip, ground, report }, args),
  );
}

/** What is installed is what the repository says, once it says something. */
async function installed(
  tip: Tip | undefined,
  namespace: string,
  args: Arguments,
): Promise<readonly KubeObject[]> {
  const text = tip?.files.get(installPath)?.toString("utf8");
  if (text !== undefined) return parseManifests(text, installPath);
  return installManifests(
    await installOptions({ ...args, ...forFleet(namespace, args["platform-namespace"]) }),
  );
}

type Work = {
  readonly repository: FleetRepository;
  readonly tip: Tip | undefined;
  readonly ground: Omit<Layout, "recipient">;
  readonly report: Report;
};

async function perform(hub: KubeClient, work: Work, args: Arguments): Promise<void> {
  const { repository, ground, report } = work;
  const { namespace } = ground.settings;
  await checkServed(hub, ground.install);
  await install(hub, ground.install, report);
  const manager = await ensureManager(hub, work, args);
  const { recipient } = manager;
  const key = await ensureSourceSecret(hub, namespace, ground.source, args);
  if (ground.source.secret !== undefined)
    report.told(`Secret ${namespace}/${ground.source.secret}`, key.isNew ? "created" : "unchanged");
  const commit = await publish(work, { ...ground, recipient }, manager);
  await closeLoop(hub, work);
  const accepted = await canHubRead(hub, namespace, ground.source, repository.settings.branch);
  const result = {
    changed: report.isChanged,
    repository: repository.url,
    branch: repository.branch,
    commit,
    recipient,
    hub: { url: ground.source.url, canRead: accepted ?? null, ...deployKeyOf(ground.source, key) },
    steps: report.steps,
  };
  process.stdout.write(printed(result, args.output, () => endText(result)));
}

/** A fleet that has files encrypted already keeps the key that opens them: another one is not made. */
async function ensureManager(
  hub: KubeClient,
  { repository, tip, ground, report }: Work,
  { out }: Arguments,
): Promise<FoundKey> {
  const { namespace } = ground.settings;
  const found = await findManagerKey(hub, { namespace, out });
  if (found === undefined && tip?.files.has(sopsPath) === true)
    throw new CapitanError(
      "SecretNotFound",
      `${sopsPath} of ${repository.url} names a manager whose key is neither in Secret ${namespace}/${managerSecret} nor in ${out}: name the offline copy with --out`,
    );
  const key = found ?? (await freshManagerKey(hub, { namespace, out }));
  checkManager(tip, key);
  await key.store();
  const outcomes = {
    hub: "unchanged",
    copy: `created from ${out}`,
    new: `created; offline copy ${out}`,
  };
  report.told(`Secret ${namespace}/${managerSecret}`, outcomes[key.from]);
  return key;
}

/** One line for all objects: which they are, `capitan install` says. */
async function install(
  hub: KubeClient,
  objects: readonly KubeObject[],
  report: Report,
): Promise<void> {
  const counts: Record<Outcome, number> = { created: 0, changed: 0, unchanged: 0 };
  await applyManifests(hub, objects, (_name, outcome) => counts[outcome]++);
  const told = Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([outcome, count]) => `${outcome} ${count} objects`);
  report.told("Capitan", told.join(", "));
}

async function publish({ repository, tip, report }: Work, layout: Layout, manager: FoundKey) {
  const step = `${repository.url} ${repository.branch}`;
  const files = fleetFiles(layout);
  const pushed = await repository.publish((at) => {
    checkManager(at, manager);
    const edits = files.filter(({ path }) => at?.files.has(path) !== true);
    return { edits, message: "Bootstrap the fleet\n\nMade by capitan bootstrap." };
  });
  report.told(step, pushed === undefined ? "unchanged" : `pushed ${pushed.commit}`);
  if (pushed?.clone !== undefined) process.stderr.write(forwardedText(pushed.clone));
  return pushed?.commit ?? tip?.commit;
}

/** What the hub could not open, nobody should be told to write. */
function checkManager(tip: Tip | undefined, { recipient, recipients }: FoundKey): void {
  const sops = tip?.files.get(sopsPath)?.toString("utf8");
  if (sops === undefined || recipients.some((each) => sops.includes(each))) return;
  throw new CapitanError(
    "SopsConfigInvalid",
    `${sopsPath} of the repository does not name the hub's manager, ${recipient}: put back the key that it names, or write this one into every rule`,
  );
}

/** The first time the Fleet that delivers itself is applied by hand; from then on Git decides. */
async function closeLoop(hub: KubeClient, { repository, ground, report }: Work): Promise<void> {
  const text = (await repository.tip())?.files.get(platformPath)?.toString("utf8") ?? "";
  const { namespace } = ground.settings;
  const fleet = parseManifests(text, platformPath).find(({ kind }) => kind === "Fleet");
  if (fleet === undefined)
    throw new CapitanError("FileInvalid", `${repository.url}: ${platformPath} has no Fleet`);
  const name = { namespace: fleet.metadata.namespace ?? namespace, name: fleet.metadata.name };
  const isThere = (await hub.get(hubResources.fleet, name)) !== undefined;
  if (!isThere) await hub.apply(hubResources.fleet, fleet, { manager });
  report.told(`Fleet ${name.namespace}/${name.name}`, isThere ? "unchanged" : "created");
}

function deployKeyOf(source: HubSource, { publicKey }: { readonly publicKey: string | undefined }) {
  if (publicKey === undefined) return {};
  return { deployKey: publicKey, addItAt: deployKeyPage(parseGitUrl(source.url, undefined)) };
}

type Result = {
  readonly changed: boolean;
  readonly hub: {
    readonly url: string;
    readonly canRead: boolean | null;
    readonly deployKey?: string;
    readonly addItAt?: string;
  };
};

function endText({ changed, hub }: Result): string {
  const { url, canRead, deployKey, addItAt } = hub;
  const lines = [changed ? "" : "Nothing was changed: everything was there already.\n"];
  if (canRead === true) lines.push(`The hub can read ${url}.\n`);
  else if (deployKey !== undefined)
    lines.push(
      `The hub cannot read ${url} yet. Add this deploy key, read-only, at ${addItAt ?? ""}\n`,
      `  ${deployKey}\n`,
    );
  else lines.push(`The hub cannot read ${url}: see capitan describe fleet ${platformName}\n`);
  return clean(lines.join(""));
}

async function plan(hub: KubeClient, work: Work, args: Arguments): Promise<void> {
  const { repository, tip, ground, report } = work;
  const { namespace } = ground.settings;
  const known = await findManagerKey(hub, { namespace, out: args.out });
  const recipient = known?.recipient ?? "AGE-RECIPIENT-OF-THE-MANAGER";
  const files = fleetFiles({ ...ground, recipient }).filter(
    ({ path }) => tip?.files.has(path) !== true,
  );
  report.told("Capitan", `would apply ${ground.install.length} objects`);
  const planned = (step: string, isThere: boolean) =>
    report.told(step, isThere ? "unchanged" : "would create");
  planned(`Secret ${namespace}/${managerSecret}`, known?.from === "hub");
  const { secret } = ground.source;
  if (secret !== undefined) {
    const held = await hub.get(hubResources.secret, { namespace, name: secret });
    planned(`Secret ${namespace}/${secret}`, held !== undefined);
  }
  for (const { path } of files) report.told(`${repository.url} ${path}`, "would push");
  const contents = Object.fromEntries(
    files.map(({ path, content }) => [path, Buffer.from(content ?? []).toString("utf8")]),
  );
  const result = {
    dryRun: true,
    hub: { url: ground.source.url },
    files: contents,
    steps: report.steps,
  };
  process.stdout.write(printed(result, args.output, () => "Nothing was done.\n"));
}
