import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fluxManifests, fluxVersion } from "../../hack/flux-manifests.ts";
import { serverDir } from "../../hack/lab/apiserver.ts";
import { startGitHttp, type GitServer } from "../../hack/lab/git-http.ts";
import { FluxSource, fluxResources, startKustomizeController } from "../../hack/lab/kustomize.ts";
import { stop } from "../../hack/lab/processes.ts";
import { silent } from "../../hack/lab/progress.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { ensureTool } from "../../hack/lab/tools.ts";
import type { KeyRotation } from "../../pkg/api/index.ts";
import type { GitRepository } from "../../pkg/git/index.ts";
import { asList, asMap, asString } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { generateIdentity, type NewIdentity } from "../../pkg/sops/index.ts";
import { randomBytes } from "node:crypto";
import { pushFiles } from "../harness/artifacts.ts";
import { GitLab, openGit } from "../harness/git.ts";
import {
  applyFleet,
  capitan,
  fleetReady,
  namespace,
  newCluster,
  resources,
  retireClusters,
  sharedHub,
  sharedLab,
  until,
} from "../harness/index.ts";
import { encrypted } from "../harness/secrets.ts";

const cluster = "rotate-1";
const repository = "fleet.git";
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
async function sopsStatuses(key: string): Promise<Readonly<Record<string, number>>> {
  const tip = await reader.tip("main", AbortSignal.timeout(30_000));
  const sops = await ensureTool("sops", silent);
  const statuses: Record<string, number> = {};
  for (const [path, bytes] of tip?.files ?? []) {
    if (!path.endsWith(".sops.yaml") || path === ".sops.yaml") continue;
    const file = join(dir, "tree", path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, bytes);
    const env = { PATH: process.env["PATH"], HOME: dir, SOPS_AGE_KEY: key };
    statuses[path] = await new Promise((resolve) => {
      execFile(sops, ["decrypt", file], { env }, (error) =>
        resolve(error === null ? 0 : Number(error.code)),
      );
    });
  }
  return statuses;
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

test("S7 a leaked key: a new one is made, planted, proven by the cluster's own Flux, and the old one opens nothing any more", async () => {
  await pushFiles(`oci://${lab.registry}/rotate/flux:${fluxVersion}`, {
    "gotk-components.yaml": (await fluxManifests()).text,
  });
  const layer = {
    name: "flux",
    wait: false,
    flux: {
      version: fluxVersion,
      artifact: { url: `oci://${lab.registry}/rotate/flux`, insecure: true },
      components: ["source-controller", "kustomize-controller"],
      sync: {
        git: { url: `${server.url}/${repository}`, ref: { branch: "main" } },
        path: "./clusters/{{cluster.name}}",
        decryption: { provider: "sops" },
      },
    },
  };
  await applyFleet(hub, "rotate", cluster, [layer], { interval: "2s" });
  await fleetReady(hub, "rotate");
  const old = await recipient(1);
  const managers = manager.recipient;
  const manifest = (name: string) =>
    `apiVersion: v1\nkind: Secret\nmetadata:\n    name: ${name}\n    namespace: default\nstringData:\n    word: open-${name}\n`;
  const path = `clusters/${cluster}/opened.sops.yaml`;
  const other = "shared/values.sops.yaml";
  const rules = `creation_rules:\n  - path_regex: ^clusters/${cluster}/\n    encrypted_regex: ^(data|stringData)$\n    age: ${managers},${old}\n  - age: ${managers}\n`;
  await git.commitFiles(
    repository,
    {
      ".sops.yaml": rules,
      [path]: await encrypted(manifest("opened"), path, [managers, old]),
      [other]: await encrypted(manifest("shared"), other, [managers]),
    },
    { parent: await git.git(repository, ["rev-parse", "main"]) },
  );
  flux = await FluxSource.start(workload, reader);
  const kubeconfig = join(serverDir(lab.dir, cluster), "kubeconfig");
  await startKustomizeController(lab.dir, kubeconfig, { progress: silent });
  const deadline = { deadlineMs: waitMs, what: "Flux to decrypt with the first key" };
  await until(async () => ((await word()) === "open-opened" ? true : undefined), deadline);

  const decryption = watchDecryption();
  const url = `${server.url}/${repository}`;
  const { code, stdout, stderr } = await capitan([
    ...["rotate", "keys", "--cluster", cluster, "--repo", url, "--manager", "rotate-manager"],
    ...["--reason", "compromise", "--wait=false"],
  ]);
  assert.equal(code, 0, stderr);
  const [, name = ""] = /KeyRotation fleet\/(\S+):/.exec(stdout) ?? [];
  const done = await until(
    async () => {
      const found = await hub.get(resources.keyRotation, { namespace, name });
      const { status } = found as unknown as KeyRotation;
      if (status?.completedTime === undefined)
        throw new Error(JSON.stringify([status?.clusters, status?.conditions]));
      return status;
    },
    { deadlineMs: waitMs, what: "the rotation to complete", everyMs: 200 },
  );
  assert.equal(done.summary, "1/1 proven, 1 done");
  assert.deepEqual(done.exposed, [{ file: path, values: ["stringData:word"] }]);
  const [standing] = done.clusters ?? [];
  assert.equal(standing?.generation, 2);
  assert.equal(standing?.proof?.generation, 2);
  assert.deepEqual(await decryption(), []);

  assert.deepEqual(await sopsStatuses(await identity(1)), {
    [path]: 128,
    [other]: 128,
    [`clusters/${cluster}/capitan-canary.sops.yaml`]: 128,
  });
  assert.deepEqual(await sopsStatuses(await identity(2)), {
    [path]: 0,
    [other]: 128,
    [`clusters/${cluster}/capitan-canary.sops.yaml`]: 0,
  });
  const tip = await reader.tip("main", AbortSignal.timeout(30_000));
  const config = tip?.files.get(".sops.yaml")?.toString() ?? "";
  assert.equal(config, rules.replace(old, await recipient(2)));
  const copy = await workload.get(resources.secret, { namespace: "flux-system", name: "sops-age" });
  assert.deepEqual(Object.keys(asMap(copy?.["data"])), ["2.agekey"]);
  const shown = await capitan(["rotate", "status", name]);
  assert.match(shown.stdout, /1\/1 proven, 1 done/);
  assert.match(shown.stdout, /stringData:word/);
});
