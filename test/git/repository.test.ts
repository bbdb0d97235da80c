import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startGitHttp } from "../../hack/lab/git-http.ts";
import { startGitSsh } from "../../hack/lab/git-ssh.ts";
import type { GitCredentials, GitRef } from "../../pkg/gitdata/index.ts";
import { GitLab, newKeyPair, openGit, temporary, textOf } from "../harness/git.ts";

const deployKey = newKeyPair("ed25519");
const hostKey = newKeyPair("ed25519");
const repository = "fleet/config.git";

let lab: GitLab;
let first: string;
let second: string;
let tagged: string;
const closing: (() => Promise<void>)[] = [];
/** The same repository by every way to it. */
const ways = new Map<string, { url: string; credentials: GitCredentials }>();

before(async () => {
  lab = await GitLab.make();
  await lab.init(repository);
  first = await lab.commitFiles(repository, { "config/a.yaml": "a: 1\n", "README.md": "hi\n" });
  await lab.git(repository, ["tag", "v1.2.0", first]);
  const more = { "config/a.yaml": "a: 2\n", "config/sub/b.yaml": "b: 1\n", "README.md": "hi\n" };
  second = await lab.commitFiles(repository, more, { parent: first });
  await lab.git(repository, ["tag", "-a", "-m", "annotated", "v1.10.0", second]);
  await lab.git(repository, ["tag", "v2.0.0-rc.1", second]);
  tagged = await lab.commitFiles(repository, { "x.yaml": "x: 1\n" }, { branch: "team/other" });
  await lab.git(repository, ["update-ref", "refs/pull/7/head", tagged]);
  await start();
});
after(async () => {
  for (const close of closing) await close();
  await lab.remove();
});

async function start(): Promise<void> {
  const { root } = lab;
  for (const version1 of [false, true]) {
    const http = await startGitHttp({ root, version1 });
    const ssh = await startGitSsh({
      root,
      version1,
      hostKeys: [hostKey.private],
      deployKey: deployKey.public,
    });
    closing.push(http.close, ssh.close);
    const port = ssh.host.split(":")[1] ?? "";
    const knownHosts = `[127.0.0.1]:${port} ${hostKey.public}\n`;
    const version = version1 ? 1 : 2;
    ways.set(`http, version ${version}`, { url: `${http.url}/${repository}`, credentials: {} });
    ways.set(`ssh, version ${version}`, {
      url: `ssh://git@${ssh.host}/${repository}`,
      credentials: { ssh: { identity: deployKey.private, passphrase: undefined, knownHosts } },
    });
  }
}

for (const way of ["http, version 2", "http, version 1", "ssh, version 2", "ssh, version 1"]) {
  test(`resolves every kind of reference and fetches what it means: ${way}`, async (t) => {
    const { url, credentials } = ways.get(way) ?? { url: "", credentials: {} };
    const git = openGit(url, await temporary(t), { credentials });
    const cases: readonly (readonly [GitRef, string, string])[] = [
      [{}, second, `main@sha1:${second}`],
      [{ branch: "team/other" }, tagged, `team/other@sha1:${tagged}`],
      [{ tag: "v1.2.0" }, first, `v1.2.0@sha1:${first}`],
      [{ tag: "v1.10.0" }, second, `v1.10.0@sha1:${second}`],
      [{ semver: ">=1.0.0" }, second, `v1.10.0@sha1:${second}`],
      [{ semver: "1.2.x", branch: "nowhere" }, first, `v1.2.0@sha1:${first}`],
      [{ name: "refs/pull/7/head", tag: "v1.2.0" }, tagged, `refs/pull/7/head@sha1:${tagged}`],
      [{ commit: first, branch: "main" }, first, `main@sha1:${first}`],
    ];
    for (const [ref, commit, revision] of cases)
      assert.deepEqual(await git.resolve(ref), { commit, revision }, JSON.stringify(ref));
    const files = await git.fetch({ commit: second, path: "./config", ref: {} });
    assert.deepEqual(textOf(files), { "a.yaml": "a: 2\n", "sub/b.yaml": "b: 1\n" });
    const old = await git.fetch({ commit: first, path: "./", ref: {} });
    assert.deepEqual(textOf(old), { "README.md": "hi\n", "config/a.yaml": "a: 1\n" });
  });
}
