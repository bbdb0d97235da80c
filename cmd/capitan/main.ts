// The CLI. Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage.
import { hideBin } from "yargs/helpers";
import { codes, isCapitanError, messageOf } from "../../pkg/errors/index.ts";
import { cli } from "./commands.ts";
import { clean } from "./text.ts";

/** The exit code of wrong usage, or undefined: a command may have set its own. */
async function main(): Promise<number | undefined> {
  let usageError: string | undefined;
  await cli(hideBin(process.argv))
    .fail((message, error) => {
      if (error instanceof Error) throw error;
      usageError = message;
    })
    .parseAsync();
  if (usageError === undefined) return undefined;
  process.stderr.write(`✗ ${usageError}\n`);
  return 2;
}

try {
  process.exitCode = (await main()) ?? process.exitCode ?? 0;
} catch (error) {
  const code = isCapitanError(error) ? `${error.code}: ` : "";
  process.stderr.write(`✗ ${code}${clean(messageOf(error))}\n`);
  if (isCapitanError(error)) process.stderr.write(`  → ${codes[error.code].remedy}\n`);
  process.exitCode ??= 1;
}
