import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { root } from "../lab/paths.ts";
import type { LabFile } from "../lab/state.ts";

/** How a command is run. */
export type Call = {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
};

/** Runs the CLI against the lab's hub, as a person would; gives what it prints. Throws when it fails. */
export async function capitan(
  lab: LabFile,
  args: readonly string[],
  how: Call = {},
): Promise<string> {
  const main = join(root, "cmd", "capitan", "main.ts");
  const env = { ...process.env, KUBECONFIG: lab.hubKubeconfig, ...how.env };
  const running = promisify(execFile)(process.execPath, [main, ...args], {
    env,
    ...(how.cwd === undefined ? {} : { cwd: how.cwd }),
  });
  running.child.stdin?.end(how.input ?? "");
  return (await running).stdout;
}
