import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fluxManifests, fluxVersion } from "../../hack/flux-manifests.ts";
import { serverDir } from "../../hack/lab/apiserver.ts";
import { startGitHttp, type GitServer } from "../../hack/lab/git-http.ts";
import { FluxSource, startKustomizeController } from "../../hack/lab/kustomize.ts";
import { stop } from "../../hack/lab/processes.ts";
import { silent } from "../../hack/lab/progress.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { ensureTool } from "../../hack/lab/tools.ts";
import type { SecretRotation } from "../../pkg/api/index.ts";
import type { GitRepository } from "../../pkg/git/index.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import type { KubeObject, Resource } from "../../pkg/object/index.ts";
import { generateIdentity, type NewIdentity } from "../../pkg/sops/index.ts";
import { cliOf, inTerminal, run } from "../harness/cli.ts";
import { GitLab, openGit } from "../harness/git.ts";
import { pushFiles } from "../harness/artifacts.ts";
import {
  applyFleet,
  deployment,
  fleetReady,
  namespace,
  newCluster,
  resources,
  retireClusters,
  sharedHub,
  sharedLab,
  until,
  type Ran,
} from "../harness/index.ts";
import { encrypted } from "../harness/secrets.ts";

const synced = "value-1";
const opened = "value-2";
const repository = "fleet.git";
const kustomize = "kustomize-value";
const waitMs = 120_000;
const fileOf = (cluster: string) => `config/clusters/${cluster}/secrets/db.sops.yaml`;
const pattern = "config/clusters/*/secrets/db.sops.yaml";

let lab: LabFile;
let hub: KubeClient;
let dir: string;
let git: GitLab;
let server: GitServer;
let reader: GitRepository;
let flux: FluxSource;
let manager: NewIdentity;
const workloads = new Map<string, KubeClient>();

before(async () => {
  lab = await sharedLab();
  hub = await sharedHub();
  manager = generateIdentity(randomBytes);
  dir = await mkdtemp(join(tmpdir(), "capitan-value-"));
  git = await GitLab.make();
  server = await startGitHttp({ root: git.root });
  reader = openGit(url(), dir, { insecure: true });
  await git.init(repository);
  await git.git(repository, ["config", "http.receivepack", "true"]);
  await git.commitFiles(repository, { "README.md": "the fleet\n" });
  const key = { "manager.agekey": manager.identity };
  await apply(hub, resources.secret, {
    ...secretNamed("value-manager", namespace),
    stringData: key,
  });
  await pushFiles(`oci://${lab.registry}/value/flux:${fluxVersion}`, {
    "gotk-components.yaml": (await fluxManifests()).text,
  });
  await pushFiles(`${config()}:stable`, { "clusters/value-2/settings.yaml": configMap });
  for (const name of [synced, opened]) workloads.set(name, (await newCluster(hub, name)).client);
  await applyFleets();
  await fillRepository();
  await publish();
  await startFlux();
  await applyOthers();
  for (const name of [synced, opened])
    await until(async () => (await password(name)) === "old", deadline(`${name} to run it`));
});
after(async () => {
  await flux?.close();
  await stop(lab.dir, kustomize);
  await server.close();
  await git.remove();
  await rm(dir, { recursive: true, force: true });
  await Promise.all([...workloads.values()].map((client) => client.close()));
  await retireClusters(hub, "value-");
  await hub.close();
});

const url = () => `${server.url}/${repository}`;
const config = () => `oci://${lab.registry}/value/config`;
const deadline = (what: string) => ({ deadlineMs: waitMs, what, everyMs: 100 });
const configMap =
  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: default}\n";

const secretNamed = (name: string, inNamespace: string) => ({
  apiVersion: "v1",
  kind: "Secret",
  metadata: { name, namespace: inNamespace },
});

const apply = (client: KubeClient, resource: Resource, object: object) =>
  client.apply(resource, object as KubeObject, { manager: "test" });

