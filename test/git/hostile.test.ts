import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import type { Server } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { startGitHttp, type GitServer } from "../../hack/lab/git-http.ts";
import { GitLab, newKeyPair, openGit, temporary, textOf, type Entry } from "../harness/git.ts";
import { listen, portOf, proxy, type Handler } from "../harness/servers.ts";

let lab: GitLab;
let server: GitServer;
const servers: Server[] = [];

before(async () => {
  lab = await GitLab.make();
  server = await startGitHttp({ root: lab.root });
});
after(async () => {
  await server.close();
  for (const other of servers) {
    other.closeAllConnections();
    other.close();
  }
  await lab.remove();
});

/** A new repository with a commit of `config/a.yaml`. */
async function repository(name: string): Promise<{ url: string; commit: string }> {
  await lab.init(name);
  const commit = await lab.commitFiles(name, { "config/a.yaml": "a: 1\n" });
  return { url: `${server.url}/${name}`, commit };
}

async function hostile(handler: Handler): Promise<string> {
  const other = await listen(handler);
  servers.push(other);
  return `http://127.0.0.1:${portOf(other)}/r.git`;
}

test("G1 a server that is down is said to be, and what was fetched stays", async (t) => {
  const { commit } = await repository("down.git");
  const own = await startGitHttp({ root: lab.root });
  const dir = await temporary(t);
  const git = openGit(`${own.url}/down.git`, dir);
  const want = { commit, path: "./config", ref: {} };
  await git.fetch(want);
  await own.close();
  await assert.rejects(git.resolve({}), {
    code: "GitUnreachable",
    message: /^http:\/\/127\.0\.0\.1:\d+\/down\.git: connect ECONNREFUSED/,
  });
  const again = await openGit(`${own.url}/down.git`, dir).fetch(want);
  assert.deepEqual(textOf(again), { "a.yaml": "a: 1\n" });
  await assert.rejects(openGit(`${own.url}/down.git`, await temporary(t)).fetch(want), {
    code: "GitUnreachable",
  });
});

test("G1 a server over SSH that is down, hangs up or never answers is said to be", async (t) => {
  const key = newKeyPair("ed25519");
  const silent = createTcpServer((socket) => socket.on("error", () => undefined));
  const closing = createTcpServer((socket) => socket.destroy());
  for (const other of [silent, closing]) {
    other.listen(0, "127.0.0.1");
    await new Promise((resolve) => other.once("listening", resolve));
    t.after(() => other.close());
  }
  const dir = await temporary(t);
  for (const other of [silent, closing]) {
    const { port } = other.address() as { port: number };
    const knownHosts = `[127.0.0.1]:${port} ${key.public}`;
    const ssh = { identity: key.private, passphrase: undefined, knownHosts };
    const git = openGit(`ssh://127.0.0.1:${port}/r`, dir, { credentials: { ssh } });
    await assert.rejects(git.resolve({}, AbortSignal.timeout(300)), { code: "GitUnreachable" });
  }
});

test("G2 after a forced push the old commit is still read and the new one is resolved", async (t) => {
  const { url, commit } = await repository("forced.git");
  const dir = await temporary(t);
  await openGit(url, dir).fetch({ commit, path: "./", ref: {} });
  const rewritten = await lab.commitFiles("forced.git", { "config/b.yaml": "b: 1\n" });
  await lab.git("forced.git", ["reflog", "expire", "--expire=now", "--all"]);
  await lab.git("forced.git", ["gc", "-q", "--prune=now"]);
  const git = openGit(url, dir);
  assert.deepEqual(await git.resolve({}), {
    commit: rewritten,
    revision: `main@sha1:${rewritten}`,
  });
  const old = await git.fetch({ commit, path: "./config", ref: {} });
  assert.deepEqual(textOf(old), { "a.yaml": "a: 1\n" });
  const fresh = openGit(url, await temporary(t));
  await assert.rejects(fresh.fetch({ commit, path: "./", ref: {} }), { code: "GitNotFound" });
});

