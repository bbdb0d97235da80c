import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmod, writeFile } from "node:fs/promises";
import type { Server } from "node:http";
import { join } from "node:path";
import { after, before, test, type TestContext } from "node:test";
import * as isomorphic from "isomorphic-git";
import * as fs from "node:fs";
import { startGitHttp } from "../../hack/lab/git-http.ts";
import { startGitSsh } from "../../hack/lab/git-ssh.ts";
import { root } from "../../hack/lab/paths.ts";
import type { GitRepository, Proposal, PublishRequest } from "../../pkg/git/index.ts";
import type { GitCredentials } from "../../pkg/gitdata/index.ts";
import { GitLab, newKeyPair, openGit, startAgent, temporary } from "../harness/git.ts";
import { portOf, proxy, type Answer, type Seen } from "../harness/servers.ts";

const author = { name: "Ada Lovelace", email: "ada@example.test" };
const now = new Date("2026-03-04T05:06:07Z");
const deployKey = newKeyPair("ed25519");
const hostKey = newKeyPair("ed25519");
const basic = `Basic ${btoa("robot:s3cr3t-password")}`;

let lab: GitLab;
let plain: string;
const closing: (() => Promise<unknown>)[] = [];

before(async () => {
  lab = await GitLab.make();
  plain = (await http()).url;
});
after(async () => {
  for (const close of closing) await close();
  await lab.remove();
});

async function http(options: { authorization?: string; version1?: boolean } = {}) {
  const server = await startGitHttp({ root: lab.root, ...options });
  closing.push(server.close);
  return server;
}

/** An empty repository that takes pushes, but no forced ones. */
async function empty(name: string): Promise<string> {
  await lab.init(name);
  await lab.git(name, ["config", "http.receivepack", "true"]);
  await lab.git(name, ["config", "receive.denyNonFastForwards", "true"]);
  await lab.git(name, ["config", "receive.fsckObjects", "true"]);
  return name;
}

/** One with a commit of README.md. */
async function started(name: string): Promise<string> {
  await empty(name);
  await lab.commitFiles(name, { "README.md": "hi\n", "config/a.yaml": "a: 1\n" });
  return name;
}

const head = (name: string, branch = "main") =>
  lab.git(name, ["rev-parse", `refs/heads/${branch}`]);
const show = (name: string, path: string, branch = "main") =>
  lab.git(name, ["show", `${branch}:${path}`]);
const history = (name: string) => lab.git(name, ["log", "--format=%s", "main"]);

/** Whole, by git's own strictest look, with nothing half-pushed that a reference leads to. */
async function isWhole(name: string): Promise<void> {
  await lab.git(name, ["fsck", "--strict", "--full"]);
}

const writes = (files: Readonly<Record<string, string>>, message = "Write"): Proposal => ({
  edits: Object.entries(files).map(([path, content]) => ({ path, content: Buffer.from(content) })),
  message,
});

/** The branch main gets these files, unless something else is said. */
function put(
  git: GitRepository,
  files: Readonly<Record<string, string>>,
  more: Partial<PublishRequest> = {},
) {
  const request = { branch: "main", propose: () => writes(files), author, now, ...more };
  return git.publish(request, AbortSignal.timeout(60_000));
}

async function opened(t: TestContext, url: string, credentials: GitCredentials = {}) {
  return openGit(url, await temporary(t), { credentials });
}

const ways = ["http", "http, version 1", "http, password", "ssh", "ssh, version 1"] as const;

async function reach(t: TestContext, way: (typeof ways)[number], name: string) {
  const version1 = way.endsWith("version 1");
  if (way.startsWith("ssh")) {
    const keys = { hostKeys: [hostKey.private], deployKey: deployKey.public };
    const server = await startGitSsh({ root: lab.root, version1, writable: true, ...keys });
    closing.push(server.close);
    const knownHosts = `[127.0.0.1]:${server.host.split(":")[1]} ${hostKey.public}\n`;
    const ssh = { identity: deployKey.private, passphrase: undefined, knownHosts };
    return opened(t, `ssh://git@${server.host}/${name}`, { ssh });
  }
  const password = way === "http, password" ? { authorization: basic } : {};
  const { url } = await http({ version1, ...password });
  return opened(t, `${url}/${name}`, password);
}

