// The CLI. Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage.
import { hideBin } from "yargs/helpers";
import { codes, isCapitanError, messageOf } from "../../pkg/errors/index.ts";
import { cli } from "./commands.ts";
import { clean } from "./text.ts";

/** Thrown, not noted: yargs would go on and run the command all the same. */
class UsageError extends Error {}

async function main(): Promise<void> {
  await cli(hideBin(process.argv))
    .fail((message, error) => {
      if (error instanceof Error) throw error;
      throw new UsageError(message);
    })
    .parseAsync();
}

try {
  await main();
} catch (error) {
  const code = isCapitanError(error) ? `${error.code}: ` : "";
  process.stderr.write(`✗ ${code}${clean(messageOf(error))}\n`);
  if (isCapitanError(error)) process.stderr.write(`  → ${codes[error.code].remedy}\n`);
  // A command may have set a code of its own before it failed.
  process.exitCode ??= error instanceof UsageError ? 2 : 1;
}
