import { execFile } from "node:child_process";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { root } from "./paths.ts";
import { assertFree } from "./ports.ts";
import { assertAlive, launch } from "./processes.ts";
import type { LabFile } from "./state.ts";
import { until } from "./wait.ts";

/** Who is to hear of each push: a POST as GitHub sends it, signed with the token if there is one. */
export type Listener = { readonly url: string; readonly token?: string };

/** The lab's Git server, with one repository. */
export type Git = {
  readonly url: string;
  /** The bare repository on disk. */
  readonly dir: string;
  readonly tell: (listeners: readonly Listener[]) => Promise<void>;
};

/** Starts a real `git http-backend` in a process of its own, with an empty repository that everybody may push to, but not force. */
export async function startGit(lab: LabFile, repository = "fleet.git"): Promise<Git> {
  const { dir, ports } = lab;
  await assertFree(ports.git, "git");
  const repositories = join(dir, "git");
  const bare = join(repositories, repository);
  const url = `http://127.0.0.1:${ports.git}/${repository}`;
  await mkdir(bare, { recursive: true });
  const git = (...args: string[]) => promisify(execFile)("git", args, { cwd: bare });
  await git("init", "--quiet", "--bare", "--initial-branch=main");
  await git("config", "http.receivepack", "true");
  await git("config", "receive.denyNonFastForwards", "true");
  await git("config", "receive.denyDeletes", "true");
  const listeners = join(bare, "listeners.json");
  await writeFile(listeners, "[]");
  const hook = join(bare, "hooks", "post-receive");
  await writeFile(hook, postReceive(url));
  await chmod(hook, 0o755);
  const args = [join(root, "hack", "lab", "git-main.ts"), repositories, String(ports.git)];
  await launch(dir, { name: "git", command: process.execPath, args });
  await until(
    async () => {
      await assertAlive(dir, "git");
      return (await fetch(`${url}/info/refs?service=git-upload-pack`)).ok;
    },
    { deadlineMs: 20_000, what: "the Git server" },
  );
  return { url, dir: bare, tell: (all) => writeFile(listeners, JSON.stringify(all)) };
}

/** A push does not fail because somebody does not listen. */
const postReceive = (url: string) => `#!${process.execPath}
const { createHmac } = require("node:crypto");
const { readFileSync } = require("node:fs");
const listeners = JSON.parse(readFileSync("listeners.json", "utf8"));
const pushed = readFileSync(0, "utf8").split("\\n").filter(Boolean).map((line) => line.split(" "));
const tell = (listener, [before, after, ref]) => {
  const body = JSON.stringify({ ref, before, after, repository: { clone_url: ${JSON.stringify(url)} } });
  const headers = { "content-type": "application/json", "x-github-event": "push" };
  if (listener.token !== undefined)
    headers["x-hub-signature-256"] =
      "sha256=" + createHmac("sha256", listener.token).update(body).digest("hex");
  const signal = AbortSignal.timeout(5000);
  return fetch(listener.url, { method: "POST", body, headers, signal }).catch(() => undefined);
};
Promise.all(listeners.flatMap((listener) => pushed.map((push) => tell(listener, push))));
`;
