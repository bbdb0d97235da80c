import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { fluxManifests, fluxVersion } from "../../hack/flux-manifests.ts";
import { serverDir } from "../../hack/lab/apiserver.ts";
import { startGitHttp, type GitServer } from "../../hack/lab/git-http.ts";
import { FluxSource, fluxResources, startKustomizeController } from "../../hack/lab/kustomize.ts";
import { stop } from "../../hack/lab/processes.ts";
import { silent } from "../../hack/lab/progress.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { ensureTool } from "../../hack/lab/tools.ts";
import { conditionOf, type KeyRotation } from "../../pkg/api/index.ts";
import type { GitRepository } from "../../pkg/git/index.ts";
import { asList, asMap, asString } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { generateIdentity, type NewIdentity } from "../../pkg/sops/index.ts";
import { describes } from "../harness/codes.ts";
import { pushFiles } from "../harness/artifacts.ts";
import { GitLab, openGit } from "../harness/git.ts";
import {
  applyFleet,
  capitan,
  fleetReady,
  memberHas,
  namespace,
  newCluster,
  resources,
  retireClusters,
  sharedHub,
  sharedLab,
  until,
} from "../harness/index.ts";
import { encrypted, sopsStatuses } from "../harness/secrets.ts";

const cluster = "rotate-1";
const repository = "fleet.git";
const shared = "shared/values.sops.yaml";
const waitMs = 150_000;
const source = { namespace: "flux-system", name: "flux-system" };
const opened = { namespace: "default", name: "opened" };

let lab: LabFile;
let hub: KubeClient;
let workload: KubeClient;
let dir: string;
let git: GitLab;
let server: GitServer;
let reader: GitRepository;
let flux: FluxSource;
let manager: NewIdentity;

before(async () => {
  lab = await sharedLab();
  hub = await sharedHub();
  manager = generateIdentity(randomBytes);
  dir = await mkdtemp(join(tmpdir(), "capitan-rotation-"));
  git = await GitLab.make();
  await git.init(repository);
  await git.git(repository, ["config", "http.receivepack", "true"]);
  await git.commitFiles(repository, { "README.md": "the fleet\n" });
  server = await startGitHttp({ root: git.root });
  reader = openGit(`${server.url}/${repository}`, dir, { insecure: true });
  await secret("rotate-manager", { "manager.agekey": manager.identity });
  await secret("git-write", { username: "robot", password: "pass-word" });
  workload = (await newCluster(hub, cluster)).client;
});
after(async () => {
  await flux?.close();
  await stop(lab.dir, "kustomize-controller");
  await server.close();
  await git.remove();
  await rm(dir, { recursive: true, force: true });
  await workload.close();
  await retireClusters(hub, "rotate-");
  await hub.close();
});

function secret(name: string, stringData: Readonly<Record<string, string>>): Promise<unknown> {
  const metadata = { name, namespace };
  const object = { apiVersion: "v1", kind: "Secret", metadata, stringData };
  return hub.apply(resources.secret, object, { manager: "test" });
}

function fluxLayer(sync: object): object {
  return {
    name: "flux",
    wait: false,
    flux: {
      version: fluxVersion,
      artifact: { url: `oci://${lab.registry}/rotate/flux`, insecure: true },
      components: ["source-controller", "kustomize-controller"],
      sync,
    },
  };
}

/** The identity of one generation, as the hub holds it. */
async function identity(generation: number): Promise<string> {
  const name = { namespace, name: `${cluster}-age-${generation}` };
  const found = await hub.get(resources.secret, name);
  const text = asString(asMap(found?.["data"])["identity"]) ?? "";
  return Buffer.from(text, "base64").toString("utf8").trim();
}

async function recipient(generation: number): Promise<string> {
  const name = { namespace, name: `${cluster}-age-${generation}` };
  const found = await hub.get(resources.secret, name);
  return found?.metadata.annotations?.["capitan.dev/recipient"] ?? "";
}

