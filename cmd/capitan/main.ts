// The CLI. Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage.
import yargs, { type CommandModule } from "yargs";
import { hideBin } from "yargs/helpers";
import { codes, isCapitanError, messageOf } from "../../pkg/errors/index.ts";
import { adoptMember } from "./adopt-member.ts";
import { describeFleet } from "./describe-fleet.ts";
import { describeMember } from "./describe-member.ts";
import { getFleets } from "./get-fleets.ts";
import { getMembers } from "./get-members.ts";
import { install } from "./install.ts";
import { registryVerbs } from "./registry-verbs.ts";
import { resumeMember, suspendMember } from "./suspend-member.ts";
import { clean } from "./text.ts";
import { verb } from "./verb.ts";
import { version } from "./version.ts";

/** What was typed is no command. */
class UsageError extends Error {}

async function main(): Promise<void> {
  const cli = yargs(hideBin(process.argv))
    .scriptName("capitan")
    .usage(
      "$0 VERB [OBJECT] [options]\n\nRuns a fleet of Cluster API clusters. The hub is found by KUBECONFIG.",
    )
    .command(install as CommandModule)
    .command(
      verb("get", "List objects", [getFleets, getMembers] as readonly CommandModule<
        object,
        never
      >[]),
    )
    .command(
      verb("describe", "Show one object, what stands in its way, and what to do", [
        describeMember,
        describeFleet,
      ] as readonly CommandModule<object, never>[]),
    )
    .command(
      verb("suspend", "Leave something alone for a while", [
        suspendMember,
      ] as readonly CommandModule<object, never>[]),
    )
    .command(
      verb("resume", "End a suspension", [resumeMember] as readonly CommandModule<object, never>[]),
    )
    .command(
      verb("adopt", "Take something over", [adoptMember] as readonly CommandModule<
        object,
        never
      >[]),
    )
    .command(registryVerbs)
    .command(version as CommandModule)
    .demandCommand(1, "what? see --help")
    .strict()
    .version(false)
    .help()
    .fail((message, error) => {
      // Thrown, for otherwise the command would still be run.
      throw error instanceof Error ? error : new UsageError(message);
    })
    .exitProcess(false);
  await cli.parseAsync();
}

try {
  await main();
} catch (error) {
  const code = isCapitanError(error) ? `${error.code}: ` : "";
  process.stderr.write(`✗ ${code}${clean(messageOf(error))}\n`);
  if (isCapitanError(error)) process.stderr.write(`  → ${codes[error.code].remedy}\n`);
  process.exitCode ??= error instanceof UsageError ? 2 : 1;
}
