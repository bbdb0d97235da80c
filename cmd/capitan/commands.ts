import yargs, { type Argv, type CommandModule } from "yargs";
import { adoptMember } from "./adopt-member.ts";
import { approveFleet, approveMember } from "./approve.ts";
import { bootstrap } from "./bootstrap.ts";
import { check } from "./check.ts";
import { completion } from "./completion.ts";
import { copyArtifact } from "./copy-artifact.ts";
import { createCluster } from "./create-cluster.ts";
import { deleteCluster } from "./delete-cluster.ts";
import { createTenant } from "./create-tenant.ts";
import { describeFleet } from "./describe-fleet.ts";
import { describeMember } from "./describe-member.ts";
import { diffArtifact } from "./diff-artifact.ts";
import { diffFleet } from "./diff-fleet.ts";
import { discoverArtifact } from "./discover-artifact.ts";
import { events } from "./events.ts";
import { getClusters } from "./get-clusters.ts";
import { getFleets } from "./get-fleets.ts";
import { getMembers } from "./get-members.ts";
import { getReceivers } from "./get-receivers.ts";
import { getRecipients } from "./get-recipients.ts";
import { getRevisions } from "./get-revisions.ts";
import { initKeys } from "./init-keys.ts";
import { install } from "./install.ts";
import { listArtifacts } from "./list-artifacts.ts";
import { listRepositories } from "./list-repositories.ts";
import { planFleet } from "./plan-fleet.ts";
import { pullArtifact } from "./pull-artifact.ts";
import { pushArtifact } from "./push-artifact.ts";
import { reconcileFleet, reconcileMember } from "./reconcile.ts";
import { renderFleet, renderLayer } from "./render-fleet.ts";
import { rotateKeys } from "./rotate-keys.ts";
import { rotateSecret } from "./rotate-secret.ts";
import { rotateStatus } from "./rotate-status.ts";
import { secretsDecrypt } from "./secrets-decrypt.ts";
import { secretsEdit } from "./secrets-edit.ts";
import { secretsEncrypt } from "./secrets-encrypt.ts";
import { secretsInspect } from "./secrets-inspect.ts";
import { secretsRotate } from "./secrets-rotate.ts";
import { secretsSet } from "./secrets-set.ts";
import { secretsUpdatekeys } from "./secrets-updatekeys.ts";
import { secretsVerify } from "./secrets-verify.ts";
import { resumeFleet, suspendFleet } from "./suspend-fleet.ts";
import { resumeMember, suspendMember } from "./suspend-member.ts";
import { tagArtifact } from "./tag-artifact.ts";
import { templateDescribe } from "./template-describe.ts";
import { templateLint } from "./template-lint.ts";
import { templateList } from "./template-list.ts";
import { templateRender } from "./template-render.ts";
import { trace } from "./trace.ts";
import { treeMember } from "./tree-member.ts";
import { uninstall } from "./uninstall.ts";
import { upgradeCluster } from "./upgrade-cluster.ts";
import { demandingValues, WrongUsage } from "./usage.ts";
import { version } from "./version.ts";

/** A command that is complete by itself, or a verb with its nouns. */
export type Command =
  | { readonly module: CommandModule }
  | { readonly verb: string; readonly describe: string; readonly nouns: readonly CommandModule[] };

const of = <T>(module: CommandModule<object, T>): CommandModule =>
  demandingValues(module as unknown as CommandModule);