/** One cluster whose own Flux decrypts what Git has, one for which the hub decrypts what CI has pushed. */
async function applyFleets(): Promise<void> {
  const sync = {
    git: { url: url(), ref: { branch: "main" } },
    path: "./config/clusters/{{cluster.name}}",
    decryption: { provider: "sops" },
  };
  const artifact = { url: `oci://${lab.registry}/value/flux`, insecure: true };
  const components = ["source-controller", "kustomize-controller"];
  const layer = { version: fluxVersion, artifact, components, sync };
  const layers = [{ name: "flux", wait: false, flux: layer }];
  await applyFleet(hub, "value-flux", synced, layers, { interval: "2s" });
  const own = {
    name: "config",
    wait: false,
    oci: { url: config(), insecure: true, ref: { tag: "stable" } },
    path: "./clusters/{{cluster.name}}",
    decryption: { provider: "sops", secretRef: { name: "value-manager" } },
  };
  await applyFleet(hub, "value-config", opened, [own], { interval: "2s" });
  await fleetReady(hub, "value-flux");
  await fleetReady(hub, "value-config");
}

/** A Secret, a Deployment that wants to restart for it, and one that does not. */
async function fillRepository(): Promise<void> {
  const web = deployment("web") as KubeObject;
  const annotations = { "capitan.dev/restart-on": "secret/db" };
  const asking = { ...web, metadata: { ...web.metadata, annotations } };
  const text =
    "apiVersion: v1\nkind: Secret\nmetadata:\n    name: db\n    namespace: default\nstringData:\n    password: old\n    user: shop\n";
  const files: Record<string, string> = {};
  for (const name of [synced, opened]) {
    const own = name === synced ? [await recipientOf(name)] : [];
    files[fileOf(name)] = await encrypted(text, fileOf(name), [manager.recipient, ...own]);
    files[`config/clusters/${name}/web.yaml`] = JSON.stringify(asking);
    files[`config/clusters/${name}/quiet.yaml`] = JSON.stringify(deployment("quiet"));
  }
  const settings = { apiVersion: "capitan.dev/v1alpha1", kind: "Repository", url: url() };
  files[".capitan.yaml"] = JSON.stringify(settings);
  files["config/clusters/plain.sops.yaml"] = text;
  await git.commitFiles(repository, files, { parent: await head() });
}

/** What else has pods, and is nobody's but its owner's: it asks for restarts too. */
const others = [
  { group: "apps", version: "v1", kind: "StatefulSet", plural: "statefulsets", namespaced: true },
  { group: "apps", version: "v1", kind: "DaemonSet", plural: "daemonsets", namespaced: true },
] as const;

async function applyOthers(): Promise<void> {
  const { metadata, spec } = deployment("other") as KubeObject & { spec: object };
  const { selector, template } = spec as { selector: object; template: object };
  const annotations = { "capitan.dev/restart-on": "secret/db" };
  for (const resource of others) {
    const of = {
      apiVersion: "apps/v1",
      kind: resource.kind,
      metadata: { ...metadata, annotations },
    };
    const more = resource.kind === "StatefulSet" ? { serviceName: "other" } : {};
    await apply(clientOf(opened), resource, { ...of, spec: { selector, template, ...more } });
  }
}

async function recipientOf(cluster: string): Promise<string> {
  const found = await hub.get(resources.secret, { namespace, name: `${cluster}-age-1` });
  return found?.metadata.annotations?.["capitan.dev/recipient"] ?? "";
}

/** What CI does: the directory config becomes the artifact. */
async function publish(): Promise<void> {
  const tip = await reader.tip("main", AbortSignal.timeout(30_000));
  const files = [...(tip?.files ?? [])].filter(([path]) =>
    path.startsWith("config/clusters/value-2/"),
  );
  const below = files.map(([path, bytes]) => [path.slice("config/".length), bytes.toString()]);
  await pushFiles(`${config()}:stable`, Object.fromEntries(below) as Record<string, string>);
}

async function startFlux(): Promise<void> {
  const client = clientOf(synced);
  flux = await FluxSource.start(client, reader);
  const kubeconfig = join(serverDir(lab.dir, synced), "kubeconfig");
  await startKustomizeController(lab.dir, kubeconfig, { progress: silent, name: kustomize });
}

function clientOf(cluster: string): KubeClient {
  const client = workloads.get(cluster);
  assert.ok(client, cluster);
  return client;
}