test("G2 a commit behind the branch is found where no commit is given out by its hash", async (t) => {
  const { commit: first } = await repository("behind.git");
  let commit = first;
  for (let i = 2; i < 8; i++)
    commit = await lab.commitFiles("behind.git", { "a.yaml": `a: ${i}\n` }, { parent: commit });
  const old = await startGitHttp({ root: lab.root, version1: true });
  t.after(old.close);
  const git = openGit(`${old.url}/behind.git`, await temporary(t));
  const want = { commit: first, path: "./config" };
  assert.deepEqual(textOf(await git.fetch({ ...want, ref: { branch: "main" } })), {
    "a.yaml": "a: 1\n",
  });
  const other = openGit(`${old.url}/behind.git`, await temporary(t));
  await assert.rejects(other.fetch({ ...want, ref: { branch: "none" } }), { code: "GitNotFound" });
});

test("a commit is fetched once: later all of its directories come from the cache, checked again", async (t) => {
  const { url, commit } = await repository("cached.git");
  const dir = await temporary(t);
  const own = await startGitHttp({ root: lab.root });
  t.after(own.close);
  const git = openGit(`${own.url}/cached.git`, dir);
  await git.fetch({ commit, path: "./config", ref: {} });
  const { length } = own.asked;
  assert.equal(length, 2);
  await git.fetch({ commit, path: "./", ref: {} });
  assert.equal(own.asked.length, length);
  const [file = ""] = await readdir(dir);
  const pack = await readFile(join(dir, file));
  for (const spoilt of [Buffer.alloc(0), pack.subarray(0, -1), Buffer.from("PACK nonsense")]) {
    await writeFile(join(dir, file), spoilt);
    assert.equal((await git.fetch({ commit, path: "./", ref: {} })).size, 1);
    assert.deepEqual(await readFile(join(dir, file)), pack);
  }
  const elsewhere = openGit(`${own.url}/cached.git`, dir, { namespace: "other" });
  const before = own.asked.length;
  await elsewhere.fetch({ commit, path: "./", ref: {} });
  assert.ok(own.asked.length > before, "another namespace has to ask for itself");
  assert.equal(url.startsWith("http://127.0.0.1"), true);
});

test("O5 a path that leads out and one that leads nowhere give the same error", async (t) => {
  const { url, commit } = await repository("paths.git");
  const git = openGit(url, await temporary(t));
  for (const path of ["./nope", "../../etc", "/etc", "./config/a.yaml", "./.git"])
    await assert.rejects(git.fetch({ commit, path, ref: {} }), {
      code: "GitNotFound",
      message: `${url}@${commit} has no directory ${JSON.stringify(path)}`,
    });
});

const trees: readonly (readonly [string, (file: string, tree: string) => readonly Entry[]])[] = [
  ["..", (_file, tree) => [["40000", "..", tree]]],
  ["../../tmp/x", (file) => [["100644", "../../tmp/x", file]]],
  [".git/hooks", (_file, tree) => [["40000", ".git", tree]]],
  [".GIT", (_file, tree) => [["40000", ".GIT", tree]]],
  ["GIT~1", (_file, tree) => [["40000", "GIT~1", tree]]],
  [".g\u200cit", (_file, tree) => [["40000", ".g\u200cit", tree]]],
  ["a link", (file) => [["120000", "link", file]]],
  ["a submodule", () => [["160000", "module", "a".repeat(40)]]],
  ["a backslash", (file) => [["100644", "..\\x", file]]],
  [
    "names that differ in case",
    (file) => [
      ["100644", "A", file],
      ["100644", "a", file],
    ],
  ],
];
for (const [name, make] of trees) {
  test(`G5 a real server delivers a tree with ${name}: refused (CVE-2026-63478)`, async (t) => {
    const at = `tree-${trees.findIndex(([other]) => other === name)}.git`;
    await lab.init(at);
    const file = await lab.blob(at, "x");
    const inner = await lab.tree(at, [["100644", "hooks", file]]);
    const commit = await lab.commit(at, await lab.tree(at, make(file, inner)));
    const git = openGit(`${server.url}/${at}`, await temporary(t));
    await assert.rejects(git.fetch({ commit, path: "./", ref: {} }), { code: "ArtifactUnsafe" });
  });
}

