import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { startGitHttp, type GitServer } from "../../hack/lab/git-http.ts";
import { silent } from "../../hack/lab/progress.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { ensureTool } from "../../hack/lab/tools.ts";
import { conditionOf, type Fleet, type KeyRotation } from "../../pkg/api/index.ts";
import { identitySecret } from "../../pkg/controllers/index.ts";
import type { GitRepository } from "../../pkg/git/index.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { generateIdentity, type NewIdentity } from "../../pkg/sops/index.ts";
import { describes } from "../harness/codes.ts";
import { pushFiles } from "../harness/artifacts.ts";
import { cliOf } from "../harness/cli.ts";
import { GitLab, openGit } from "../harness/git.ts";
import {
  applyFleet,
  capitan,
  deleteNow,
  fleetHas,
  fleetReady,
  memberOf,
  namespace,
  newCluster,
  resources,
  retireClusters,
  sharedHub,
  sharedLab,
  until,
} from "../harness/index.ts";
import { encrypted, sopsStatuses } from "../harness/secrets.ts";

const cluster = "turn-1";
const secretName = "turn-manager";
const repository = "fleet.git";
const waitMs = 150_000;
const paths = {
  /** For a cluster, whose own Flux would open it. */
  own: `clusters/${cluster}/own.sops.yaml`,
  /** Opened by the hub, from the artifact that CI pushes. */
  shared: "shared/word.sops.yaml",
  /** Opened by the hub, from Git, for itself. */
  hub: "management/word.sops.yaml",
};

let lab: LabFile;
let hub: KubeClient;
let workload: KubeClient;
let dir: string;
let git: GitLab;
let server: GitServer;
let reader: GitRepository;
let url: string;
const manager: NewIdentity = generateIdentity(randomBytes);
const own: NewIdentity = generateIdentity(randomBytes);

before(async () => {
  lab = await sharedLab();
  hub = await sharedHub();
  url = `oci://${lab.registry}/turn/config`;
  dir = await mkdtemp(join(tmpdir(), "capitan-turn-"));
  git = await GitLab.make();
  await git.init(repository);
  await git.git(repository, ["config", "http.receivepack", "true"]);
  server = await startGitHttp({ root: git.root });
  reader = openGit(`${server.url}/${repository}`, dir, { insecure: true });
  await secret(secretName, { "manager.agekey": manager.identity });
  await secret("turn-git", { username: "robot", password: "pass-word" });
  await hub.create(
    resources.secret,
    identitySecret({ namespace, name: cluster }, 1, { ...own, created: new Date() }),
    {},
  );
  workload = (await newCluster(hub, cluster)).client;
});
after(async () => {
  await server.close();
  await git.remove();
  await rm(dir, { recursive: true, force: true });
  await workload.close();
  for (const name of ["turn-hub", "turn-narrow"])
    await deleteNow(hub, resources.fleet, { namespace, name });
  await retireClusters(hub, "turn-");
  await hub.close();
});

function secret(name: string, stringData: Readonly<Record<string, string>>): Promise<unknown> {
  const metadata = { name, namespace };
  const object = { apiVersion: "v1", kind: "Secret", metadata, stringData };
  return hub.apply(resources.secret, object, { manager: "test" });
}

const manifest = (name: string, inNamespace: string) =>
  `apiVersion: v1\nkind: Secret\nmetadata:\n    name: ${name}\n    namespace: ${inNamespace}\nstringData:\n    word: first\n`;

async function tipFiles(): Promise<Readonly<Record<string, string>>> {
  const tip = await reader.tip("main", AbortSignal.timeout(30_000));
  return Object.fromEntries(
    [...(tip?.files ?? [])].map(([path, bytes]) => [path, bytes.toString()]),
  );
}

/** The CI job: pushes what the clusters get. Gives the digest. */
async function release(): Promise<string> {
  const { [paths.shared]: text = "" } = await tipFiles();
  return pushFiles(`${url}:stable`, { [paths.shared]: text });
}

