import { execFile, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { root } from "../lab/paths.ts";
import type { LabFile } from "../lab/state.ts";

/** How a command is run. */
export type Call = {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
};

const main = join(root, "cmd", "capitan", "main.ts");

/** Runs the CLI against the lab's hub, as a person would; gives what it prints. Throws when it fails. */
export async function capitan(
  lab: LabFile,
  args: readonly string[],
  how: Call = {},
): Promise<string> {
  const env = { ...process.env, KUBECONFIG: lab.hubKubeconfig, ...how.env };
  const running = promisify(execFile)(process.execPath, [main, ...args], {
    env,
    ...(how.cwd === undefined ? {} : { cwd: how.cwd }),
  });
  running.child.stdin?.end(how.input ?? "");
  return (await running).stdout;
}

/** Runs the CLI and hands over each line that it prints, as it comes. Throws when it fails. */
export async function follow(
  lab: LabFile,
  args: readonly string[],
  signal: AbortSignal,
  onLine: (line: string) => void,
): Promise<void> {
  const env = { ...process.env, KUBECONFIG: lab.hubKubeconfig };
  const stdio = ["ignore", "pipe", "inherit"] as const;
  const child = spawn(process.execPath, [main, ...args], { env, signal, stdio: [...stdio] });
  const ended = new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) =>
      code === 0
        ? resolve()
        : reject(new Error(`capitan ${args.join(" ")}: exit ${code ?? "by a signal"}`)),
    );
  });
  createInterface({ input: child.stdout }).on("line", onLine);
  await ended;
}