/** A commit with so many small files, by way of fast-import. */
async function manyFiles(name: string, count: number): Promise<string> {
  await lab.init(name);
  const lines = Array.from(
    { length: count },
    (_, i) => `M 100644 inline d${i % 100}/f${i}.txt\ndata ${String(i).length}\n${i}\n`,
  );
  const head = "commit refs/heads/main\ncommitter a <a@b> 1 +0000\ndata 1\nm\n";
  await lab.git(name, ["fast-import", "--quiet"], `${head}${lines.join("")}\n`);
  return lab.git(name, ["rev-parse", "refs/heads/main"]);
}

test("G5 a hundred thousand files are refused as soon as the server says how many come", async (t) => {
  const commit = await manyFiles("many.git", 100_000);
  const before = process.memoryUsage().rss;
  const git = openGit(`${server.url}/many.git`, await temporary(t));
  const started = performance.now();
  await assert.rejects(git.fetch({ commit, path: "./", ref: {} }), {
    code: "ArtifactTooLarge",
    message: /100\d\d\d objects, more than 50000/,
  });
  assert.ok(performance.now() - started < 30_000);
  assert.ok(process.memoryUsage().rss - before < 300 * 1024 * 1024);
});

test("G5 of a large repository a directory within the limits is read", async (t) => {
  const commit = await manyFiles("large.git", 20_000);
  const git = openGit(`${server.url}/large.git`, await temporary(t));
  const files = await git.fetch({ commit, path: "./d7", ref: {} });
  assert.equal(files.size, 200);
  await assert.rejects(git.fetch({ commit, path: "./", ref: {} }), {
    code: "ArtifactTooLarge",
    message: /more than 10000 files/,
  });
});

test("G5 a million entries that are one file are refused early", async (t) => {
  const at = "million.git";
  await lab.init(at);
  const oid = Buffer.from(await lab.blob(at, "x"), "hex");
  const entry = (i: number) =>
    Buffer.concat([Buffer.from(`100644 f${String(i).padStart(7, "0")}\0`), oid]);
  const bytes = Buffer.concat(Array.from({ length: 1_000_000 }, (_, i) => entry(i)));
  const args = ["hash-object", "-w", "--stdin", "--literally", "-t", "tree"];
  const commit = await lab.commit(at, await lab.git(at, args, bytes));
  const git = openGit(`${server.url}/${at}`, await temporary(t));
  const started = performance.now();
  await assert.rejects(git.fetch({ commit, path: "./", ref: {} }), { code: "ArtifactTooLarge" });
  assert.ok(performance.now() - started < 30_000);
});

test("G5 a file that is large when unpacked is refused", async (t) => {
  const at = "bomb.git";
  await lab.init(at);
  const file = await lab.blob(at, Buffer.alloc(64 * 1024 * 1024));
  const commit = await lab.commit(at, await lab.tree(at, [["100644", "a.yaml", file]]));
  const git = openGit(`${server.url}/${at}`, await temporary(t));
  await assert.rejects(git.fetch({ commit, path: "./", ref: {} }), {
    code: "ArtifactTooLarge",
    message: /an object of 67108864 bytes/,
  });
});

const advertisement = { "content-type": "application/x-git-upload-pack-advertisement" };
const packet = (text: string) => `${(text.length + 4).toString(16).padStart(4, "0")}${text}`;
const oid = "1".repeat(40);