/** Every command, in the order in which help and docs/cli.md show them. */
export const commands: readonly Command[] = [
  { module: of(bootstrap) },
  { module: of(install) },
  { module: of(uninstall) },
  { verb: "init", describe: "Make what a fleet begins with", nouns: [of(initKeys)] },
  { module: of(check) },
  {
    verb: "get",
    describe: "List objects",
    nouns: [
      of(getFleets),
      of(getMembers),
      of(getClusters),
      of(getRevisions),
      of(getReceivers),
      of(getRecipients),
    ],
  },
  {
    verb: "describe",
    describe: "Show one object, what stands in its way, and what to do",
    nouns: [of(describeMember), of(describeFleet)],
  },
  { verb: "tree", describe: "Show what belongs to an object", nouns: [of(treeMember)] },
  { module: of(trace) },
  { module: of(events) },
  {
    verb: "diff",
    describe: "Show what would change, without changing it",
    nouns: [of(diffFleet), of(diffArtifact)],
  },
  {
    verb: "render",
    describe: "Print what is applied to a cluster",
    nouns: [of(renderFleet), of(renderLayer)],
  },
  { verb: "plan", describe: "Show who would be concerned", nouns: [of(planFleet)] },
  {
    verb: "approve",
    describe: "Allow exactly the removal that is asked for",
    nouns: [of(approveFleet), of(approveMember)],
  },
  {
    verb: "reconcile",
    describe: "Look at something now",
    nouns: [of(reconcileFleet), of(reconcileMember)],
  },
  {
    verb: "suspend",
    describe: "Leave something alone for a while",
    nouns: [of(suspendFleet), of(suspendMember)],
  },
  {
    verb: "resume",
    describe: "End a suspension",
    nouns: [of(resumeFleet), of(resumeMember)],
  },
  { verb: "adopt", describe: "Take something over", nouns: [of(adoptMember)] },
  { verb: "push", describe: "Push to a registry", nouns: [of(pushArtifact)] },
  { verb: "pull", describe: "Pull from a registry", nouns: [of(pullArtifact)] },
  { verb: "tag", describe: "Name what is in a registry", nouns: [of(tagArtifact)] },
  {
    verb: "list",
    describe: "List what is in a registry",
    nouns: [of(listArtifacts), of(listRepositories)],
  },
  { verb: "copy", describe: "Copy between registries", nouns: [of(copyArtifact)] },
  {
    verb: "discover",
    describe: "Find what refers to something in a registry",
    nouns: [of(discoverArtifact)],
  },
  {
    verb: "create",
    describe: "Make a cluster through Git, or a tenant",
    nouns: [of(createCluster), of(createTenant)],
  },
  { verb: "upgrade", describe: "Change a cluster, through Git", nouns: [of(upgradeCluster)] },
  { verb: "delete", describe: "Take a cluster away, through Git", nouns: [of(deleteCluster)] },
  {
    verb: "template",
    describe: "Look at templates of clusters",
    nouns: [of(templateList), of(templateDescribe), of(templateRender), of(templateLint)],
  },
  {
    verb: "secrets",
    describe: "Work with files encrypted by SOPS",
    nouns: [
      of(secretsEncrypt),
      of(secretsDecrypt),
      of(secretsEdit),
      of(secretsSet),
      of(secretsUpdatekeys),
      of(secretsRotate),
      of(secretsVerify),
      of(secretsInspect),
    ],
  },
  {
    verb: "rotate",
    describe: "Change keys and values all over a fleet, with proof",
    nouns: [of(rotateKeys), of(rotateSecret), of(rotateStatus)],
  },
  { module: of(completion) },
  { module: of(version) },
];

// A text for one and one for several, which the type does not know.
const missing = {
  one: "an argument is missing: got %s, need %s",
  other: "an argument is missing: got %s, need %s",
} as unknown as string;
const noValue = {
  one: "option %s needs a value",
  other: "option %s needs a value",
} as unknown as string;

/** The parser of these arguments, with every command. It never ends the process. */
export function cli(args: readonly string[]): Argv {
  const base = yargs([...args])
    .scriptName("capitan")
    .usage(
      "$0 VERB [OBJECT] [options]\n\nRuns a fleet of Cluster API clusters. The hub is found by KUBECONFIG.",
    );
  return (
    commands
      .reduce((y, command) => y.command(moduleOf(command)), base)
      .demandCommand(1, "say what to do, for instance: capitan get fleets")
      .middleware((argv) => {
        const isAnswered = argv["help"] === true || argv["get-yargs-completions"] !== undefined;
        if (!isAnswered) refuseUnknown(argv._.map(String));
      }, true)
      .strict()
      // The words of docs/cli.md, whatever the locale is; of an option said twice the last, as kubectl.
      .locale("en")
      .updateLocale({
        "Not enough non-option arguments: got %s, need at least %s": missing,
        "Not enough arguments following: %s": "option %s needs a value",
        "Missing argument value: %s": noValue,
      })
      .parserConfiguration({ "duplicate-arguments-array": false })
      .version(false)
      .help()
      .alias("help", "h")
      .exitProcess(false)
  );
}

function moduleOf(command: Command): CommandModule {
  if ("module" in command) return command.module;
  return {
    command: command.verb,
    describe: command.describe,
    builder: (y) =>
      command.nouns
        .reduce((all, module) => all.command(module), y)
        .demandCommand(1, sayWhich(command)),
    handler: () => undefined,
  };
}

/** An unknown verb, or an unknown noun after a verb. Throws WrongUsage, with what there is. */
function refuseUnknown([verb, noun]: readonly string[]): void {
  if (verb === undefined) return;
  const command = commands.find((one) =>
    "module" in one ? wordsOf(one.module).includes(verb) : one.verb === verb,
  );
  if (command === undefined) throw new WrongUsage(`there is no command ${verb}`);
  if ("module" in command || noun === undefined) return;
  if (command.nouns.some((module) => wordsOf(module).includes(noun))) return;
  throw new WrongUsage(`there is no ${verb} ${noun}; ${sayWhich(command)}`);
}

const sayWhich = ({ verb, nouns }: Extract<Command, { readonly verb: string }>) =>
  `say which: capitan ${verb} ${nouns.map((module) => wordsOf(module)[0]).join("|")}`;

/** By which words a command is called. */
const wordsOf = ({ command, aliases = [] }: CommandModule) =>
  [command, aliases].flat().map((each) => String(each).split(" ")[0] ?? "");