async function valueOn(cluster: string, key: string): Promise<string> {
  const name = { namespace: "default", name: "db" };
  const found = await clientOf(cluster).get(resources.secret, name);
  return Buffer.from(asString(asMap(found?.["data"])[key]) ?? "", "base64").toString();
}

const password = (cluster: string) => valueOn(cluster, "password");

/** How often pods of a Deployment were started anew, and for what. */
async function templateOf(cluster: string, name: string) {
  const live = await clientOf(cluster).get(resources.deployment, { namespace: "default", name });
  const template = asMap(asMap(asMap(live?.["spec"])["template"])["metadata"]);
  const restartedFor = asString(asMap(template["annotations"])["capitan.dev/restarted-for"]);
  const { generation, resourceVersion } = live?.metadata ?? {};
  return { generation, restartedFor, resourceVersion };
}

const head = () => git.git(repository, ["rev-parse", "main"]);

/** A person in a home of their own: with a key, or without one. */
const person = (more: Readonly<Record<string, string | undefined>> = {}) => ({
  HOME: dir,
  XDG_CACHE_HOME: join(dir, "cache"),
  XDG_CONFIG_HOME: join(dir, "none"),
  SOPS_AGE_KEY: manager.identity,
  GIT_AUTHOR_NAME: "Ada",
  GIT_AUTHOR_EMAIL: "ada@example.test",
  GIT_CONFIG_GLOBAL: "/dev/null",
  ...more,
});

type How = { readonly input?: string; readonly env?: object; readonly cwd?: string };

/** `capitan rotate secret` for both clusters, unless it is told otherwise. */
async function rotate(args: readonly string[], { env = {}, ...how }: How = {}): Promise<Ran> {
  const which = ["--cluster", synced, "--cluster", opened];
  const words = ["rotate", "secret", ...args, ...which, "--repo", url()];
  return cliOf(lab.hubKubeconfig)(words, { ...how, env: person(env as Record<string, string>) });
}

const nameIn = ({ stderr }: Ran) => /SecretRotation fleet\/(\S+):/.exec(stderr)?.[1] ?? "";

async function done(name: string): Promise<SecretRotation> {
  const words = ["rotate", "status", name, "--watch", "--timeout", "100s", "-o", "json"];
  const { code, stdout, stderr } = await cliOf(lab.hubKubeconfig)(words, {});
  assert.equal(code, 0, stderr + stdout);
  return JSON.parse(stdout) as SecretRotation;
}

/** What real sops says of a file at the tip. */
async function sops(path: string, key: string): Promise<Ran> {
  const file = join(dir, path.replaceAll("/", "-"));
  await writeFile(file, `${await git.git(repository, ["show", `main:${path}`])}\n`);
  const env = { HOME: dir, SOPS_AGE_KEY: key };
  return run(await ensureTool("sops", silent), ["decrypt", file], { env });
}

test("a new value is in every file by one commit, stragglers are named, and every cluster runs it in the end", async () => {
  const before = await head();
  const late = await rotate([pattern, "password", "--generate", "24", "--timeout", "15s"]);
  assert.equal(late.code, 1, late.stderr);
  assert.match(late.stdout, /value-1 +Done +1/);
  const url2 = config().replaceAll("/", "\\/");
  assert.match(
    late.stdout,
    new RegExp(`value-2 +Waiting +- +AwaitingPublish: move ${url2}:stable: `),
  );
  assert.match(late.stderr, /HealthTimeout: waited 15s/);
  assert.match(late.stderr, /db\.sops\.yaml: \["stringData"\]\["password"\]: a new value/);
  assert.equal(await git.git(repository, ["rev-parse", "main^"]), before);
  const log = await git.git(repository, ["log", "-1", "--format=%an %s", "main"]);
  assert.equal(log, "Ada Rotate password in 2 files");
  const diff = await git.git(repository, ["diff", "--numstat", "main^", "main"]);
  assert.deepEqual(
    diff.split("\n").map((line) => line.split("\t").slice(0, 2)),
    [
      ["3", "3"],
      ["3", "3"],
    ],
  );

  await publish();
  const { status, spec } = await done(nameIn(late));
  assert.equal(status?.summary, "2/2 run it, 4 workloads restarted");
  const value = await password(synced);
  assert.match(value, /^[\w-]{32}$/);
  assert.equal(await password(opened), value);
  for (const text of [late.stdout, late.stderr, JSON.stringify(spec), JSON.stringify(status)])
    assert.ok(!text.includes(value));
  for (const cluster of [synced, opened]) {
    const { stdout, code } = await sops(fileOf(cluster), manager.identity);
    assert.equal(code, 0);
    assert.ok(stdout.includes(value));
  }
});

