import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
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
  const { code, stdout, stderr } = await script("demo.ts", ["--json"], join(dir, "c"));
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
