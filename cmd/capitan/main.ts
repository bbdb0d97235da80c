// The CLI. Results go to stdout, progress and errors to stderr. Exit codes: docs/cli.md.
import { writeSync } from "node:fs";
import { hideBin } from "yargs/helpers";
import { isCapitanError, messageOf } from "../../pkg/errors/index.ts";
import { cli } from "./commands.ts";
import { remedyOf } from "./hub.ts";
import { namesAskedFor } from "./names.ts";
import { clean } from "./text.ts";
import { inOurWords, WrongUsage } from "./usage.ts";

/** Whoever reads the output may stop early, as `head` does: that is no failure. A full disk is one. */
function endUnread(error: NodeJS.ErrnoException): void {
  if (error.code === "EPIPE") process.exit(process.exitCode ?? 0);
  writeSync(process.stderr.fd, `✗ cannot write the output: ${error.message}\n`);
  process.exit(1);
}

function report(error: unknown): number {
  const message = clean(messageOf(error));
  if (error instanceof WrongUsage) {
    process.stderr.write(`✗ ${message.replaceAll(/\s*\n\s*/g, " ")}; see --help\n`);
    return 2;
  }
  const code = isCapitanError(error) ? `${error.code}: ` : "";
  process.stderr.write(`✗ ${code}${message}\n`);
  if (!isCapitanError(error)) return 1;
  process.stderr.write(`  → ${remedyOf(error)}\n`);
  return 1;
}

async function run(args: readonly string[]): Promise<void> {
  const names = await namesAskedFor(args);
  if (names !== undefined) {
    process.stdout.write(names.map((name) => `${name}\n`).join(""));
    return;
  }
  await cli(inOurWords(args))
    .fail((message, error) => {
      // Only what is thrown here keeps the command from being run. A YError is the parser's own.
      throw error instanceof Error && error.name !== "YError" ? error : new WrongUsage(message);
    })
    .parseAsync();
}

// Node waits for requests while it takes itself apart, and one that a frozen peer left may never end.
process.on("exit", (code) => process.exit(code));
process.stdout.on("error", endUnread);
process.stderr.on("error", () => process.exit(process.exitCode ?? 1));
try {
  await run(hideBin(process.argv));
} catch (error) {
  const exitCode = report(error);
  process.exitCode ??= exitCode;
}
