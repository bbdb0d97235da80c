import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { clientOf } from "../../hack/lab/apiserver.ts";
import { assembled, fluxManifests } from "../../hack/flux-manifests.ts";
import { root } from "../../hack/lab/paths.ts";
import { isAlive } from "../../hack/lab/processes.ts";
import { parseManifests, idOf, keyOf } from "../../pkg/object/index.ts";
import { canonicalJson } from "../../pkg/json/index.ts";
import { resources, sharedLab, until } from "../harness/index.ts";

let dir: string;
before(async () => {
  await sharedLab(); // this file starts laboratories of its own, but only where there may be some
  dir = await mkdtemp(join(tmpdir(), "capitan-own-lab-"));
});
after(() => rm(dir, { recursive: true, force: true }));

type Ended = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/** Runs a script of hack as `npm run` does, with a laboratory directory of this test; ends when its stdio is closed. */
function script(
  name: string,
  args: readonly string[],
  labDir: string,
): Promise<Ended> & { kill: () => void } {
  const child = spawn(process.execPath, [join(root, "hack", name), ...args], {
    env: { ...process.env, CAPITAN_LAB_DIR: labDir },
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
  child.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
  const ended = new Promise<Ended>((resolve) =>
    child.once("close", (code) => resolve({ code, stdout, stderr })),
  );
  return Object.assign(ended, { kill: () => void child.kill("SIGKILL") });
}

const lastLine = (text: string) => text.trimEnd().split("\n").at(-1) ?? "";
const pids = async (labDir: string) => {
  const names = await readdir(join(labDir, "pid")).catch(() => []);
  return Promise.all(
    names.map(async (name) =>
      Number((await readFile(join(labDir, "pid", name), "utf8")).split(" ")[0]),
    ),
  );
};
/** Zombies, which only wait for their parent to look, do not count. */
const runs = isAlive;

test("lab up starts what it says, keeps no stdio of its caller, and down ends all of it", async () => {
  const labDir = join(dir, "a");
  const up = await script("lab/main.ts", ["up", "--clusters", "1", "--json"], labDir);
  assert.equal(up.code, 0, up.stderr);
  const facts = JSON.parse(lastLine(up.stdout)) as {
    hub: { kubeconfig: string };
    registry: string;
    clusters: { name: string; namespace: string; kubeconfig: string }[];
    controller: { pid: number; metrics: string };
  };
  const hub = await clientOf(facts.hub.kubeconfig);
  assert.equal((await hub.list(resources.cluster)).items.length, 1);
  await hub.close();
  const [cluster] = facts.clusters;
  assert.deepEqual([cluster?.name, cluster?.namespace], ["lab-1", "fleet"]);
  const workload = await clientOf(cluster?.kubeconfig ?? "");
  assert.ok((await workload.get(resources.namespace, { name: "kube-system" })) !== undefined);
  await workload.close();
  assert.equal((await fetch(`http://${facts.registry}/v2/`)).status, 200);
  assert.match(await (await fetch(facts.controller.metrics)).text(), /capitan_connected_clusters/);
  assert.ok(runs(facts.controller.pid));
  const started = await pids(labDir);
  assert.ok(started.length >= 8);
  const down = await script("lab/main.ts", ["down"], labDir);
  assert.equal(down.code, 0, down.stderr);
  assert.deepEqual(started.filter(runs), []);
});

test("down ends what an up that was killed left behind", async () => {
  const labDir = join(dir, "b");
  const up = script("lab/main.ts", ["up", "--no-controller"], labDir);
  await until(async () => (await pids(labDir)).length >= 3, {
    deadlineMs: 30_000,
    what: "some processes",
  });
  up.kill();
  await up;
  const started = await pids(labDir);
  assert.equal((await script("lab/main.ts", ["down"], labDir)).code, 0);
  assert.deepEqual(started.filter(runs), []);
});

test("the demo ends with both clusters Ready and whole", async () => {
  const acts = ["--act", "birth", "--act", "fleet"];
  const { code, stdout, stderr } = await script("demo.ts", [...acts, "--json"], join(dir, "c"));
  assert.equal(code, 0, stderr);
  const { clusters } = JSON.parse(lastLine(stdout)) as {
    clusters: {
      name: string;
      ready: boolean;
      fluxVersion: string;
      objects: number;
      installMs: number;
    }[];
  };
  assert.deepEqual(
    clusters.map(({ name, ready, fluxVersion }) => [name, ready, fluxVersion]),
    [
      ["demo-1", true, "v2.9.4"],
      ["demo-2", true, "v2.9.4"],
    ],
  );
  for (const { objects, installMs } of clusters) assert.ok(objects >= 33 && installMs > 0);
});

/** Runs a line that the demo says to try. */
const tried = (line: string) =>
  new Promise<number>((resolve) => {
    spawn("sh", ["-c", line], { stdio: "ignore" }).once("close", (code) => resolve(code ?? -1));
  });

test(
  "the demo's rotation ends with every file opening with the new key, and none with an old one",
  // About a minute and a half on two idle cores.
  { timeout: 480_000 },
  async (t) => {
    const labDir = join(dir, "d");
    t.after(() => script("lab/main.ts", ["down"], labDir));
    const args = ["--act", "rotation", "--keep", "--json"];
    const { code, stdout, stderr } = await script("demo.ts", args, labDir);
    assert.equal(code, 0, stderr);
    const { rotation } = JSON.parse(lastLine(stdout)) as { rotation: Record<string, number> };
    const { files = 0, ms = 0, ...rest } = rotation;
    const wanted = { clusters: 3, clustersProven: 3, filesOldKeyOpens: 0, filesNewKeyOpens: files };
    assert.deepEqual(rest, wanted);
    // Four of each cluster in the clone and in three artifacts, and those of the manager.
    assert.ok(files > 48 && ms > 0, `${files} files after ${ms} ms`);
    for (const said of ["AwaitingPublish: move oci://", "ClusterAway: dev-us-1", "presses retry"])
      assert.ok(stderr.includes(said), said);
    const lines = stderr.split("\n").filter((line) => line.includes("SOPS_AGE_KEY_FILE="));
    assert.deepEqual(await Promise.all(lines.map(tried)), [128, 0]);
    const { stdout: modes } = await promisify(execFile)("find", [
      join(labDir, "rotation", "keys"),
      "-type",
      "f",
      "-not",
      "-perm",
      "600",
    ]);
    assert.equal(modes, "");
  },
);

test("Flux's manifests assembled from its modules are what flux install writes", async () => {
  const built = new Map(
    parseManifests((await assembled()).text, "assembled").map((o) => [
      keyOf(idOf(o)),
      canonicalJson(o),
    ]),
  );
  const given = parseManifests((await fluxManifests()).text, "given");
  assert.equal(built.size, 43);
  assert.deepEqual(
    given.filter((o) => built.get(keyOf(idOf(o))) !== canonicalJson(o)).map((o) => keyOf(idOf(o))),
    [],
  );
});
