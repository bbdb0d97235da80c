import { spawn } from "node:child_process";
import { CapitanError, messageOf } from "../../pkg/errors/index.ts";

const timeoutMs = 60_000;
const outputBytesMax = 1024 * 1024;

export type Ran = { readonly code: number; readonly stdout: string; readonly stderr: string };

type How = {
  readonly cwd?: string | undefined;
  readonly input?: string | Buffer;
  readonly env?: Readonly<Record<string, string>>;
};

/** Runs a program of the person's own to its end; undefined when it is not there. It asks nobody anything. */
export function runProgram(
  program: string,
  args: readonly string[],
  { cwd, input = "", env = {} }: How = {},
): Promise<Ran | undefined> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...process.env, GIT_TERMINAL_PROMPT: "0", ...env },
      timeout: timeoutMs,
    });
    const out = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const)
      child[name].setEncoding("utf8").on("data", (text: string) => {
        out[name] += text;
        if (out[name].length > outputBytesMax) child.kill();
      });
    // A program that does not read what it is given is its own problem.
    child.stdin.on("error", () => undefined);
    child.stdin.end(input);
    child.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return resolve(undefined);
      return reject(new CapitanError("FileInvalid", `${program}: ${messageOf(error)}`));
    });
    child.once("close", (code) => resolve({ code: code ?? -1, ...out }));
  });
}

/** What `git ARGS` prints, without the last line break; undefined when it fails or there is no git. */
export async function gitSays(args: readonly string[], how: How = {}): Promise<string | undefined> {
  const ran = await runProgram("git", args, how);
  return ran?.code === 0 ? ran.stdout.replace(/\n$/, "") : undefined;
}
