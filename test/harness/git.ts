import { execFile, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import ssh2 from "ssh2";
import {
  GitRepository,
  PackCache,
  type GitAccess,
  type GitRepositoryOptions,
} from "../../pkg/git/index.ts";
import { parseGitUrl } from "../../pkg/gitdata/index.ts";
import type { ArtifactFiles } from "../../pkg/oci/index.ts";
import { until } from "../../hack/lab/wait.ts";
import { run } from "./cli.ts";

const identity = {
  GIT_AUTHOR_NAME: "lab",
  GIT_AUTHOR_EMAIL: "lab@example.test",
  GIT_COMMITTER_NAME: "lab",
  GIT_COMMITTER_EMAIL: "lab@example.test",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
};

/** What one entry of a tree is: its mode, its name, its object. */
export type Entry = readonly [mode: string, name: string | Buffer, oid: string];

/** Bare repositories in a directory of their own, made by the real `git`. */
export class GitLab {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  static async make(): Promise<GitLab> {
    return new GitLab(await mkdtemp(join(tmpdir(), "capitan-git-")));
  }

  remove(): Promise<void> {
    return rm(this.root, { recursive: true, force: true });
  }

  /** What `git ARGS` prints, without the last line break. */
  git(repository: string, args: readonly string[], input?: string | Buffer): Promise<string> {
    const options = {
      cwd: join(this.root, repository),
      env: { PATH: process.env["PATH"], ...identity },
      maxBuffer: 64 * 1024 * 1024,
    };
    return new Promise((resolve, reject) => {
      const child = execFile("git", args, options, (error, stdout, stderr) => {
        if (error === null) resolve(stdout.trimEnd());
        else reject(new Error(`git ${args.join(" ")}: ${stderr}`, { cause: error }));
      });
      // A command that reads nothing may be gone by now; whether it did its work, its exit code says.
      child.stdin?.on("error", () => undefined);
      child.stdin?.end(input ?? "");
    });
  }

  async init(repository: string): Promise<void> {
    await this.git(".", ["init", "-q", "--bare", "--initial-branch=main", repository]);
  }

  blob(repository: string, content: string | Buffer): Promise<string> {
    return this.git(repository, ["hash-object", "-w", "--stdin"], content);
  }

  /** A tree with exactly these entries, however wrong they are. */
  tree(repository: string, entries: readonly Entry[]): Promise<string> {
    const bytes = entries.flatMap(([mode, name, oid]) => [
      Buffer.from(`${mode} `),
      Buffer.from(name),
      Buffer.from([0]),
      Buffer.from(oid, "hex"),
    ]);
    const args = ["hash-object", "-w", "--stdin", "--literally", "-t", "tree"];
    return this.git(repository, args, Buffer.concat(bytes));
  }

  /** A commit of a tree on a branch; without a parent it replaces what was there. */
  async commit(
    repository: string,
    tree: string,
    { branch = "main", parent }: { readonly branch?: string; readonly parent?: string } = {},
  ): Promise<string> {
    const parents = parent === undefined ? [] : ["-p", parent];
    const args = ["commit-tree", tree, ...parents, "-m", `on ${branch}`];
    const commit = await this.git(repository, args);
    await this.git(repository, ["update-ref", `refs/heads/${branch}`, commit]);
    return commit;
  }

  /** A commit of files in directories `a/b/c`; the deeper ones first. */
  async commitFiles(
    repository: string,
    files: Readonly<Record<string, string>>,
    where: { readonly branch?: string; readonly parent?: string } = {},
  ): Promise<string> {
    return this.commit(repository, await this.#treeOf(repository, Object.entries(files)), where);
  }

  async #treeOf(
    repository: string,
    files: readonly (readonly [string, string])[],
  ): Promise<string> {
    const names = new Set(files.map(([path]) => path.split("/")[0] ?? ""));
    const entries: Entry[] = [];
    for (const name of [...names].sort()) {
      const file = files.find(([path]) => path === name);
      const inside = files
        .filter(([path]) => path.startsWith(`${name}/`))
        .map(([path, content]) => [path.slice(name.length + 1), content] as const);
      entries.push(
        file === undefined
          ? ["40000", name, await this.#treeOf(repository, inside)]
          : ["100644", name, await this.blob(repository, file[1])],
      );
    }
    return this.tree(repository, entries);
  }
}

/** A client with a cache of its own, or with this one. */
export function openGit(
  url: string,
  cacheDir: string,
  options: Partial<GitAccess & GitRepositoryOptions> = {},
): GitRepository {
  const insecure = options.insecure;
  return new GitRepository(parseGitUrl(url, insecure), {
    credentials: {},
    insecure,
    namespace: "fleet",
    secret: "Secret fleet/git",
    cache: new PackCache(cacheDir, (error) => {
      throw error;
    }),
    ...options,
  });
}

export type KeyPair = { readonly private: string; readonly public: string };

/**
 * A key pair in OpenSSH's form. ssh2 drops a leading zero of a public ed25519 key now and then, and
 * then cannot read the pair itself: such a one is thrown away.
 */
export function newKeyPair(kind: "ed25519" | "ecdsa" | "rsa", passphrase?: string): KeyPair {
  for (;;) {
    const pair = makeKeyPair(kind, passphrase);
    if (!(ssh2.utils.parseKey(pair.private, passphrase) instanceof Error)) return pair;
  }
}

function makeKeyPair(kind: "ed25519" | "ecdsa" | "rsa", passphrase: string | undefined): KeyPair {
  if (kind === "rsa") return ssh2.utils.generateKeyPairSync("rsa", { bits: 2048 });
  if (kind === "ecdsa") return ssh2.utils.generateKeyPairSync("ecdsa", { bits: 256 });
  if (passphrase === undefined) return ssh2.utils.generateKeyPairSync("ed25519");
  const lock = { passphrase, cipher: "aes256-ctr", rounds: 16 };
  return ssh2.utils.generateKeyPairSync("ed25519", lock);
}

/** A real ssh-agent with a key, which ends with the test; its socket. */
export async function startAgent(t: TestContext, privateKey: string): Promise<string> {
  const dir = await temporary(t);
  const [socket, file] = [join(dir, "agent"), join(dir, "key")];
  await writeFile(file, privateKey, { mode: 0o600 });
  const agent = spawn("ssh-agent", ["-D", "-a", socket], { stdio: "ignore" });
  t.after(() => agent.kill());
  const env = { SSH_AUTH_SOCK: socket };
  await until(async () => (await run("ssh-add", ["-q", file], { env })).code === 0, {
    deadlineMs: 20_000,
    what: "the agent to take the key",
  });
  await rm(file);
  return socket;
}

/** A directory that goes with the test. */
export async function temporary(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "capitan-git-cache-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

export const textOf = (files: ArtifactFiles) =>
  Object.fromEntries([...files].map(([path, { content }]) => [path, content.toString("utf8")]));
