import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { silent } from "../../hack/lab/progress.ts";
import { stop } from "../../hack/lab/processes.ts";
import { startRegistry } from "../../hack/lab/registry.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { ensureTools } from "../../hack/lab/tools.ts";
import { selectVersion } from "../../pkg/oci/index.ts";
import { capitan, sharedLab } from "../harness/index.ts";

let lab: LabFile;
let dir: string;
let guarded: string;
let counter = 0;

before(async () => {
  lab = await sharedLab();
  dir = await mkdtemp(join(tmpdir(), "capitan-cli-"));
  const htpasswd = join(dir, "htpasswd");
  // user:secret, hashed by bcrypt (cost 4)
  const hash = "$2b$04$uw/EuKX7ZsiktJWsNXbusuivC5F8JrLsXEChuI0CbPrUZODAumK/.";
  await writeFile(htpasswd, `user:${hash}\n`);
  const { registry } = await ensureTools(silent);
  const port = lab.ports.lastWorkload - 30;
  guarded = await startRegistry(lab.dir, registry, { name: "registry-guarded", port, htpasswd });
  await writeFile(join(dir, "a.yaml"), "kind: A\n");
  process.env["PATH"] = `${join(dir, "bin")}:${process.env["PATH"] ?? ""}`;
  await mkdir(join(dir, "bin"));
});
after(async () => {
  await stop(lab.dir, "registry-guarded");
  await rm(dir, { recursive: true, force: true });
});

const url = (repository: string) => `oci://${lab.registry}/cli/${repository}`;
const fresh = () => join(dir, `out-${counter++}`);

/** Pushes one file with the CLI. Gives the artifact's digest. */
async function push(address: string, text: string, ...more: string[]): Promise<string> {
  const file = join(dir, "a.yaml");
  await writeFile(file, text);
  const { code, stdout, stderr } = await capitan([
    "push",
    "artifact",
    address,
    "-f",
    file,
    ...more,
  ]);
  assert.equal(code, 0, stderr);
  return stdout.trim().split("@")[1] ?? "";
}

test("pull writes into a new directory, says what, and nothing to stderr when nobody looks", async () => {
  await push(url("pull:v1"), "one");
  const out = join(fresh(), "deep", "er");
  const { code, stdout, stderr } = await capitan(["pull", "artifact", url("pull:v1"), "-f", out]);
  assert.deepEqual([code, stdout, stderr], [0, "a.yaml\n", ""]);
  assert.equal(await readFile(join(out, "a.yaml"), "utf8"), "one");
  assert.deepEqual(await readdir(out), ["a.yaml"]);
});

test("pull into an empty directory keeps the directory, which somebody may stand in", async () => {
  await push(url("empty:v1"), "one");
  const out = fresh();
  await mkdir(out);
  const { ino } = await stat(out);
  assert.equal((await capitan(["pull", "artifact", url("empty:v1"), "-f", out])).code, 0);
  assert.equal((await stat(out)).ino, ino);
  assert.deepEqual(await readdir(out), ["a.yaml"]);
});

test("pull leaves a directory alone that has something in it, and nothing half done behind", async () => {
  await push(url("full:v1"), "new");
  const out = fresh();
  await mkdir(out);
  await writeFile(join(out, "mine"), "kept");
  const { code, stderr } = await capitan(["pull", "artifact", url("full:v1"), "-f", out]);
  assert.equal(code, 1);
  assert.match(stderr, /FileInvalid: cannot write to .*: it is not empty\n/);
  assert.equal(await readFile(join(out, "mine"), "utf8"), "kept");
  assert.deepEqual(await readdir(out), ["mine"]);
});