const encryptedAt = (files: Readonly<Record<string, string>>) =>
  Object.entries(files).filter(([path]) => Object.values<string>(paths).includes(path));

/** What the real sops says to the files with one identity. */
const statusesWith = async (identity: string, files: Readonly<Record<string, string>>) =>
  sopsStatuses(identity, Object.fromEntries(encryptedAt(files)), dir);

async function word(client: KubeClient, inNamespace: string): Promise<string> {
  const found = await client.get(resources.secret, { namespace: inNamespace, name: "turn-word" });
  return Buffer.from(asString(asMap(found?.["data"])["word"]) ?? "", "base64").toString("utf8");
}

const decryption = { provider: "sops", secretRef: { name: secretName } };
const sharedLayer = () => ({
  name: "config",
  oci: { url, ref: { tag: "stable" }, insecure: true },
  path: "./shared",
  decryption,
});

/** Everything that the Fleets say is wrong, for as long as it is not told to end. */
function watchFleets(): () => Promise<readonly string[]> {
  const seen = new Set<string>();
  const ending = new AbortController();
  const work = (async () => {
    while (!ending.signal.aborted) {
      for (const name of ["turn", "turn-hub"]) {
        const found = (await hub.get(resources.fleet, { namespace, name })) as Fleet | undefined;
        const ready = conditionOf(found?.status?.conditions, "Ready");
        if (ready?.status === "False") seen.add(`${name}: ${ready.reason}: ${ready.message}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })();
  return async () => {
    ending.abort();
    await work;
    return [...seen];
  };
}

const rotationArgs = (...more: readonly string[]) => [
  "rotate",
  "keys",
  "--manager",
  "--manager-secret",
  secretName,
  "--secret",
  "turn-git",
  ...more,
];

type Status = NonNullable<KeyRotation["status"]>;

function rotationIs(name: string, what: string, is: (status: Status) => boolean): Promise<Status> {
  return until(
    async () => {
      const found = await hub.get(resources.keyRotation, { namespace, name });
      const { status } = found as unknown as KeyRotation;
      if (status === undefined || !is(status))
        throw new Error(JSON.stringify([status?.clusters, status?.conditions]));
      return status;
    },
    { deadlineMs: waitMs, what: `rotation ${name} ${what}`, everyMs: 200 },
  );
}

const message = ({ clusters }: Status) => clusters?.[0]?.message ?? "";

/** Waits until the pinned digest is what holds the rotation up, then lets CI push the tip. */
async function waitsForRelease(name: string, digest: string): Promise<void> {
  const status = await rotationIs(
    name,
    `to wait for what is newer than ${digest}`,
    (now) => now.clusters?.[0]?.reason === "AwaitingPublish" && message(now).includes(digest),
  );
  assert.match(message(status), new RegExp(`^move ${url}:stable \\(Fleet turn on ${cluster}\\): `));
}

test("a tree of files for the manager, opened by the hub for clusters and for itself", async () => {
  await git.commitFiles(repository, {
    ".capitan.yaml": `apiVersion: capitan.dev/v1alpha1\nkind: Repository\nurl: ${server.url}/${repository}\n`,
    ".sops.yaml": `creation_rules:\n  - path_regex: ^clusters/${cluster}/\n    age: ${manager.recipient},${own.recipient}\n  - age: ${manager.recipient}\n`,
    [paths.own]: await encrypted(manifest("turn-own", "default"), paths.own, [
      manager.recipient,
      own.recipient,
    ]),
    [paths.shared]: await encrypted(manifest("turn-word", "default"), paths.shared, [
      manager.recipient,
    ]),
    [paths.hub]: await encrypted(manifest("turn-word", namespace), paths.hub, [manager.recipient]),
  });
  await release();
  await applyFleet(hub, "turn", cluster, [sharedLayer()], { interval: "2s" });
  await hub.apply(
    resources.fleet,
    {
      apiVersion: "capitan.dev/v1alpha1",
      kind: "Fleet",
      metadata: { namespace, name: "turn-hub" },
      spec: {
        target: "Management",
        interval: "2s",
        layers: [
          {
            name: "management",
            git: { url: `${server.url}/${repository}`, ref: { branch: "main" } },
            path: "./management",
            decryption,
          },
        ],
      },
    },
    { manager: "test" },
  );
  await fleetReady(hub, "turn");
  await fleetReady(hub, "turn-hub");
  assert.equal(await word(workload, "default"), "first");
  assert.equal(await word(hub, namespace), "first");
});

test("a plan in a clone says whose key, which files, and changes nothing; --out needs a rotation", async () => {
  await git.git(".", ["clone", "-q", repository, "clone"]);
  const run = cliOf(lab.hubKubeconfig);
  const before = await git.git(repository, ["rev-parse", "main"]);
  const cwd = join(git.root, "clone");
  const { stdout, stderr } = await run(rotationArgs("--plan"), { cwd });
  assert.match(stdout, /\(manager\) +1 → 2 +3 /, stderr);
  assert.match(stdout, /Nothing was changed/);
  assert.equal(await git.git(repository, ["rev-parse", "main"]), before);
  const out = join(dir, "none.agekey");
  const refused = await run(rotationArgs("--plan", "--out", out), { cwd });
  assert.match(refused.stderr, /--out is for --manager, without --plan/);
  const nowhere = await run(rotationArgs("--plan"), { cwd: dir });
  assert.match(nowhere.stderr, /FileInvalid: there is no \.capitan\.yaml here or above/);
  await assert.rejects(stat(out), /ENOENT/);
});

test("S7 the manager's key over a whole tree: what the hub opens goes on at every moment, and the old key opens nothing any more", async () => {
  const old = await tipFiles();
  const digests = [await release()];
  const fleets = watchFleets();
  const out = join(dir, "manager-2.agekey");
  const cwd = join(git.root, "clone");
  const run = cliOf(lab.hubKubeconfig);
  const args = rotationArgs("--out", out, "--reason", "compromise", "--wait=false");
  const { code, stdout, stderr } = await run(args, { cwd });
  assert.equal(code, 0, stderr);
  assert.match(stdout, /an older copy opens the history of Git only/);
  const name = /KeyRotation fleet\/(\S+):/.exec(stdout)?.[1] ?? "";
  assert.equal((await stat(out)).mode & 0o777, 0o600);
  const next = await readFile(out, "utf8");

  await waitsForRelease(name, digests[0] ?? "");
  const all = { [paths.own]: 0, [paths.shared]: 0, [paths.hub]: 0 };
  assert.deepEqual(await statusesWith(manager.identity, await tipFiles()), all);
  assert.deepEqual(await statusesWith(next, await tipFiles()), all);
  digests.push(await release());
  // The next one is from before the old key went: taking it away would lock the hub out.
  await waitsForRelease(name, digests[1] ?? "");
  const running = await rotationIs(
    name,
    "to be proven",
    ({ clusters }) => clusters?.[0]?.proof?.generation === 2,
  );
  assert.equal(running.summary, "1/1 proven, 0 done");
  digests.push(await release());
  const done = await rotationIs(name, "to complete", (now) => now.completedTime !== undefined);
  assert.equal(done.summary, "1/1 proven, 1 done");
  assert.deepEqual(done.clusters?.[0]?.name, "(manager)");
  const exposed = [paths.own, paths.hub, paths.shared].sort();
  assert.deepEqual(done.exposed?.map(({ file }) => file).sort(), exposed);
  await fleetReady(hub, "turn");
  await fleetReady(hub, "turn-hub");
  assert.deepEqual(await fleets(), []);

  const tip = await tipFiles();
  const none = { [paths.own]: 128, [paths.shared]: 128, [paths.hub]: 128 };
  assert.deepEqual(await statusesWith(manager.identity, tip), none);
  assert.deepEqual(await statusesWith(next, tip), all);
  assert.equal((await statusesWith(own.identity, tip))[paths.own], 0);
  const newest = /public key: (\S+)/.exec(next)?.[1] ?? "";
  assert.equal(tip[".sops.yaml"], old[".sops.yaml"]?.replaceAll(manager.recipient, newest));
  // What the cluster is pinned to is what CI pushed last.
  const member = await memberOf(hub, "turn", cluster);
  const pinned = await hub.get(resources.fleetRevision, {
    namespace,
    name: member?.spec.revision ?? "",
  });
  assert.match(JSON.stringify(pinned), new RegExp(digests[2] ?? "none"));
  const pulled = join(dir, "pulled");
  await capitan(["pull", "artifact", `${url}@${digests[2] ?? ""}`, "--insecure", "--path", pulled]);
  const inArtifact = { [paths.shared]: await readFile(join(pulled, paths.shared), "utf8") };
  assert.deepEqual(await statusesWith(manager.identity, inArtifact), { [paths.shared]: 128 });
  assert.deepEqual(await statusesWith(next, inArtifact), { [paths.shared]: 0 });
});

type Row = { readonly cluster?: string; readonly generation: number; readonly state: string };

test("get recipients and .sops.yaml name the newest key of the manager, and the history the old one", async () => {
  const args = ["get", "recipients", "--manager-secret", secretName, "-o"];
  const { stdout } = await capitan([...args, "json"]);
  const rows = (JSON.parse(stdout) as readonly Row[]).filter((row) => row.cluster === undefined);
  const states = rows.map(({ generation, state }) => `${generation} ${state}`);
  assert.deepEqual(states, ["1 retired", "2 active"]);
  const rules = await capitan([...args, "sops"]);
  assert.ok(!rules.stdout.includes(manager.recipient));
  assert.match(
    rules.stdout,
    new RegExp((await tipFiles())[".sops.yaml"]?.match(/age1\w+/)?.[0] ?? "-"),
  );
});

test("a value that real sops sets with the offline copy arrives; KeyRetired: what was released before does not", async () => {
  await git.git("clone", ["pull", "-q", "--ff-only"]);
  const file = join(git.root, "clone", paths.shared);
  const sops = await ensureTool("sops", silent);
  const SOPS_AGE_KEY_FILE = join(dir, "manager-2.agekey");
  const env = { PATH: process.env["PATH"], HOME: dir, SOPS_AGE_KEY_FILE };
  await promisify(execFile)(sops, ["set", file, '["stringData"]["word"]', '"second"'], { env });
  await git.git("clone", ["commit", "-qam", "another word"]);
  await git.git("clone", ["push", "-q", "origin", "main"]);
  await release();
  const deadline = { deadlineMs: waitMs, what: "the second word to arrive" };
  await until(async () => (await word(workload, "default")) === "second", deadline);
  const stale = await encrypted(manifest("turn-word", "default"), paths.shared, [
    manager.recipient,
  ]);
  await pushFiles(`${url}:stable`, { [paths.shared]: stale });
  const { message: said } = await fleetHas(hub, "turn", "KeyRetired");
  assert.match(said, /word\.sops\.yaml opens with retired keys of the manager only/);
  await describes(["fleet", "turn"], "KeyRetired");
  assert.equal(await word(workload, "default"), "second");
  await release();
  await fleetReady(hub, "turn");
});

test("a Secret of the next generation's name that is none of the manager's is not taken for it", async () => {
  await secret(`${secretName}-age-3`, { identity: own.identity });
  const { stdout } = await capitan(
    rotationArgs("--repo", `${server.url}/${repository}`, "--wait=false"),
  );
  const name = /KeyRotation fleet\/(\S+):/.exec(stdout)?.[1] ?? "";
  const status = await rotationIs(
    name,
    "to say what is in the way",
    ({ conditions }) => conditionOf(conditions, "Ready")?.reason === "SecretInvalid",
  );
  const said = conditionOf(status.conditions, "Ready")?.message ?? "";
  assert.match(said, /turn-manager-age-3 is there, but without the labels of an age identity/);
  await deleteNow(hub, resources.keyRotation, { namespace, name });
  await deleteNow(hub, resources.secret, { namespace, name: `${secretName}-age-3` });
});

/** The KeyRotations that the Fleet has asked for. */
async function asked(): Promise<readonly KeyRotation[]> {
  const options = { namespace, labelSelector: "capitan.dev/fleet=turn" };
  return (await hub.list(resources.keyRotation, options)).items as unknown as KeyRotation[];
}

test("rotateEvery: a key that has grown old is rotated by the Fleet, once", async () => {
  const repositoryOf = { url: `${server.url}/${repository}`, secretRef: { name: "turn-git" } };
  const rotation = {
    rotateEvery: "1h",
    repository: repositoryOf,
    decryption: { secretRef: { name: secretName } },
  };
  await hub.mergePatch(resources.fleet, { namespace, name: "turn" }, { spec: { rotation } });
  await fleetReady(hub, "turn");
  assert.deepEqual(await asked(), []);
  const old = { metadata: { annotations: { "capitan.dev/created": "2026-01-01T00:00:00Z" } } };
  await hub.mergePatch(resources.secret, { namespace, name: `${cluster}-age-1` }, old);
  const [made] = await until(
    async () => {
      const all = await asked();
      return all.length > 0 ? all : undefined;
    },
    { deadlineMs: waitMs, what: "a rotation of the old key" },
  );
  assert.deepEqual(made?.spec.clusters, [{ name: cluster, ends: 1 }]);
  const name = made?.metadata.name ?? "";
  await rotationIs(name, "to complete", (now) => now.completedTime !== undefined);
  assert.deepEqual(await statusesWith(own.identity, await tipFiles()), {
    [paths.own]: 128,
    [paths.shared]: 128,
    [paths.hub]: 128,
  });
  const events = await capitan(["events", "--for", "turn"]);
  assert.match(events.stdout, new RegExp(`RotationDue.*KeyRotation ${name}: `), events.stderr);
  const { code, stderr } = await capitan(["reconcile", "fleet", "turn"]);
  assert.equal(code, 0, stderr);
  assert.equal((await asked()).length, 1);
});

test("a ServiceAccount that may not read the new key yet holds the rotation up, and its Fleet goes on with the old one", async () => {
  const narrow = "turn-narrow";
  const allow = async (...names: readonly string[]) => {
    const secrets = names.flatMap((name) => ["--secret", name]);
    const args = ["create", "tenant", namespace, "--service-account", narrow, ...secrets];
    const { code, stderr } = await capitan(args);
    assert.equal(code, 0, stderr);
  };
  await allow(secretName, `${secretName}-age-2`);
  const spec = { serviceAccountName: narrow, interval: "2s" };
  await applyFleet(hub, narrow, "turn-nobody", [sharedLayer()], spec);
  await fleetHas(hub, narrow, "NoClusters");
  const args = rotationArgs("--repo", `${server.url}/${repository}`, "--immediate", "--wait=false");
  const { stdout } = await capitan(args);
  const name = /KeyRotation fleet\/(\S+):/.exec(stdout)?.[1] ?? "";
  const reasonIs = (reason: string) =>
    rotationIs(name, `to wait for ${reason}`, ({ clusters }) => clusters?.[0]?.reason === reason);
  await reasonIs("AwaitingIdentity");
  await capitan(["reconcile", "fleet", narrow, "--wait=false"]);
  await fleetHas(hub, narrow, "NoClusters");
  await allow(secretName, `${secretName}-age-2`, `${secretName}-age-3`);
  await reasonIs("AwaitingPublish");
  await release();
  const done = await rotationIs(name, "to complete", (now) => now.completedTime !== undefined);
  assert.equal(done.clusters?.[0]?.generation, 3);
  await fleetHas(hub, narrow, "NoClusters");
});
