import { spawn } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { until } from "./wait.ts";

export type Launch = {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
};

/**
 * Starts a process of the lab in the background: its own session, output to `log/NAME.log`, no stdio
 * of ours, recorded in `pid/NAME` with its start time so that a reused pid is never signalled, and in
 * `launch/NAME` with its arguments for `relaunch`.
 */
export async function launch(labDir: string, what: Launch): Promise<number> {
  const { name, command, args, env } = what;
  for (const dir of ["pid", "log", "launch"]) await mkdir(join(labDir, dir), { recursive: true });
  await writeFile(join(labDir, "launch", name), JSON.stringify(what), { mode: 0o600 });
  const log = openSync(join(labDir, "log", `${name}.log`), "a");
  const child = spawn(command, args, {
    detached: true,
    stdio: ["ignore", log, log],
    env: { ...process.env, ...env },
  });
  closeSync(log);
  // Recorded before anything else can happen, so that nobody is ever left behind.
  if (child.pid !== undefined)
    writeFileSync(join(labDir, "pid", name), `${child.pid} ${startTime(child.pid) ?? ""}`);
  await new Promise<void>((resolve, reject) => {
    child.once("error", (error) => reject(new Error(`cannot start ${name}: ${error.message}`)));
    child.once("spawn", resolve);
  });
  child.unref();
  return child.pid ?? 0;
}

/** Starts a process again as it was started last. Throws while it runs, and when it never did. */
export async function relaunch(labDir: string, name: string): Promise<number> {
  const pid = await pidOf(labDir, name);
  if (pid !== undefined) throw new Error(`${name} runs already, with pid ${pid}`);
  const text = await readFile(join(labDir, "launch", name), "utf8").catch(() => {
    throw new Error(`${name} was never started in ${labDir}`);
  });
  return launch(labDir, JSON.parse(text) as Launch);
}

/** The pid of a recorded process that still runs. */
export async function pidOf(labDir: string, name: string): Promise<number | undefined> {
  const text = await readFile(join(labDir, "pid", name), "utf8").catch(() => "");
  const [pid = "", started = ""] = text.split(" ");
  return started !== "" && startTime(Number(pid)) === started ? Number(pid) : undefined;
}

/** Throws with the last lines of its log when a recorded process has ended. */
export async function assertAlive(labDir: string, name: string): Promise<void> {
  if ((await pidOf(labDir, name)) !== undefined) return;
  const log = await readFile(join(labDir, "log", `${name}.log`), "utf8").catch(() => "");
  throw new Error(
    `${name} has ended: ${log.trimEnd().split("\n").slice(-3).join(" | ").slice(-600)}`,
  );
}

/** Ends one recorded process: SIGTERM, after `patienceMs` SIGKILL. Returns when it is gone. */
export async function stop(labDir: string, name: string, patienceMs = 5_000): Promise<void> {
  await signal(labDir, name, "SIGTERM");
  const gone = async () => (await pidOf(labDir, name)) === undefined;
  const ended = await until(gone, { deadlineMs: patienceMs, what: `${name} to end` }).then(
    () => true,
    () => false,
  );
  if (!ended) await kill(labDir, name);
  await rm(join(labDir, "pid", name), { force: true });
}

/** Ends one recorded process as a crash would, by SIGKILL; returns when it is gone. It stays recorded. */
export async function kill(labDir: string, name: string): Promise<void> {
  await signal(labDir, name, "SIGKILL");
  await until(async () => (await pidOf(labDir, name)) === undefined, {
    deadlineMs: 5_000,
    what: `${name} to be killed`,
  });
}

/** Sends a signal to a recorded process, if it runs. */
export async function signal(labDir: string, name: string, kind: NodeJS.Signals): Promise<void> {
  const pid = await pidOf(labDir, name);
  if (pid === undefined) return;
  try {
    process.kill(pid, kind);
  } catch (error) {
    if ((error as { code?: string }).code !== "ESRCH") throw error;
  }
}

/** Names of all recorded processes, alive or not. */
export async function recorded(labDir: string): Promise<readonly string[]> {
  return readdir(join(labDir, "pid")).catch(() => []);
}

/** Whether any process of the lab runs. */
export async function anyAlive(labDir: string): Promise<boolean> {
  for (const name of await recorded(labDir)) {
    if ((await pidOf(labDir, name)) !== undefined) return true;
  }
  return false;
}

/** Whether a process with this pid runs. */
export function isAlive(pid: number): boolean {
  return startTime(pid) !== undefined;
}

/**
 * Field 22 of /proc/PID/stat, or undefined when there is no such process (or only its zombie). While
 * threads of a zombie still end, its ports are still taken: it counts.
 */
function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const ended = fields[0] === "Z" && readdirSync(`/proc/${pid}/task`).length <= 1;
    return ended ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