test("workloads that ask for it were restarted once each, others not, and neither Flux nor Capitan takes that back", async () => {
  for (const cluster of [synced, opened]) {
    const web = await templateOf(cluster, "web");
    assert.equal(web.generation, 2, cluster);
    assert.match(web.restartedFor ?? "", /^db=[0-9a-f]{16}$/);
    const quiet = await templateOf(cluster, "quiet");
    assert.deepEqual([quiet.generation, quiet.restartedFor], [1, undefined], cluster);
  }
  for (const resource of others) {
    const live = await clientOf(opened).get(resource, { namespace: "default", name: "other" });
    assert.equal(live?.metadata.generation, 2, resource.kind);
  }
  // Somebody scales it: Capitan puts its own field back, and leaves the annotation alone.
  const name = { namespace: "default", name: "web" };
  const client = clientOf(opened);
  const { restartedFor } = await templateOf(opened, "web");
  await client.mergePatch(resources.deployment, name, { spec: { replicas: 5 } });
  await until(async () => {
    const live = await client.get(resources.deployment, name);
    return asMap(live?.["spec"])["replicas"] === 1;
  }, deadline("the repair"));
  const lookAgain = async () => {
    const asked = await cliOf(lab.hubKubeconfig)(["reconcile", "fleet", "value-config"], {});
    assert.equal(asked.code, 0, asked.stderr);
    await fleetReady(hub, "value-config");
    return templateOf(opened, "web");
  };
  const repaired = await lookAgain();
  assert.deepEqual([repaired.generation, repaired.restartedFor], [4, restartedFor]);
  assert.deepEqual(await lookAgain(), repaired, "nothing is written any more");
});

test("a value from stdin goes through a clone with changes of its own; the hub's key opens the files", async () => {
  const clone = join(dir, "clone");
  await git.git(".", ["clone", "-q", url(), clone]);
  await writeFile(join(clone, "README.md"), "my own\n");
  const env = { SOPS_AGE_KEY: undefined };
  const args = [pattern, "password", "--from-stdin", "--manager-secret", "value-manager"];
  const first = await rotate([...args, "--wait=false"], { env, cwd: clone, input: "from-stdin\n" });
  assert.equal(first.code, 0, first.stderr);
  assert.equal(await readFile(join(clone, "README.md"), "utf8"), "my own\n");
  assert.equal(await git.git(".", ["-C", clone, "rev-parse", "HEAD"]), await head());
  const commit = await head();
  const again = await rotate([...args, "--wait=false"], { env, input: "from-stdin" });
  assert.match(again.stderr, /has this value already/);
  assert.equal(await head(), commit);
  await publish();
  for (const ran of [first, again]) await done(nameIn(ran));
  assert.equal(await password(opened), "from-stdin");
  for (const cluster of [synced, opened]) {
    const { restartedFor, generation } = await templateOf(cluster, "web");
    assert.match(restartedFor ?? "", /^db=/);
    assert.equal(generation, cluster === opened ? 5 : 3, "once for both rotations");
  }
});

