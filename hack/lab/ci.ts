import { join } from "node:path";
import { root } from "./paths.ts";
import { assertFree } from "./ports.ts";
import { assertAlive, launch } from "./processes.ts";
import type { LabFile } from "./state.ts";
import { until } from "./wait.ts";

/** The lab's CI system. */
export type Ci = {
  /** Where it hears of pushes. */
  readonly url: string;
  /** The commits that it has finished, in order, with how they ended. */
  readonly runs: () => Promise<readonly CiRun[]>;
};

export type CiRun = { readonly commit: string; readonly ok: boolean; readonly ms: number };

/** Starts a process that runs `ci/publish.sh` of each commit that it is told of, one after the other, in a fresh clone. */
export async function startCi(lab: LabFile, repository: string): Promise<Ci> {
  const { dir, ports, registry } = lab;
  await assertFree(ports.ci, "ci");
  const url = `http://127.0.0.1:${ports.ci}`;
  const args = [join(root, "hack", "lab", "ci-main.ts"), repository, registry, String(ports.ci)];
  await launch(dir, { name: "ci", command: process.execPath, args });
  const runs = async () => (await (await fetch(`${url}/runs`)).json()) as readonly CiRun[];
  await until(
    async () => {
      await assertAlive(dir, "ci");
      return runs();
    },
    { deadlineMs: 20_000, what: "the CI process" },
  );
  return { url, runs };
}
