import { readFile } from "node:fs/promises";
import { serverProcess } from "../lab/apiserver.ts";
import { pidOf } from "../lab/processes.ts";

/** Milliseconds in a tick of /proc/PID/stat: USER_HZ is 100 on every Linux that Node runs on. */
const tickMs = 10;

/** CPU time that a process of the lab has used so far, in milliseconds, in steps of 10. */
async function cpuMs(labDir: string, name: string): Promise<number> {
  const pid = await pidOf(labDir, name);
  if (pid === undefined) throw new Error(`${name} does not run`);
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * tickMs;
}

/** What one process and the API servers have used. */
export type Cpu = { readonly ownMs: number; readonly serversMs: number };

/** CPU time used so far by a process, and by the hub's API server and those of `clusters` together. */
export async function cpuOf(
  labDir: string,
  process: string,
  clusters: readonly string[],
): Promise<Cpu> {
  const servers = ["hub", ...clusters].map((name) => cpuMs(labDir, serverProcess(name)));
  const [ownMs, ...each] = await Promise.all([cpuMs(labDir, process), ...servers]);
  return { ownMs: ownMs ?? 0, serversMs: each.reduce((sum, ms) => sum + ms, 0) };
}