for (const [i, way] of ways.entries()) {
  test(`a commit is made, changed and read back by real git and isomorphic-git: ${way}`, async (t) => {
    const name = await empty(`way-${i}.git`);
    const git = await reach(t, way, name);
    const signal = AbortSignal.timeout(60_000);
    assert.equal(await git.tip("main", signal), undefined);
    const first = await put(git, { "a/b.yaml": "b: 1\n", "a.yaml": "a: 1\n" });
    assert.deepEqual([first?.previous, first?.attempts], [undefined, 1]);
    assert.equal(await head(name), first?.commit);
    const second = await put(
      git,
      { "a/b.yaml": "b: 2\n" },
      {
        propose: () => ({
          edits: [
            { path: "a.yaml", content: undefined },
            { path: "a/b.yaml", content: Buffer.from("b: 2\n") },
          ],
          message: "Second\n\nwith a body",
        }),
      },
    );
    assert.equal(second?.previous, first?.commit);
    assert.equal(await show(name, "a/b.yaml"), "b: 2");
    const tip = await git.tip("main", signal);
    assert.equal(tip?.commit, second?.commit);
    assert.deepEqual([...(tip?.files.keys() ?? [])], ["a/b.yaml"]);
    await isWhole(name);
    const gitdir = join(lab.root, name);
    const [log] = await isomorphic.log({ fs, gitdir, ref: "main" });
    assert.equal(log?.commit.message, "Second\n\nwith a body\n");
    assert.equal(log?.commit.author.name, author.name);
    assert.deepEqual(await isomorphic.listFiles({ fs, gitdir, ref: "main" }), ["a/b.yaml"]);
  });
}

test("a person's SSH agent lets us in, without a key that we could read", async (t) => {
  const name = await empty("agent.git");
  const socket = await startAgent(t, deployKey.private);
  const keys = { hostKeys: [hostKey.private], deployKey: deployKey.public };
  const server = await startGitSsh({ root: lab.root, writable: true, ...keys });
  closing.push(server.close);
  const knownHosts = `[127.0.0.1]:${server.host.split(":")[1]} ${hostKey.public}\n`;
  const ssh = { identity: undefined, agent: socket, passphrase: undefined, knownHosts };
  const published = await put(await opened(t, `ssh://git@${server.host}/${name}`, { ssh }), {
    x: "1",
  });
  assert.equal(await head(name), published?.commit);
});

test("a proposal that changes nothing is not pushed, nor one that is withdrawn", async (t) => {
  const name = await started("nothing.git");
  const before = await head(name);
  const git = await opened(t, `${plain}/${name}`);
  assert.equal(await put(git, { "README.md": "hi\n" }), undefined);
  assert.equal(await put(git, {}, { propose: () => undefined }), undefined);
  assert.equal(await head(name), before);
});

test("a new branch begins where it is told to, and goes on from there", async (t) => {
  const name = await started("branch.git");
  const main = await head(name);
  const git = await opened(t, `${plain}/${name}`);
  const where = { branch: "capitan/new", from: "main" };
  const first = await put(git, { x: "1" }, where);
  assert.equal(first?.previous, main);
  const second = await put(git, { x: "2" }, where);
  assert.equal(second?.previous, first?.commit);
  assert.equal(await head(name), main);
  assert.equal(await show(name, "README.md", "capitan/new"), "hi");
  await isWhole(name);
});

test("links and submodules of a repository stay, and are no files of its tip", async (t) => {
  const name = await empty("links.git");
  const blob = await lab.blob(name, "target");
  const tree = await lab.tree(
    name,
    [
      ["100755", "run", blob],
      ["120000", "link", blob],
      ["160000", "module", "a".repeat(40)],
    ].sort((a, b) => ((a[1] ?? "") < (b[1] ?? "") ? -1 : 1)) as [string, string, string][],
  );
  await lab.commit(name, tree);
  const git = await opened(t, `${plain}/${name}`);
  await put(git, { new: "1" });
  const tip = await git.tip("main", AbortSignal.timeout(60_000));
  assert.deepEqual([...(tip?.files.keys() ?? [])].sort(), ["new", "run"]);
  const listed = await lab.git(name, ["ls-tree", "main"]);
  assert.match(listed, /^120000.*link\n160000.*module\n100644.*new\n100755.*run$/s);
});

test("G3 two writers push at once: every commit of both is there, one above the other", async (t) => {
  const name = await started("race.git");
  const counts = 10;
  const writers = await Promise.all(["one", "two"].map(() => opened(t, `${plain}/${name}`)));
  const attempts = await Promise.all(
    writers.map(async (git, w) => {
      let tried = 0;
      for (let n = 0; n < counts; n++) {
        // Each adds a line to the same file: only who has read the last one may write the next.
        const propose: PublishRequest["propose"] = (tip) =>
          writes(
            {
              lines: `${tip?.files.get("lines")?.toString() ?? ""}${w}.${n}\n`,
              [`w${w}/${n}`]: "",
            },
            `Commit ${w}.${n}`,
          );
        tried += (await put(git, {}, { propose }))?.attempts ?? 0;
      }
      return tried;
    }),
  );
  const wanted = [0, 1].flatMap((w) => Array.from({ length: counts }, (_, n) => `${w}.${n}`));
  assert.deepEqual((await show(name, "lines")).split("\n").sort(), wanted);
  const subjects = (await history(name)).split("\n");
  assert.deepEqual(subjects.sort(), [...wanted.map((n) => `Commit ${n}`), "on main"].sort());
  const total = attempts.reduce((sum, n) => sum + n, 0);
  t.diagnostic(`${2 * counts} commits took ${total} attempts`);
  assert.ok(total > 2 * counts, "the writers never met: this was no race");
  await isWhole(name);
});

