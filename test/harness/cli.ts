import { spawn } from "node:child_process";
import { join } from "node:path";
import { root } from "../../hack/lab/paths.ts";
import type { Ran } from "./index.ts";

const main = join(root, "cmd", "capitan", "main.ts");
const deadlineMs = 120_000;

type How = {
  /** What stdin says; without it stdin is empty. */
  readonly input?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** Ctrl-C is typed as soon as stdout shows this. */
  readonly interruptAt?: string;
};

const ownColours = {
  CI: undefined,
  NO_COLOR: undefined,
  FORCE_COLOR: undefined,
  COLUMNS: undefined,
};

/** Runs a program to its end, stdin closed after `input` or Ctrl-C. */
export function run(command: string, args: readonly string[], how: How = {}): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, ...how.env };
    // Not `timeout`: for a program that is not there its timer goes on, and keeps the process.
    const signal = AbortSignal.timeout(deadlineMs);
    const child = spawn(command, args, { env, cwd: how.cwd, signal });
    const out = { stdout: "", stderr: "" };
    child.stdout.setEncoding("utf8").on("data", (text: string) => (out.stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (out.stderr += text));
    child.once("error", reject);
    child.once("close", (code) => resolve({ code: code ?? -1, ...out }));
    // Who does not read stdin may be gone before it was written.
    child.stdin.on("error", () => undefined);
    const { interruptAt } = how;
    if (interruptAt === undefined) return void child.stdin.end(how.input ?? "");
    child.stdout.on("data", () => {
      if (out.stdout.includes(interruptAt) && child.stdin.writable) child.stdin.end("\u0003");
    });
  });
}

/** Runs the CLI against the hub of a kubeconfig. */
export function cliOf(kubeconfig: string) {
  return (args: readonly string[], how: How = {}): Promise<Ran> =>
    run(process.execPath, [main, ...args], { ...how, env: { KUBECONFIG: kubeconfig, ...how.env } });
}

/**
 * Runs a shell command line in a terminal of that many columns, where `capitan` is the CLI and
 * `input` is typed. `stdout` is what the terminal shows, with \n for line ends. Needs `script` of
 * util-linux.
 */
export async function inTerminal(line: string, columns: number, how: How = {}): Promise<Ran> {
  const define = `capitan() { ${process.execPath} ${main} "$@"; }`;
  const command = `stty cols ${columns} rows 40 -echo; ${define}; ${line}`;
  // What a CI system sets to switch colours off, or on, is not the terminal's.
  const env = { TERM: "xterm-256color", SHELL: "/bin/bash", ...ownColours, ...how.env };
  const ran = await run("script", ["-qec", command, "/dev/null"], { ...how, env });
  return { ...ran, stdout: ran.stdout.replaceAll("\r\n", "\n") };
}