test("S9 real sops changes another value of the same file meanwhile: both changes are there, and the rotation is complete", async () => {
  // The server takes somebody else's commit while it has ours in hand.
  const work = join(dir, "work");
  await git.git(".", ["clone", "-q", url(), work]);
  const env = { HOME: dir, SOPS_AGE_KEY: manager.identity };
  const words = ["set", join(work, fileOf(synced)), '["stringData"]["user"]', '"other"'];
  assert.equal((await run(await ensureTool("sops", silent), words, { env })).code, 0);
  await git.git(".", ["-C", work, "commit", "-qam", "another user"]);
  await git.git(".", [
    "-C",
    work,
    "push",
    "-q",
    join(git.root, repository),
    "HEAD:refs/heads/other",
  ]);
  const hook = join(git.root, repository, "hooks", "pre-receive");
  const move = "env -u GIT_QUARANTINE_PATH git update-ref refs/heads/main refs/heads/other";
  await writeFile(hook, `#!/bin/sh\ntest -e moved && exit 0\ntouch moved\n${move}\n`);
  await chmod(hook, 0o755);
  const ran = await rotate([pattern, "password", "--generate", "16", "--wait=false"]);
  await rm(hook);
  assert.equal(ran.code, 0, ran.stderr);
  const log = await git.git(repository, ["log", "-2", "--format=%s", "main"]);
  assert.equal(log, "Rotate password in 2 files\nanother user");
  await publish();
  await done(nameIn(ran));
  assert.equal(await valueOn(synced, "user"), "other");
  assert.equal(await password(synced), await password(opened));
  assert.equal((await sops(fileOf(synced), manager.identity)).code, 0);
});

const refused: readonly (readonly [string, readonly string[], RegExp, object?])[] = [
  ["no such file", ["config/nothing.yaml", "password"], /FileInvalid: no file of .* matches/],
  ["no such key", [fileOf(synced), "nobody"], /SopsFileInvalid: .*it has no value under nobody/],
  [
    "one of the files is in plaintext",
    ["config/clusters/**/*.sops.yaml", "password"],
    /SopsFileInvalid: config\/clusters\/plain\.sops\.yaml: it is not encrypted/,
  ],
  [
    "a key that opens nothing",
    [fileOf(synced), "password"],
    /SopsKeyMissing: .*db\.sops\.yaml/,
    { SOPS_AGE_KEY: generateIdentity(randomBytes).identity },
  ],
  ["nowhere a key", [fileOf(synced), "password"], /SopsKeyMissing/, { SOPS_AGE_KEY: undefined }],
];
for (const [name, args, message, env = {}] of refused)
  test(`refused, and nothing is written: ${name}`, async () => {
    const [file = "", key = ""] = args;
    const before = await head();
    const words = ["rotate", "secret", file, key, "--generate", "16", "--repo", url()];
    const ran = await cliOf(lab.hubKubeconfig)(words, {
      env: person(env as Record<string, string | undefined>),
    });
    assert.notEqual(ran.code, 0);
    assert.match(ran.stderr, message);
    assert.equal(await head(), before);
    assert.ok(!/SecretRotation/.test(ran.stderr));
  });

test("--dry-run shows files and keys and changes nothing; without a value and a terminal there is nothing to do", async () => {
  const before = await head();
  const dry = await rotate([pattern, "user", "--generate", "16", "--dry-run"]);
  assert.equal(dry.code, 0, dry.stderr);
  assert.equal(
    dry.stdout,
    [synced, opened]
      .map((name) => `${fileOf(name)}: ["stringData"]["user"]: a new value\n`)
      .join(""),
  );
  const nobody = await rotate([pattern, "user"]);
  assert.match(nobody.stderr, /ParameterInvalid: there is no value/);
  assert.equal(await head(), before);
});

test("at a terminal the value is asked for twice and never shown", async () => {
  const words = ["rotate", "secret", fileOf(opened), "user", "--cluster", opened, "--dry-run"];
  const line = `capitan ${words.join(" ")} --repo ${url()}`;
  const env = { ...person(), KUBECONFIG: lab.hubKubeconfig };
  const same = await inTerminal(line, 120, { env, input: "typed-value\ntyped-value\n" });
  // What is typed ahead, before the command runs, is the terminal's own to show.
  const shown = same.stdout.slice(same.stdout.indexOf("new value: "));
  assert.match(shown, /^new value: \n+once more: \n/);
  assert.match(shown, /\["user"\]: a new value/);
  assert.ok(!shown.includes("typed-value"), shown);
  const other = await inTerminal(line, 120, { env, input: "typed-value\nanother\n" });
  assert.match(other.stdout, /the two are not the same/);
});
