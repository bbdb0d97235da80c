// `capitan delete cluster --withdraw` when the hub, the remote or the person stops it half-way. No Fleet delivers
// these repositories, so the Cluster stays, and one is enough.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, test, type TestContext } from "node:test";
import { startGitHttp, type GitServer } from "../../hack/lab/git-http.ts";
import { root } from "../../hack/lab/paths.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { annotations } from "../../pkg/object/index.ts";
import { ApiProxy } from "../faults/harness/index.ts";
import { fleetRepository } from "../harness/fleet-repository.ts";
import { GitLab, temporary } from "../harness/git.ts";
import {
  applyFleet,
  configMap,
  deleteNow,
  fleetReady,
  inline,
  namespace,
  newCluster,
  resources,
  retireClusters,
  sharedHub,
  sharedLab,
  until,
  type Ran,
} from "../harness/index.ts";
import { portOf, proxy, type Meddle } from "../harness/servers.ts";

const name = "wdr-1";
const cluster = { namespace, name };
const finalizer = "test.capitan.dev/held";
let hub: KubeClient;
let workload: KubeClient;
let git: GitLab;
let http: GitServer;
/** How the remote is reached, and what happens to the n-th push and to what comes after it. */
let url: string;
let meddle: Meddle;
const closing: (() => Promise<unknown>)[] = [];

before(async () => {
  hub = await sharedHub();
  git = await GitLab.make();
  http = await startGitHttp({ root: git.root });
  const between = await proxy(http.url.replace("http://", ""), (seen, pass) => meddle(seen, pass));
  closing.push(async () => {
    between.closeAllConnections();
    await new Promise((resolve) => between.close(resolve));
  });
  url = `http://127.0.0.1:${portOf(between)}`;
  workload = (await newCluster(hub, name)).client;
  await applyFleet(hub, "wdr", name, [inline("l", [configMap("wdr")])]);
});
beforeEach(async () => {
  meddle = (_seen, pass) => pass();
  await calledBack();
  await fleetReady(hub, "wdr");
});
after(async () => {
  for (const close of closing) await close();
  await http.close();
  await git.remove();
  await deleteNow(hub, resources.fleet, { namespace, name: "wdr" });
  await workload.close();
  await retireClusters(hub, "wdr-");
  await hub.close();
});

const isPush = (seen: Parameters<Meddle>[0]) =>
  seen.method === "POST" && seen.path.endsWith("/git-receive-pack");
const broken = () => Promise.reject(new Error("the connection broke"));
const offUntil = async () =>
  (await hub.get(resources.cluster, cluster))?.metadata.annotations?.[annotations.withdraw];
const calledBack = () =>
  hub.mergePatch(resources.cluster, cluster, {
    metadata: { annotations: { [annotations.withdraw]: null } },
  });

/** A repository that has the cluster. */
async function repository(t: TestContext, repositoryName: string) {
  const { hubKubeconfig: kubeconfig } = await sharedLab();
  const r = await fleetRepository(t, { lab: git, url, name: repositoryName, kubeconfig });
  const made = await r.create(name, "--offline");
  assert.equal(made.code, 0, made.stderr);
  return { ...r, made: await r.head(), kubeconfig };
}
type Repository = Awaited<ReturnType<typeof repository>>;

/** Deletes the cluster; `running` gets what sends it signals. */
function deletes(
  r: Repository,
  timeout: string,
  running: (signal: (name: NodeJS.Signals) => void) => Promise<void> = () => Promise.resolve(),
): Promise<Ran> {
  const words = `delete cluster ${name} --withdraw --timeout ${timeout} --yes --repo ${r.url}`;
  const main = join(root, "cmd", "capitan", "main.ts");
  const env = { ...process.env, ...r.env, KUBECONFIG: r.kubeconfig };
  const child = spawn(process.execPath, [main, ...words.split(" ")], { env, timeout: 120_000 });
  const out = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const)
    child[stream].setEncoding("utf8").on("data", (text: string) => (out[stream] += text));
  const ended = new Promise<Ran>((resolve) => {
    child.once("close", (code, signal) => {
      resolve({ code: code ?? -1, ...out, stderr: `${out.stderr}${signal ?? ""}` });
    });
  });
  return Promise.all([ended, running((signal) => child.kill(signal))]).then(([ran]) => ran);
}

test("a hub that does not let the Fleets come back hides nothing: why they were to come back is said first", async (t) => {
  const r = await repository(t, "hides.git");
  const held = { namespace: "default", name: "wdr" };
  const hold = (finalizers: readonly string[] | null) =>
    workload.mergePatch(resources.configMap, held, { metadata: { finalizers } });
  await hold([finalizer]);
  t.after(() => hold(null).catch(() => undefined));
  const between = await ApiProxy.start({ kubeconfig: await readFile(r.kubeconfig, "utf8") });
  t.after(() => between.close());
  const kubeconfig = join(await temporary(t), "kubeconfig");
  await writeFile(kubeconfig, between.kubeconfig());
  between
    .on({ method: "PATCH", path: /\/clusters\/wdr-1$/, n: 2 })
    .status(403, { message: "not you", reason: "Forbidden" });
  const ran = await deletes({ ...r, kubeconfig }, "2s");
  assert.equal(ran.code, 1);
  assert.match(ran.stderr, /✗ LayersLeft: waited 2s for the layers to go: Fleet wdr: 1 objects/);
  assert.match(
    ran.stderr,
    /could not be called back to cluster wdr-1 \(.*HTTP 403 Forbidden: not you\); do it by: kubectl annotate clusters\.cluster\.x-k8s\.io -n fleet wdr-1 capitan\.dev\/withdraw-\n/,
  );
  assert.equal(await r.head(), r.made);
  assert.notEqual(await offUntil(), undefined);
  await hold(null);
});