const liars: readonly (readonly [string, Handler, string])[] = [
  [
    "lists references without end",
    (_request, response) => {
      response.writeHead(200, advertisement);
      response.write(
        `${packet("# service=git-upload-pack\n")}0000${packet(`${oid} HEAD\0side-band-64k\n`)}`,
      );
      const more = Array.from({ length: 1000 }, (_, i) =>
        packet(`${oid} refs/heads/${i}${"x".repeat(200)}\n`),
      ).join("");
      const write = () => {
        while (!response.destroyed && response.write(more));
        if (!response.destroyed) response.once("drain", write);
      };
      write();
    },
    "ArtifactTooLarge",
  ],
  [
    "ends in the middle",
    (_request, response) => response.writeHead(200, advertisement).end(packet(`${oid} HEAD\0x`)),
    "ArtifactCorrupt",
  ],
  [
    "hangs up",
    (_request, response) => {
      response.writeHead(200, { ...advertisement, "content-length": "1000" }).write("0010");
      setImmediate(() => response.destroy());
    },
    "GitUnreachable",
  ],
  [
    "is a web page",
    (_request, response) => response.writeHead(200, { "content-type": "text/html" }).end("<html>"),
    "GitUnreachable",
  ],
  ["answers 500", (_request, response) => response.writeHead(500).end("s3cr3t"), "GitUnreachable"],
  ["answers 404", (_request, response) => response.writeHead(404).end(), "GitNotFound"],
  [
    "lists what is no reference",
    (_request, response) => response.writeHead(200, advertisement).end(packet("nonsense\n")),
    "ArtifactCorrupt",
  ],
  [
    "has other hashes",
    (_request, response) =>
      response
        .writeHead(200, advertisement)
        .end(`${packet("version 2\n")}${packet("object-format=sha256\n")}0000`),
    "GitUnreachable",
  ],
];
for (const [name, handler, code] of liars) {
  test(`G5 a server that ${name} is given up: ${code}`, async (t) => {
    const git = openGit(await hostile(handler), await temporary(t));
    await assert.rejects(git.resolve({}), { code });
    await assert.rejects(git.fetch({ commit: oid, path: "./", ref: {} }), { code });
  });
}

test("G5 a server that sends nothing is given up when the caller says so", async (t) => {
  const git = openGit(
    await hostile((_request, response) => response.writeHead(200, advertisement).write("0")),
    await temporary(t),
  );
  const started = performance.now();
  await assert.rejects(git.resolve({}, AbortSignal.timeout(200)), { code: "GitUnreachable" });
  assert.ok(performance.now() - started < 5_000);
});

test("G5 a server that gives out another commit than was asked for is not believed", async (t) => {
  const { commit } = await repository("asked.git");
  const other = await lab.commitFiles("asked.git", { "evil.yaml": "x" }, { branch: "evil" });
  const lying = await proxy(server.url.replace("http://", ""), async (seen, pass) =>
    pass({
      ...seen,
      body: Buffer.from(seen.body.toString("latin1").replace(commit, other), "latin1"),
    }),
  );
  servers.push(lying);
  const git = openGit(`http://127.0.0.1:${portOf(lying)}/asked.git`, await temporary(t));
  await assert.rejects(git.fetch({ commit, path: "./", ref: {} }), {
    code: "GitNotFound",
    message: /gave out another commit/,
  });
});

test("G6 nothing but reading is ever asked for, whatever the repository is called (CVE-2026-28291)", async (t) => {
  const asked: string[] = [];
  const url = await hostile((request, response) => {
    asked.push(`${request.method ?? ""} ${request.url ?? ""}`);
    response.writeHead(404).end();
  });
  const git = openGit(url.replace("r.git", "--upload-pack=id/-c/r.git"), await temporary(t));
  await assert.rejects(git.resolve({ branch: "main" }), { code: "GitNotFound" });
  assert.deepEqual(asked, ["GET /--upload-pack=id/-c/r.git/info/refs?service=git-upload-pack"]);
});
