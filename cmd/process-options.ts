import { messageOf } from "../pkg/errors/index.ts";
import type { LogLevel } from "../pkg/log/index.ts";

/** The options of a process, or its end: with the usage on stdout when it was asked for, on stderr when they are wrong. */
export function optionsOrExit<T>(
  args: readonly string[],
  usage: string,
  parse: (args: readonly string[]) => T,
): T {
  if (args.includes("--help")) {
    console.log(usage);
    process.exit(0);
  }
  try {
    return parse(args);
  } catch (error) {
    console.error(`${messageOf(error)}\n\n${usage}`);
    process.exit(2);
  }
}

/** What `--log-level` says. Throws Error. */
export function logLevelOf(level: string): LogLevel {
  if (!["debug", "info", "warn", "error"].includes(level))
    throw new Error(`--log-level ${level} is none of debug, info, warn, error`);
  return level as LogLevel;
}