test("G3 who is always slower gives up in the end, and says so", async (t) => {
  const name = await started("slower.git");
  const git = await opened(t, `${plain}/${name}`);
  let others = 0;
  const propose = async () => {
    const parent = await head(name);
    await lab.commitFiles(name, { other: `${others++}` }, { parent });
    return writes({ mine: "1" });
  };
  await assert.rejects(put(git, {}, { propose }), {
    code: "GitConflict",
    message: /slower\.git: branch main: given up after 12 attempts: others push to it$/,
  });
  assert.equal(others, 12);
  await isWhole(name);
});

test("G3 a protected branch is not written; another one is, as the message says", async (t) => {
  const name = await started("protected.git");
  const hook = join(lab.root, name, "hooks", "pre-receive");
  await writeFile(
    hook,
    '#!/bin/sh\nwhile read old new ref; do\n  if [ "$ref" = refs/heads/main ]; then printf "main is \\033[31mprotected\\n" >&2; exit 1; fi\ndone\n',
  );
  await chmod(hook, 0o755);
  const before = await head(name);
  const git = await opened(t, `${plain}/${name}`);
  await assert.rejects(put(git, { x: "1" }), {
    code: "GitPushRejected",
    message: /branch main: pre-receive hook declined; the server says: main is \[31mprotected$/,
  });
  assert.equal(await head(name), before);
  const pushed = await put(git, { x: "1" }, { branch: "proposal", from: "main" });
  assert.equal(await head(name, "proposal"), pushed?.commit);
  await isWhole(name);
});

test("G3 wrong credentials, a read-only key, and a server that takes no pushes are said to be", async (t) => {
  const name = await started("readonly.git");
  const before = await head(name);
  const { url } = await http({ authorization: basic });
  const wrong = { authorization: `Basic ${btoa("robot:s3cr3t-wrong")}` };
  await assert.rejects(put(await opened(t, `${url}/${name}`, wrong), { x: "1" }), {
    code: "GitDenied",
    message: /HTTP 401; the configured credentials were not accepted$/,
  });
  await lab.git(name, ["config", "http.receivepack", "false"]);
  await assert.rejects(put(await opened(t, `${plain}/${name}`), { x: "1" }), {
    code: "GitDenied",
    message: /HTTP 403; for writing; no credentials are configured$/,
  });
  const keys = { hostKeys: [hostKey.private], deployKey: deployKey.public };
  const server = await startGitSsh({ root: lab.root, ...keys });
  closing.push(server.close);
  const knownHosts = `[127.0.0.1]:${server.host.split(":")[1]} ${hostKey.public}\n`;
  const ssh = { identity: deployKey.private, passphrase: undefined, knownHosts };
  await assert.rejects(
    put(await opened(t, `ssh://git@${server.host}/${name}`, { ssh }), { x: "1" }),
    { code: "GitDenied", message: /marked as read only/ },
  );
  assert.equal(await head(name), before);
});

test("G3 a remote that is down, or goes down between reading and writing, has nothing of us", async (t) => {
  const name = await started("down.git");
  const before = await head(name);
  const server = await startGitHttp({ root: lab.root });
  const git = await opened(t, `${server.url}/${name}`);
  const propose = async () => {
    await server.close();
    return writes({ x: "1" });
  };
  await assert.rejects(put(git, {}, { propose }), {
    code: "GitUnreachable",
    message: /ECONNREFUSED.*whether commit [a-f0-9]{40} has arrived is not known/s,
  });
  await assert.rejects(put(git, { x: "1" }), { code: "GitUnreachable", message: /ECONNREFUSED/ });
  assert.equal(await head(name), before);
});

/** A proxy that meddles with pushes. */
async function meddled(
  meddle: (seen: Seen, pass: () => Promise<Answer>, push: number) => Promise<Answer>,
): Promise<string> {
  let pushes = 0;
  const server: Server = await proxy(plain.slice("http://".length), (seen, pass) =>
    seen.method === "POST" && seen.path.endsWith("/git-receive-pack")
      ? meddle(seen, pass, ++pushes)
      : pass(),
  );
  closing.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${portOf(server)}`;
}

test("G3 a reply that is lost after the push: the commit is found, not made twice", async (t) => {
  const name = await started("lost.git");
  const url = await meddled(async (_seen, pass, push) => {
    const answer = await pass();
    if (push === 1) throw new Error("the connection broke");
    return answer;
  });
  const published = await put(await opened(t, `${url}/${name}`), { x: "1" });
  assert.equal(published?.attempts, 2);
  assert.equal(await head(name), published?.commit);
  assert.deepEqual((await history(name)).split("\n"), ["Write", "on main"]);
});

test("G3 a lost reply, and others have built on our commit: it is found below theirs", async (t) => {
  const name = await started("below.git");
  const url = await meddled(async (_seen, pass) => {
    await pass();
    const parent = await head(name);
    await lab.commitFiles(name, { x: "1", other: "1" }, { parent });
    throw new Error("the connection broke");
  });
  const published = await put(await opened(t, `${url}/${name}`), { x: "1" });
  assert.equal(published?.attempts, 2);
  assert.deepEqual((await history(name)).split("\n"), ["on main", "Write", "on main"]);
  assert.equal(await lab.git(name, ["rev-parse", "main~1"]), published?.commit);
});

test("G3 a push that never arrives is made again, and given up after three times", async (t) => {
  const name = await started("never.git");
  const before = await head(name);
  const once = await meddled((_seen, pass, push) =>
    push === 1 ? Promise.reject(new Error("broke")) : pass(),
  );
  const never = await meddled(() => Promise.reject(new Error("broke")));
  await assert.rejects(put(await opened(t, `${never}/${name}`), { x: "1" }), {
    code: "GitUnreachable",
    message: /whether commit [a-f0-9]{40} has arrived is not known/,
  });
  assert.equal(await head(name), before);
  const published = await put(await opened(t, `${once}/${name}`), { x: "1" });
  assert.equal(published?.attempts, 2);
  assert.equal(await head(name), published?.commit);
});

test("G3 half a pack that arrives moves nothing", async (t) => {
  const name = await started("half.git");
  const before = await head(name);
  const url = await meddled((seen, pass, push) => {
    if (push > 1) return pass();
    const half = seen.body.subarray(0, seen.body.length - 30);
    return passTo(`${plain}${seen.path}`, half).then(() => Promise.reject(new Error("broke")));
  });
  const passTo = async (to: string, body: Buffer) => {
    const headers = { "content-type": "application/x-git-receive-pack-request" };
    const answer = await fetch(to, { method: "POST", headers, body: new Uint8Array(body) });
    await answer.text();
    assert.equal(await head(name), before);
  };
  const published = await put(await opened(t, `${url}/${name}`), { x: "1" });
  assert.equal(published?.attempts, 2);
  await isWhole(name);
});

const moments = [
  "greeting",
  "before the push",
  "push, not sent on",
  "push, before the answer",
] as const;
for (const moment of moments) {
  test(`G3 killed at: ${moment}. The remote is whole, and doing it again is safe`, async (t) => {
    const name = await started(`killed-${moments.indexOf(moment)}.git`);
    const before = await head(name);
    let isArmed = true;
    const kill: { now?: () => Promise<void> } = {};
    const server = await proxy(plain.slice("http://".length), async (seen, pass) => {
      const at = momentOf(seen);
      if (!isArmed || at === undefined || at !== moment.split(",")[0]) return pass();
      if (moment.endsWith("before the answer")) await pass();
      isArmed = false;
      await kill.now?.();
      throw new Error("nobody is there");
    });
    closing.push(() => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    });
    const url = `http://127.0.0.1:${portOf(server)}/${name}`;
    const publish = async () => {
      const args = [join(root, "test/harness/publisher.ts"), url, await temporary(t), "x", "1"];
      const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
      const ended = new Promise<NodeJS.Signals | null>((resolve) =>
        child.once("close", (_code, signal) => resolve(signal)),
      );
      kill.now = async () => {
        child.kill("SIGKILL");
        await ended;
      };
      return ended;
    };
    assert.equal(await publish(), "SIGKILL");
    await isWhole(name);
    const arrived = moment.endsWith("before the answer");
    assert.equal((await head(name)) !== before, arrived);
    assert.equal(await publish(), null);
    assert.deepEqual((await history(name)).split("\n"), ["Write x", "on main"]);
    await isWhole(name);
  });
}

function momentOf({ method, path }: Seen): string | undefined {
  if (path.endsWith("service=git-upload-pack")) return "greeting";
  if (path.endsWith("service=git-receive-pack")) return "before the push";
  return method === "POST" && path.endsWith("/git-receive-pack") ? "push" : undefined;
}