test("diff exits with 0 when the same, 1 when different, 2 when it failed or was asked wrongly", async () => {
  await push(url("diff:v1"), "one");
  const v1 = url("diff:v1");
  const compare = (...args: string[]) => capitan(["diff", "artifact", ...args]);
  const same = await compare(v1, "-f", join(dir, "a.yaml"));
  assert.deepEqual([same.code, same.stdout], [0, ""]);
  await push(url("diff:v2"), "two");
  const other = await compare(v1, url("diff:v2"));
  assert.deepEqual([other.code, other.stdout], [1, "CHANGE    PATH\nchanged   a.yaml\n"]);
  const json = await compare(v1, "-f", join(dir, "a.yaml"), "-o", "json");
  assert.deepEqual(
    [json.code, JSON.parse(json.stdout)],
    [1, [{ path: "a.yaml", change: "changed" }]],
  );
  for (const args of [
    [url("diff:nosuch"), "-f", dir],
    ["oci://127.0.0.1:1/a", "-f", dir],
    [v1, "-f", "/nonexistent"],
    ["nonsense", "-f", dir],
    [v1],
    [v1, url("diff:v2"), "-f", dir],
    [v1, "-f"],
  ])
    assert.equal((await compare(...args)).code, 2, args.join(" "));
});

test("tag, copy, discover and list say what they did", async () => {
  const digest = await push(url("verbs:v1"), "one", "--reproducible");
  const tagged = await capitan(["tag", "artifact", url("verbs:v1"), "--tag", "stable"]);
  assert.equal(tagged.stdout, `${url("verbs:stable")}\n`);
  const copied = await capitan(["copy", "artifact", url("verbs:stable"), url("copied")]);
  assert.equal(copied.stdout, `${url("copied")}@${digest}\n`, copied.stderr);
  const listed = await capitan(["list", "artifacts", url("copied")]);
  assert.match(listed.stdout, new RegExp(`\nstable +${digest} +1970-01-01T00:00:00Z +- +-\n`));
  const found = await capitan(["discover", "artifact", url("copied:stable"), "-o", "json"]);
  assert.deepEqual([found.code, found.stdout], [0, "[]\n"]);
  const repositories = await capitan(["list", "repositories", `oci://${lab.registry}`]);
  assert.ok(repositories.stdout.includes(`${url("copied")}\n`), repositories.stdout);
  const wrong = await capitan(["list", "repositories", url("copied")]);
  const says = `✗ RefInvalid: ${url("copied")} is not oci://HOST[:PORT]`;
  assert.deepEqual([wrong.code, wrong.stderr.split("\n")[0]], [1, says]);
});

test("list --semver: versions only, newest first, the one first that a Fleet takes; --filter-tags: by pattern", async () => {
  const tags = ["v1.9.0", "1.10.0", "1.2.3", "2.0.0-rc.1", "2.0.0", "latest", "main-12", "main-3"];
  await push(url("versions:v1.9.0"), "one", "--reproducible");
  const more = tags.slice(1).flatMap((tag) => ["--tag", tag]);
  assert.equal((await capitan(["tag", "artifact", url("versions:v1.9.0"), ...more])).code, 0);
  const list = (...args: string[]) => capitan(["list", "artifacts", url("versions"), ...args]);
  const listed = async (...args: string[]) => {
    const { stdout } = await list(...args, "-o", "json");
    return (JSON.parse(stdout) as { tag: string }[]).map(({ tag }) => tag);
  };
  assert.deepEqual(await listed("--semver", ">=1.2.0, <2"), ["1.10.0", "v1.9.0", "1.2.3"]);
  assert.deepEqual(await listed("--semver", ">=1.9.0-0"), [
    "2.0.0",
    "2.0.0-rc.1",
    "1.10.0",
    "v1.9.0",
  ]);
  for (const range of ["1.x", ">=1.2.0, <2", "~1.9", ">=2.0.0-0", "v1.2.3"])
    assert.equal((await listed("--semver", range))[0], selectVersion(tags, range), range);
  assert.deepEqual(await listed("--filter-tags", "^main-[0-9]+$"), ["main-3", "main-12"]);
  assert.deepEqual(await listed("--filter-tags", "^1", "--semver", "*"), ["1.10.0", "1.2.3"]);
  const none = await list("--semver", ">=9");
  assert.deepEqual([none.code, none.stdout, none.stderr], [0, "", "no tags\n"]);
  assert.deepEqual(await listed("--semver", ">=9"), []);
  for (const [args, says] of [
    [
      ["--semver", "nonsense"],
      '--semver nonsense is no range of versions such as ">=1.2.0 <2.0.0"',
    ],
    [["--filter-tags", "(?=a)"], "--filter-tags (?=a) is no pattern of RE2"],
  ] as const) {
    const { code, stderr } = await list(...args);
    assert.equal(code, 2);
    assert.ok(stderr.startsWith(`✗ ${says}`), stderr);
  }
});

