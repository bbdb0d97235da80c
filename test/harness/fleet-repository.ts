import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { root } from "../../hack/lab/paths.ts";
import { generateIdentity } from "../../pkg/sops/index.ts";
import { cliOf } from "./cli.ts";
import { temporary, type GitLab } from "./git.ts";

/** Whose key opens everything in these repositories. */
export const manager = generateIdentity(randomBytes);

/** `.sops.yaml` as a fleet repository begins with it. */
export const sopsYaml = `# Who can read what.
creation_rules:
  - path_regex: \\.sops\\.(ya?ml|json|env|ini)$
    unencrypted_regex: ^(apiVersion|kind|metadata)$
    age: ${manager.recipient}
`;

/** The secret parameter of every cluster that is made here. */
export const password = "correct horse: battery #1";

export type Where = {
  readonly lab: GitLab;
  /** Of the Git server. */
  readonly url: string;
  readonly name: string;
  /** Of the hub; one that leads nowhere by default. */
  readonly kubeconfig?: string;
  readonly files?: Readonly<Record<string, string>>;
};

/** A fleet repository with the lab's template, and the CLI as somebody with a home of their own runs it. */
export async function fleetRepository(t: TestContext, where: Where) {
  const { lab, name, kubeconfig = "/nowhere", files = {} } = where;
  const url = `${where.url}/${name}`;
  const settings = { apiVersion: "capitan.dev/v1alpha1", kind: "Repository", url };
  const template = await readFile(join(root, "templates", "lab.yaml"), "utf8");
  await lab.init(name);
  await lab.git(name, ["config", "http.receivepack", "true"]);
  const parent = await lab.commitFiles(name, {
    ".capitan.yaml": JSON.stringify(settings),
    ".sops.yaml": sopsYaml,
    "management/templates/lab.yaml": template,
    ...files,
  });
  const home = await temporary(t);
  const secret = join(home, "password");
  await writeFile(secret, `${password}\n`);
  const env = {
    HOME: home,
    XDG_CACHE_HOME: join(home, "cache"),
    SOPS_AGE_KEY: manager.identity,
    GIT_AUTHOR_NAME: "Ada",
    GIT_AUTHOR_EMAIL: "ada@example.test",
    GIT_CONFIG_GLOBAL: "/dev/null",
  };
  const cli = cliOf(kubeconfig);
  const run = (words: readonly string[], input?: string) =>
    cli([...words, "--repo", url], { env, ...(input === undefined ? {} : { input }) });
  const split = (words: string) => words.split(" ").filter(Boolean);
  return {
    name,
    url,
    parent,
    secret,
    env,
    run: (words: string, input?: string) => run(split(words), input),
    /** Makes a cluster of the template lab. */
    create: (cluster: string, words = "") =>
      run([
        ...split(`create cluster ${cluster} -t lab --set-file`),
        `adminPassword=${secret}`,
        ...split(words),
      ]),
    show: (path: string, branch = "main") => lab.git(name, ["show", `${branch}:${path}`]),
    files: async () => (await lab.git(name, ["ls-tree", "-r", "--name-only", "main"])).split("\n"),
    log: () => lab.git(name, ["log", "--format=%an %s", "main"]),
    head: () => lab.git(name, ["rev-parse", "main"]),
    /** Somebody changes a file with git. */
    edit: async (path: string, change: (text: string) => string) => {
      const work = await temporary(t);
      const git = (...args: string[]) => lab.git(".", ["-C", work, ...args]);
      await lab.git(".", ["clone", "-q", name, work]);
      const file = join(work, path);
      await writeFile(file, change(await readFile(file, "utf8").catch(() => "")));
      await git("add", "-A");
      await git("commit", "-qm", "by hand");
      await git("push", "-q", "origin", "HEAD:main");
    },
    /** A file of the repository, opened with the manager's key. */
    decrypt: async (path: string) => {
      const file = join(home, path.replaceAll("/", "-"));
      await writeFile(file, `${await lab.git(name, ["show", `main:${path}`])}\n`);
      return (await cli(["secrets", "decrypt", file], { env })).stdout;
    },
  };
}