test("a push whose reply is lost: when the commit is there, the Fleets stay off", async (t) => {
  const r = await repository(t, "lost.git");
  let pushes = 0;
  let refused = 0;
  meddle = async (seen, pass) => {
    if (isPush(seen)) {
      pushes += 1;
      await pass();
      return broken();
    }
    // Whoever pushed looks once, and gets no answer.
    if (pushes > 0 && refused++ === 0) return broken();
    return pass();
  };
  const ran = await deletes(r, "30s");
  assert.equal(pushes, 1);
  assert.equal(ran.code, 1, ran.stderr);
  assert.match(
    ran.stderr,
    /✗ GitUnreachable: .*; the commit is there all the same: cluster wdr-1 goes, and its Fleets stay off it\n/,
  );
  assert.notEqual(await r.head(), r.made);
  assert.notEqual(await offUntil(), undefined);
});

test("a push of which nobody knows leaves the Fleets off, and says how they come back", async (t) => {
  const r = await repository(t, "unknown.git");
  let pushed = false;
  meddle = async (seen, pass) => {
    if (pushed) return broken();
    if (!isPush(seen)) return pass();
    await pass();
    pushed = true;
    return broken();
  };
  const ran = await deletes(r, "30s");
  assert.equal(ran.code, 1, ran.stderr);
  assert.match(
    ran.stderr,
    /; whether the commit is there is not known \(.*\), so the Fleets stay off cluster wdr-1 for up to an hour; .* call them back: kubectl annotate clusters\S+ -n fleet wdr-1 capitan\.dev\/withdraw-\n/,
  );
  assert.notEqual(await offUntil(), undefined);
});

test("a push that is refused: the Fleets come back", async (t) => {
  const r = await repository(t, "refused.git");
  await git.git(r.name, ["config", "http.receivepack", "false"]);
  const ran = await deletes(r, "30s");
  assert.equal(ran.code, 1, ran.stderr);
  assert.match(
    ran.stderr,
    /✗ GitDenied: .*; the remote does not have the commit, and the Fleets come back to cluster wdr-1\n/,
  );
  assert.equal(await offUntil(), undefined);
});

test("SIGINT during the push: the push ends, and the exit code and one line say what became of it", async (t) => {
  const ends = [
    [
      "arrives",
      (pass) => pass(),
      /interrupted when the commit was pushed already: cluster wdr-1 goes\n/,
    ],
    [
      "breaks",
      broken,
      /✗ LayersLeft: interrupted: the remote does not have the commit, and the Fleets come back to cluster wdr-1\n/,
    ],
  ] as const satisfies readonly (readonly [
    string,
    (pass: Parameters<Meddle>[1]) => unknown,
    RegExp,
  ])[];
  for (const [what, end, said] of ends)
    await t.test(`the push ${what}`, async (t) => {
      await calledBack();
      await fleetReady(hub, "wdr");
      const r = await repository(t, `${what}.git`);
      const sent = Promise.withResolvers<void>();
      const interrupted = Promise.withResolvers<void>();
      meddle = async (seen, pass) => {
        if (!isPush(seen)) return pass();
        sent.resolve();
        await interrupted.promise;
        return end(pass);
      };
      const ran = await deletes(r, "30s", async (signal) => {
        await sent.promise;
        signal("SIGINT");
        interrupted.resolve();
      });
      meddle = (_seen, pass) => pass();
      assert.equal(ran.code, 130, ran.stderr);
      assert.match(ran.stderr, said);
      assert.equal((await r.head()) === r.made, what === "breaks");
      assert.equal((await offUntil()) === undefined, what === "breaks");
    });
});

test("SIGINT while the layers go: nothing is committed, and the Fleets come back", async (t) => {
  const r = await repository(t, "early.git");
  const held = { namespace: "default", name: "wdr" };
  const hold = (finalizers: readonly string[] | null) =>
    workload.mergePatch(resources.configMap, held, { metadata: { finalizers } });
  await hold([finalizer]);
  const ran = await deletes(r, "60s", async (signal) => {
    await until(async () => (await offUntil()) !== undefined, {
      deadlineMs: 20_000,
      what: "the Fleets to be sent off",
    });
    signal("SIGINT");
  });
  await hold(null);
  assert.equal(ran.code, 130, ran.stderr);
  assert.match(
    ran.stderr,
    /✗ LayersLeft: interrupted: nothing was committed, and the Fleets come back/,
  );
  assert.equal(await r.head(), r.made);
  assert.equal(await offUntil(), undefined);
});