/** What the real sops says to each encrypted file at the tip with one identity: its exit status. */
async function sopsAtTip(key: string): Promise<Readonly<Record<string, number>>> {
  const files = Object.entries(await tipFiles()).filter(
    ([path]) => path.endsWith(".sops.yaml") && path !== ".sops.yaml",
  );
  return sopsStatuses(key, Object.fromEntries(files), dir);
}

const word = async () => {
  const found = await workload.get(resources.secret, opened);
  return Buffer.from(asString(asMap(found?.["data"])["word"]) ?? "", "base64").toString("utf8");
};

/** Sees every failure to decrypt that the cluster's Flux reports, for as long as it is not told to end. */
function watchDecryption(): () => Promise<readonly string[]> {
  const seen = new Set<string>();
  const ending = new AbortController();
  const work = (async () => {
    while (!ending.signal.aborted) {
      const found = await workload.get(fluxResources.kustomization, source);
      for (const condition of asList(asMap(found?.["status"])["conditions"])) {
        const message = asString(asMap(condition)["message"]) ?? "";
        if (/decrypt|data key/i.test(message)) seen.add(message);
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

const urlOf = () => `${server.url}/${repository}`;
const encryptedPath = `clusters/${cluster}/opened.sops.yaml`;
const canary = `clusters/${cluster}/capitan-canary.sops.yaml`;

const manifest = (name: string) =>
  `apiVersion: v1\nkind: Secret\nmetadata:\n    name: ${name}\n    namespace: default\nstringData:\n    word: open-${name}\n`;

/** The tip of the branch that is released from, as text. */
async function tipFiles(): Promise<Readonly<Record<string, string>>> {
  const tip = await reader.tip("main", AbortSignal.timeout(30_000));
  return Object.fromEntries(
    [...(tip?.files ?? [])].map(([path, bytes]) => [path, bytes.toString()]),
  );
}

async function commitOnMain(files: Readonly<Record<string, string>>): Promise<string> {
  const parent = await git.git(repository, ["rev-parse", "main"]);
  return git.commitFiles(repository, { ...(await tipFiles()), ...files }, { parent });
}

/** Asks for a rotation and does not wait; gives its name. */
async function rotate(name: string, ...more: readonly string[]): Promise<string> {
  const where = ["--repo", urlOf(), "--manager-secret", "rotate-manager", "--wait=false"];
  const args = ["rotate", "keys", "--cluster", name, ...where, ...more];
  const { code, stdout, stderr } = await capitan(args);
  assert.equal(code, 0, stderr);
  return /KeyRotation fleet\/(\S+):/.exec(stdout)?.[1] ?? "";
}

type Status = NonNullable<KeyRotation["status"]>;

/** Waits for a status; says where the rotation stands when it does not come. */
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

const complete = (name: string) =>
  rotationIs(name, "to complete", ({ completedTime }) => completedTime !== undefined);

const waitsFor = (name: string, reason: string) =>
  rotationIs(name, `to wait for ${reason}`, ({ clusters }) => clusters?.[0]?.reason === reason);

test("a plan shows files, recipients and generations, and changes nothing", async () => {
  await pushFiles(`oci://${lab.registry}/rotate/flux:${fluxVersion}`, {
    "gotk-components.yaml": (await fluxManifests()).text,
  });
  const sync = {
    git: { url: urlOf(), ref: { branch: "main" } },
    path: "./clusters/{{cluster.name}}",
    decryption: { provider: "sops" },
  };
  await applyFleet(hub, "rotate", cluster, [fluxLayer(sync)], { interval: "2s" });
  await fleetReady(hub, "rotate");
  const old = await recipient(1);
  const managers = manager.recipient;
  await commitOnMain({
    ".sops.yaml": `creation_rules:\n  - path_regex: ^clusters/${cluster}/\n    encrypted_regex: ^(data|stringData)$\n    age: ${managers},${old}\n  - age: ${managers}\n`,
    [encryptedPath]: await encrypted(manifest("opened"), encryptedPath, [managers, old]),
    [shared]: await encrypted(manifest("shared"), shared, [managers]),
  });
  const before = await git.git(repository, ["rev-parse", "main"]);
  const where = ["--repo", urlOf(), "--manager-secret", "rotate-manager"];
  const { stdout, stderr } = await capitan([
    "rotate",
    "keys",
    "--cluster",
    cluster,
    ...where,
    "--plan",
  ]);
  assert.match(stdout, /rotate-1 +1 → 2 +1 /, stderr);
  assert.match(stdout, /opened\.sops\.yaml/);
  assert.match(stdout, /Nothing was changed/);
  assert.equal(await git.git(repository, ["rev-parse", "main"]), before);
  assert.equal(await recipient(2), "");
});

test("S7 a leaked key: a new one is made, planted, proven by the cluster's own Flux, and the old one opens nothing any more", async () => {
  flux = await FluxSource.start(workload, reader);
  const kubeconfig = join(serverDir(lab.dir, cluster), "kubeconfig");
  await startKustomizeController(lab.dir, kubeconfig, { progress: silent });
  const deadline = { deadlineMs: waitMs, what: "Flux to decrypt with the first key" };
  await until(async () => ((await word()) === "open-opened" ? true : undefined), deadline);
  const rules = (await tipFiles())[".sops.yaml"] ?? "";

  const decryption = watchDecryption();
  const name = await rotate(cluster, "--reason", "compromise");
  const done = await complete(name);
  assert.equal(done.summary, "1/1 proven, 1 done");
  assert.deepEqual(done.exposed, [{ file: encryptedPath, values: ["stringData:word"] }]);
  const [standing] = done.clusters ?? [];
  assert.equal(standing?.generation, 2);
  assert.equal(standing?.proof?.generation, 2);
  assert.deepEqual(await decryption(), []);

  const all = { [encryptedPath]: 128, [shared]: 128, [canary]: 128 };
  assert.deepEqual(await sopsAtTip(await identity(1)), all);
  const open = { ...all, [encryptedPath]: 0, [canary]: 0 };
  assert.deepEqual(await sopsAtTip(await identity(2)), open);
  const config = (await tipFiles())[".sops.yaml"];
  assert.equal(config, rules.replace(await recipient(1), await recipient(2)));
  const copy = await workload.get(resources.secret, { namespace: "flux-system", name: "sops-age" });
  assert.deepEqual(Object.keys(asMap(copy?.["data"])), ["2.agekey"]);
  const status = await capitan(["rotate", "status", name]);
  assert.match(status.stdout, /1\/1 proven, 1 done/);
  assert.match(status.stdout, /stringData:word/);
});

test("KeyRetired: what was published before a rotation cannot be gone back to, and the cluster keeps what it has", async () => {
  const now = await tipFiles();
  const stale = await encrypted(manifest("opened"), encryptedPath, [
    manager.recipient,
    await recipient(1),
  ]);
  await commitOnMain({ [encryptedPath]: stale });
  const member = await memberHas(hub, "rotate", cluster, "KeyRetired", waitMs);
  const message = conditionOf(member.status?.conditions, "Ready")?.message ?? "";
  assert.match(message, /opened\.sops\.yaml opens with retired keys of Cluster rotate-1 only/);
  await describes(["member", member.metadata.name], "KeyRetired");
  assert.equal(await word(), "open-opened");
  await commitOnMain(now);
  await fleetReady(hub, "rotate");
});

test("S9 behind a protected branch: each commit is proposed, and merges with what real sops changed in the same file meanwhile", async () => {
  const name = await rotate(cluster, "--delivery", "Branch");
  const proposed = await waitsFor(name, "AwaitingMerge");
  const branch = /merge branch (\S+)/.exec(proposed.clusters?.[0]?.message ?? "")?.[1] ?? "";
  await git.git(".", ["clone", "-q", repository, "work"]);
  const file = join(git.root, "work", encryptedPath);
  const sops = await ensureTool("sops", silent);
  const env = { PATH: process.env["PATH"], HOME: dir, SOPS_AGE_KEY: manager.identity };
  await promisify(execFile)(sops, ["set", file, '["stringData"]["word"]', '"changed"'], { env });
  await git.git("work", ["commit", "-qam", "another word"]);
  await git.git("work", ["merge", "-q", "--no-edit", `origin/${branch}`]);
  await git.git("work", ["push", "-q", "origin", "main"]);
  const removal = await rotationIs(
    name,
    "to propose the removal",
    ({ clusters }) =>
      clusters?.[0]?.reason === "AwaitingMerge" && clusters[0].message?.includes(branch) === false,
  );
  const second = /merge branch (\S+)/.exec(removal.clusters?.[0]?.message ?? "")?.[1] ?? "";
  await git.git("work", ["fetch", "-q"]);
  await git.git("work", ["merge", "-q", "--ff-only", `origin/${second}`]);
  await git.git("work", ["push", "-q", "origin", "main"]);
  await complete(name);
  assert.equal((await sopsAtTip(await identity(2)))[encryptedPath], 128);
  assert.equal((await sopsAtTip(await identity(3)))[encryptedPath], 0);
  const deadline = { deadlineMs: waitMs, what: "the changed word to arrive" };
  await until(async () => ((await word()) === "changed" ? true : undefined), deadline);
});

test("AwaitingPublish: files in an artifact are judged by what the cluster is pinned to, however late CI is", async () => {
  const name = "rotate-2";
  const { client } = await newCluster(hub, name);
  await client.close();
  const url = `oci://${lab.registry}/rotate/config`;
  const path = `clusters/${name}/s.sops.yaml`;
  const sync = {
    oci: { url, ref: { tag: "stable" }, insecure: true },
    path: "./clusters/{{cluster.name}}",
    decryption: { provider: "sops" },
  };
  await pushFiles(`${url}:stable`, { "README.md": "nothing yet" });
  await applyFleet(hub, "rotate-oci", name, [fluxLayer(sync)], { interval: "2s" });
  await fleetReady(hub, "rotate-oci");
  const first = await hub.get(resources.secret, { namespace, name: `${name}-age-1` });
  const old = first?.metadata.annotations?.["capitan.dev/recipient"] ?? "";
  const { ".sops.yaml": rules = "" } = await tipFiles();
  const rule = `creation_rules:\n  - path_regex: clusters/${name}/\n    age: ${manager.recipient},${old}\n`;
  const text = await encrypted(manifest("other"), path, [manager.recipient, old]);
  await commitOnMain({
    ".sops.yaml": rules.replace("creation_rules:\n", rule),
    [`config/${path}`]: text,
  });
  await pushFiles(`${url}:stable`, { [path]: text });
  await until(
    async () => {
      const { items } = await hub.list(resources.fleetRevision, { namespace });
      const mine = items.filter(({ metadata }) => metadata.name.startsWith("rotate-oci"));
      return mine.length > 1 ? true : undefined;
    },
    { deadlineMs: waitMs, what: "the second revision" },
  );
  await fleetReady(hub, "rotate-oci");
  const rotation = await rotate(name, "--immediate", "--path", "./config");
  const waiting = await waitsFor(rotation, "AwaitingPublish");
  assert.match(
    waiting.clusters?.[0]?.message ?? "",
    new RegExp(`^move ${url}:stable: ${name} is at`),
  );
  const files = await tipFiles();
  await pushFiles(`${url}:stable`, { [path]: files[`config/${path}`] ?? "" });
  const done = await complete(rotation);
  assert.equal(done.clusters?.[0]?.generation, 2);
});
