import { execFile } from "node:child_process";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { root } from "./paths.ts";
import { assertFree } from "./ports.ts";
import { assertAlive, launch } from "./processes.ts";
import type { LabFile } from "./state.ts";
import { until } from "./wait.ts";

/** The lab's Git server, and what it has. */
export type Git = {
  /** Address of the bare repository. */
  readonly url: string;
  /** Whoever is to hear of each push of a branch: a POST with `{"ref", "after"}` as GitHub sends it. */
  readonly tell: (urls: readonly string[]) => Promise<void>;
};

/** Starts a real `git http-backend` in a process of its own, with one empty repository that everybody may push to. */
export async function startGit(lab: LabFile, repository = "fleet.git"): Promise<Git> {
  const { dir, ports } = lab;
  await assertFree(ports.git, "git");
  const repositories = join(dir, "git");
  const bare = join(repositories, repository);
  await mkdir(bare, { recursive: true });
  const git = (...args: string[]) => promisify(execFile)("git", args, { cwd: bare });
  await git("init", "--quiet", "--bare", "--initial-branch=main");
  await git("config", "http.receivepack", "true");
  await git("config", "receive.denyNonFastForwards", "true");
  await git("config", "receive.denyDeletes", "true");
  const listeners = join(bare, "listeners");
  await writeFile(listeners, "");
  const hook = join(bare, "hooks", "post-receive");
  await writeFile(hook, postReceive);
  await chmod(hook, 0o755);
  const args = [join(root, "hack", "lab", "git-main.ts"), repositories, String(ports.git)];
  await launch(dir, { name: "git", command: process.execPath, args });
  const url = `http://127.0.0.1:${ports.git}/${repository}`;
  await until(
    async () => {
      await assertAlive(dir, "git");
      return (await fetch(`${url}/HEAD`)).ok;
    },
    { deadlineMs: 20_000, what: "the Git server" },
  );
  return { url, tell: (urls) => writeFile(listeners, urls.map((one) => `${one}\n`).join("")) };
}

/** A pushed branch is told to everybody in `listeners`; a push does not fail because nobody listens. */
const postReceive = `#!/bin/sh
while read -r before after ref; do
  while read -r url; do
    curl --silent --show-error --max-time 5 --output /dev/null \\
      --header 'Content-Type: application/json' \\
      --data "{\\"ref\\":\\"$ref\\",\\"before\\":\\"$before\\",\\"after\\":\\"$after\\"}" "$url" || true
  done < listeners
done
`;