test("what a registry says cannot rewrite the terminal", async () => {
  await push(url("evil:v1"), "x", "--revision", "\u001b[2Jcleared\u202e");
  const { stdout } = await capitan(["list", "artifacts", url("evil")]);
  assert.match(stdout, /cleared/);
  assert.ok(!["\u001b", "\u202e"].some((control) => stdout.includes(control)));
});

/** Runs the CLI with a docker config of its own. */
async function withConfig(config: object, args: readonly string[]) {
  const own = fresh();
  await mkdir(own);
  await writeFile(join(own, "config.json"), JSON.stringify(config));
  process.env["DOCKER_CONFIG"] = own;
  try {
    return await capitan(args);
  } finally {
    delete process.env["DOCKER_CONFIG"];
  }
}

async function helper(name: string, script: string): Promise<void> {
  const file = join(dir, "bin", `docker-credential-${name}`);
  await writeFile(file, `#!/bin/sh\n${script}\n`);
  await chmod(file, 0o755);
}

test("logins come from helpers, the host's own before the store, and from the config after them", async () => {
  const asked = join(dir, "asked");
  const reply = '{"ServerURL":"x","Username":"user","Secret":"secret"}';
  await helper("right", `echo "$1 $(cat)" >> ${asked}; echo '${reply}'`);
  await helper("wrong", `echo '${reply.replace('"secret"', '"other"')}'`);
  await helper("empty", "echo credentials not found in native keychain; exit 1");
  const auths = { [guarded]: { auth: btoa("user:secret") } };
  const to = (repository: string) => [
    "push",
    "artifact",
    `oci://${guarded}/${repository}`,
    "-f",
    join(dir, "a.yaml"),
  ];
  for (const [config, code] of [
    [{ auths: { [guarded]: {} }, credsStore: "right" }, 0],
    [{ credHelpers: { [guarded]: "right" }, credsStore: "wrong" }, 0],
    [{ credsStore: "wrong", auths }, 1],
    [{ credsStore: "empty", auths }, 0],
    [{ credsStore: "empty" }, 1],
    [{ auths: { [`${guarded}/team`]: auths[guarded] } }, 1],
  ] as const)
    assert.equal((await withConfig(config, to("app"))).code, code, JSON.stringify(config));
  const team = { auths: { [`${guarded}/team`]: auths[guarded] } };
  assert.equal((await withConfig(team, to("team/app"))).code, 0);
  assert.equal(await readFile(asked, "utf8"), `get ${guarded}\n`.repeat(2));
});

test("a helper that fails is named, and what it printed is not shown", async () => {
  await helper("broken", "echo s3cr3t; echo s3cr3t >&2; exit 3");
  await helper("chatty", "echo s3cr3t");
  for (const [name, message] of [
    ["broken", /RegistryDenied: the credential helper docker-credential-broken .*exit code 3/],
    ["missing", /RegistryDenied: the credential helper docker-credential-missing .*ENOENT/],
    ["chatty", /SecretInvalid: docker-credential-chatty: is not JSON/],
    ["../evil", /SecretInvalid: .*is not the name of a helper/],
  ] as const) {
    const args = ["list", "artifacts", `oci://${guarded}/app`];
    const { code, stdout, stderr } = await withConfig({ credsStore: name }, args);
    assert.equal(code, 1);
    assert.match(stderr, message);
    assert.doesNotMatch(stdout + stderr, /s3cr3t/);
  }
});
