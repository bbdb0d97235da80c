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
  /** The commit whose run waits to be let go. */
  readonly held: () => Promise<string | undefined>;
  /** What happens to the next runs, in order. Without this nothing does. */
  readonly next: (mishaps: readonly CiMishap[]) => Promise<void>;
  /** Lets the run go that waits. */
  readonly release: () => Promise<void>;
  /** Runs the commit again whose run failed last, as a person would who presses "retry". */
  readonly retry: () => Promise<void>;
};

export type CiRun = { readonly commit: string; readonly ok: boolean; readonly ms: number };

/** `late`: the run waits until it is let go. `fails`: it ends without having published. */
export type CiMishap = "late" | "fails";

/** What the process says of itself. */
export type CiState = { readonly runs: readonly CiRun[]; readonly held: string | undefined };

/** Starts a process that runs `ci/publish.sh` of each commit that it is told of, one after the other, in a fresh clone. */
export async function startCi(lab: LabFile, repository: string): Promise<Ci> {
  const { dir, ports, registry } = lab;
  await assertFree(ports.ci, "ci");
  const url = `http://127.0.0.1:${ports.ci}`;
  const args = [join(root, "hack", "lab", "ci-main.ts"), repository, registry, String(ports.ci)];
  await launch(dir, { name: "ci", command: process.execPath, args });
  const state = async () => (await (await fetch(url)).json()) as CiState;
  const post = async (path: string, body: unknown = {}) => {
    const reply = await fetch(`${url}${path}`, { method: "POST", body: JSON.stringify(body) });
    if (!reply.ok) throw new Error(`CI: ${path}: HTTP ${reply.status}`);
  };
  await until(
    async () => {
      await assertAlive(dir, "ci");
      return state();
    },
    { deadlineMs: 20_000, what: "the CI process" },
  );
  return {
    url,
    runs: async () => (await state()).runs,
    held: async () => (await state()).held,
    next: (mishaps) => post("/next", mishaps),
    release: () => post("/release"),
    retry: () => post("/retry"),
  };
}
