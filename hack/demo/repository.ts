// The fleet repository of the demo: clusters/ with the lab's addresses, on the lab's Git server.
import { execFile } from "node:child_process";
import { cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Git } from "../lab/git.ts";
import { root } from "../lab/paths.ts";
import type { LabFile } from "../lab/state.ts";

/** What a person who commits is called here, and nothing of this machine's own settings. */
export const person = {
  GIT_AUTHOR_NAME: "Platform Engineer",
  GIT_AUTHOR_EMAIL: "platform@example.test",
  GIT_COMMITTER_NAME: "Platform Engineer",
  GIT_COMMITTER_EMAIL: "platform@example.test",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
};

/** Runs git in a clone; gives what it prints, without the last line break. */
export async function git(cwd: string, ...args: readonly string[]): Promise<string> {
  const env = { ...process.env, ...person };
  return (await promisify(execFile)("git", args, { cwd, env })).stdout.trimEnd();
}

/**
 * A clone whose only commit is the example repository: the addresses are the lab's, and the manager of
 * `.sops.yaml` is the hub's. It is not pushed yet.
 */
export async function exampleRepository(
  lab: LabFile,
  remote: Git,
  recipient: string,
): Promise<string> {
  const dir = join(lab.dir, "fleet");
  await rm(dir, { recursive: true, force: true });
  await git(lab.dir, "clone", "--quiet", remote.url, dir);
  await cp(join(root, "clusters"), dir, { recursive: true, dereference: true });
  await replaceIn(dir, [
    ["https://git.example/fleet.git", remote.url],
    ["registry.example", lab.registry],
    [/age1[a-z0-9]{58}/g, recipient],
  ]);
  return dir;
}

async function replaceIn(
  dir: string,
  replacements: readonly (readonly [string | RegExp, string])[],
): Promise<void> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => !file.startsWith(join(dir, ".git/")));
  for (const file of files) {
    const text = await readFile(file, "utf8");
    const changed = replacements.reduce((now, [from, to]) => now.replaceAll(from, to), text);
    if (changed !== text) await writeFile(file, changed);
  }
}
