import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { clientOf } from "../../hack/lab/apiserver.ts";
import { auditOf, type AuditEntry, type Mark } from "../../hack/lab/audit.ts";
import { startReceiver, type ReceiverProcess } from "../../hack/lab/controller.ts";
import { startGitHttp, type GitServer } from "../../hack/lab/git-http.ts";
import { stop } from "../../hack/lab/processes.ts";
import { silent } from "../../hack/lab/progress.ts";
import { startRegistry } from "../../hack/lab/registry.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { ensureTools } from "../../hack/lab/tools.ts";
import { conditionOf, type Receiver } from "../../pkg/api/index.ts";
import { codes, type Code } from "../../pkg/errors/index.ts";
import { receiverAccount, systemNamespace } from "../../pkg/install/index.ts";
import { asMap } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { webhookPath } from "../../pkg/receiver/index.ts";
import { metricSpecs } from "../../pkg/server/index.ts";
import { pushFiles } from "../harness/artifacts.ts";
import { GitLab } from "../harness/git.ts";
import {
  applyFleet,
  capitan,
  configMap,
  deleteNow,
  fleetOf,
  fleetReady,
  namespace,
  newCluster,
  resources,
  retireClusters,
  sharedHub,
  sharedLab,
  until,
} from "../harness/index.ts";

const cluster = "recv-1";
const user = `system:serviceaccount:${systemNamespace}:${receiverAccount}`;
const tokenSecret = "receiver-token";
const repository = "config.git";
let token = "first-token-of-32-bytes-or-so-long";

let lab: LabFile;
let hub: KubeClient;
let workload: KubeClient;
let receiver: ReceiverProcess;
let git: GitLab;
let http: GitServer;
let registry: string;

const manager = { manager: "test" };

before(async () => {
  lab = await sharedLab();
  hub = await sharedHub();
  workload = (await newCluster(hub, cluster)).client;
  await writeToken(token);
  await Promise.all([
    receives("git", "gitea", { matchLabels: { from: "git" } }),
    receives("registry", "distribution", { name: "recv-oci" }),
    receives("flood", "generic-hmac", { name: "recv-flood" }),
  ]);
  receiver = await startReceiver(lab);
  const tools = await ensureTools(silent);
  const notify = { url: hookOf("registry"), authorization: `Bearer ${token}` };
  const port = lab.ports.lastWorkload - 50;
  registry = await startRegistry(lab.dir, tools.registry, {
    name: "registry-notify",
    port,
    notify,
  });
  git = await GitLab.make();
  await git.init(repository);
  await git.git(repository, ["config", "http.receivepack", "true"]);
  http = await startGitHttp({ root: git.root });
  await git.git(".", ["clone", "-q", repositoryUrl(), "clone"]);
  await pushCommit("main", "one");
  await writeHook();
});
after(async () => {
  await stop(lab.dir, "receiver");
  await stop(lab.dir, "registry-notify");
  await http.close();
  await git.remove();
  for (const name of ["recv-git", "recv-oci", "recv-flood"])
    await deleteNow(hub, resources.fleet, { namespace, name });
  for (const name of ["git", "registry", "flood"])
    await deleteNow(hub, resources.receiver, { namespace, name });
  await workload.close();
  await retireClusters(hub, "recv-");
  await hub.close();
});

const repositoryUrl = () => `${http.url}/${repository}`;
const hookOf = (name: string) => `${receiver.url}${webhookPath(token, { name, namespace })}`;

async function writeToken(value: string): Promise<void> {
  const metadata = { namespace, name: tokenSecret };
  const secret = { apiVersion: "v1", kind: "Secret", metadata, stringData: { token: value } };
  await hub.apply(resources.secret, secret, manager);
}

async function receives(
  name: string,
  type: string,
  resource: object,
  more: object = {},
): Promise<void> {
  const spec = {
    type,
    secretRef: { name: tokenSecret },
    resources: [{ kind: "Fleet", ...resource }],
    ...more,
  };
  const metadata = { namespace, name };
  const object = { apiVersion: "capitan.dev/v1alpha1", kind: "Receiver", metadata, spec };
  await hub.apply(resources.receiver, object, manager);
}

const receiverOf = async (name: string) =>
  (await hub.get(resources.receiver, { namespace, name })) as Receiver | undefined;

/** Waits until the Receiver's newest spec is Ready, or not, for this reason. */
function receiverHas(name: string, reason: string): Promise<Receiver> {
  return until(
    async () => {
      const found = await receiverOf(name);
      const ready = conditionOf(found?.status?.conditions, "Ready");
      if (ready?.reason !== reason)
        throw new Error(`it is ${ready?.reason ?? "without condition"}`);
      return found?.status?.observedGeneration === found?.metadata.generation ? found : undefined;
    },
    { deadlineMs: 10_000, what: `Receiver ${name} to be ${reason}` },
  );
}

/** What Gitea would post after a push, posted by the real server's hook. */
async function writeHook(): Promise<void> {
  const script = `#!${process.execPath}
const { createHmac } = require("node:crypto");
const lines = require("node:fs").readFileSync(0, "utf8").trim().split("\\n");
const post = (line) => {
  const [before, after, ref] = line.split(" ");
  const repository = { clone_url: ${JSON.stringify(repositoryUrl())} };
  const body = JSON.stringify({ ref, before, after, repository });
  const signature = createHmac("sha256", ${JSON.stringify(token)}).update(body).digest("hex");
  const headers = { "x-gitea-event": "push", "x-gitea-signature": signature };
  return fetch(${JSON.stringify(hookOf("git"))}, { method: "POST", body, headers })
    .then(async (reply) => console.log(reply.status, await reply.text()), (error) => console.log("not delivered"));
};
Promise.all(lines.map(post));
`;
  const file = join(git.root, repository, "hooks", "post-receive");
  await writeFile(file, script);
  await chmod(file, 0o755);
}

const manifest = (name: string, value: string) => JSON.stringify(configMap(name, { value }));

/** A commit on a branch, pushed by the real `git push`. Gives when the push began. */
async function pushCommit(branch: string, value: string): Promise<number> {
  await git.git("clone", ["checkout", "-q", "-B", branch]);
  await writeFile(join(git.root, "clone", "app.yaml"), manifest("recv-git", value));
  await git.git("clone", ["add", "-A"]);
  await git.git("clone", ["commit", "-q", "-m", value]);
  const startedMs = performance.now();
  await git.git("clone", ["push", "-q", "origin", branch]);
  return startedMs;
}

/** How long it took until the workload cluster had the value, in milliseconds from now. */
async function applied(name: string, value: string, sinceMs: number): Promise<number> {
  const has = async () => {
    const found = await workload.get(resources.configMap, { namespace: "default", name });
    return asMap(found?.["data"])["value"] === value;
  };
  await until(has, { deadlineMs: 20_000, what: `${name} to be ${value}`, everyMs: 5 });
  return Math.round(performance.now() - sinceMs);
}

const fleetFromGit = (more: object = {}) =>
  applyFleet(
    hub,
    "recv-git",
    cluster,
    [{ name: "l", git: { url: repositoryUrl(), insecure: true, ref: { branch: "main" } } }],
    more,
  );
const label = (name: string, labels: object) =>
  hub.mergePatch(resources.fleet, { namespace, name }, { metadata: { labels } });

async function fromReceiver(mark: Mark): Promise<readonly AuditEntry[]> {
  return (await auditOf(lab.dir, "hub").since(mark)).filter((entry) => entry.user === user);
}
const asked = (entries: readonly AuditEntry[], fleet: string) =>
  entries.filter(
    ({ verb, resource, name }) => verb === "patch" && resource === "fleets" && name === fleet,
  );

/** Every request for the Fleet, once there has been none for two seconds: what was to come has come. */
const settled = (fleet: string) =>
  until(
    async () => {
      const all = asked(await fromReceiver(0), fleet);
      const last = Math.max(0, ...all.map(({ timeMs }) => timeMs));
      return Date.now() - last > 2_000 ? all : undefined;
    },
    { deadlineMs: 15_000, what: `nobody to ask Fleet ${fleet} any more`, everyMs: 100 },
  );

test("a Receiver says its path, and capitan get receivers and check say how it is", async () => {
  const { status } = await receiverHas("git", "ReconciliationSucceeded");
  assert.equal(status?.webhookPath, webhookPath(token, { name: "git", namespace }));
  const { stdout } = await capitan(["get", "receivers", "-n", namespace]);
  assert.match(
    stdout,
    new RegExp(`fleet +git +gitea +True +\\S+ +listens +${status?.webhookPath}`),
  );
  const checked = await capitan(["check", "-n", namespace]);
  assert.match(checked.stdout, /✔ Receiver fleet\/git: listens/);
});

test("git push → applied in the workload cluster, long before the interval is over", async (t) => {
  await fleetFromGit();
  await label("recv-git", { from: "git" });
  await fleetReady(hub, "recv-git");
  const times: number[] = [];
  for (const value of ["two", "three", "four"]) {
    // Each alone: one that comes within a second of another waits for its end.
    await settled("recv-git");
    times.push(await applied("recv-git", value, await pushCommit("main", value)));
  }
  t.diagnostic(`git push → applied: ${times.join(", ")} ms`);
  const fleet = await fleetOf(hub, "recv-git");
  const mine = fleet?.metadata.managedFields?.find(({ manager: by }) => by === "capitan-receiver");
  assert.deepEqual(mine?.fieldsV1, {
    "f:metadata": { "f:annotations": { ".": {}, "f:reconcile.fluxcd.io/requestedAt": {} } },
  });
});

test("a push of another branch is acknowledged and wakes nobody", async () => {
  const mark = await auditOf(lab.dir, "hub").mark();
  const body = (ref: string) => JSON.stringify({ ref, repository: { clone_url: repositoryUrl() } });
  const post = (ref: string) => {
    const signature = createHmac("sha256", token).update(body(ref)).digest("hex");
    const headers = { "x-gitea-event": "push", "x-gitea-signature": signature };
    return fetch(hookOf("git"), { method: "POST", body: body(ref), headers });
  };
  const other = await post("refs/heads/elsewhere");
  assert.deepEqual([other.status, await other.text()], [200, "0 Fleets are woken\n"]);
  const mainly = await post("refs/heads/main");
  assert.deepEqual([mainly.status, await mainly.text()], [200, "1 Fleet is woken\n"]);
  await until(async () => asked(await fromReceiver(mark), "recv-git").length > 0, {
    deadlineMs: 5_000,
    what: "the Fleet to be asked",
  });
  assert.equal(asked(await fromReceiver(mark), "recv-git").length, 1);
});

test("a push to the registry → applied, told by the registry's own notification", async (t) => {
  const url = `oci://${registry}/team/config`;
  const push = (value: string, tag = "stable") =>
    pushFiles(`${url}:${tag}`, { "a.yaml": manifest("recv-oci", value) });
  await push("one");
  const oci = { url, ref: { tag: "stable" }, insecure: true };
  await applyFleet(hub, "recv-oci", cluster, [{ name: "l", oci }]);
  await fleetReady(hub, "recv-oci");
  const times: number[] = [];
  for (const value of ["two", "three"]) {
    await settled("recv-oci");
    const startedMs = performance.now();
    await push(value);
    times.push(await applied("recv-oci", value, startedMs));
  }
  t.diagnostic(`registry push → applied: ${times.join(", ")} ms`);
  const before = (await settled("recv-oci")).length;
  await push("four", "another");
  await push("five");
  await applied("recv-oci", "five", performance.now());
  // The registry tells of a push before it has moved the tag, so each is asked for twice.
  assert.equal((await settled("recv-oci")).length - before, 2);
});

test("W4 a flood of deliveries becomes one request a second, and the last push counts", async (t) => {
  await applyFleet(hub, "recv-flood", cluster, [
    { name: "l", inline: [configMap("recv-flood", { value: "one" })] },
  ]);
  await fleetReady(hub, "recv-flood");
  const hook = hookOf("flood");
  const body = "{}";
  const post = (signature: string) =>
    fetch(hook, { method: "POST", body, headers: { "x-signature": `sha256=${signature}` } });
  const right = createHmac("sha256", token).update(body).digest("hex");
  const wrong = createHmac("sha256", "another").update(body).digest("hex");
  const mark = await auditOf(lab.dir, "hub").mark();
  const statuses = { 200: 0, 401: 0 };
  const startedMs = performance.now();
  const worker = async () => {
    for (let n = 0; n < 100; n++)
      for (const signature of [right, wrong]) {
        const { status } = await post(signature);
        statuses[status as 200 | 401]++;
      }
  };
  await Promise.all(Array.from({ length: 20 }, worker));
  const lastMs = Date.now();
  assert.equal((await post(right)).status, 200);
  const seconds = (performance.now() - startedMs) / 1_000;
  assert.deepEqual(statuses, { 200: 2_000, 401: 2_000 });
  const handled = async () =>
    Date.parse((await fleetOf(hub, "recv-flood"))?.status?.lastHandledReconcileAt ?? "") >= lastMs;
  await until(handled, { deadlineMs: 5_000, what: "the last push to count" });
  const requests = asked(await fromReceiver(mark), "recv-flood").length;
  t.diagnostic(`${Math.round(4_000 / seconds)} deliveries a second, ${requests} requests`);
  assert.ok(requests >= 1 && requests <= Math.ceil(seconds) + 2, `${requests} in ${seconds} s`);
  const text = await (await fetch(receiver.metrics)).text();
  assert.match(text, /capitan_receiver_deliveries_total\{result="refused"\} 2000/);
  for (const [name, spec] of Object.entries(metricSpecs))
    if ("by" in spec) assert.ok(text.includes(`# HELP ${name} `), name);
});

test("what strangers send is answered with 404, 401, 405, 413, 415, and asks for nothing", async () => {
  const mark = await auditOf(lab.dir, "hub").mark();
  const post = async (url: string, init: object = {}) =>
    (await fetch(url, { method: "POST", body: "{}", ...init })).status;
  assert.equal(await post(`${receiver.url}/hook/${"0".repeat(64)}`), 404);
  assert.equal(await post(`${receiver.url}/`), 404);
  assert.equal(await post(hookOf("flood")), 401);
  assert.equal((await fetch(hookOf("flood"))).status, 405);
  const headers = { "x-signature": `sha256=${"0".repeat(64)}` };
  assert.equal(await post(hookOf("flood"), { headers }), 401);
  const gzip = { ...headers, "content-encoding": "gzip" };
  assert.equal(await post(hookOf("flood"), { headers: gzip }), 415);
  const body = Buffer.alloc(2 * 1024 * 1024);
  assert.equal(await post(hookOf("flood"), { headers, body }), 413);
  assert.deepEqual(
    (await fromReceiver(mark)).filter(({ verb }) => verb === "patch"),
    [],
  );
});

const broken: readonly (readonly [name: string, secret: string, data: object | undefined, Code])[] =
  [
    ["kubeconfig", `${cluster}-kubeconfig`, undefined, "ReceiverTokenRefused"],
    [
      "elsewhere",
      "some-other-secret",
      { token: "a-token-that-would-be-good" },
      "ReceiverTokenRefused",
    ],
  ];

test("a Receiver whose Secret may not be read, or is no good, says so, and check says what to do", async () => {
  const mark = await auditOf(lab.dir, "hub").mark();
  for (const [name, secret, data, code] of broken) {
    if (data !== undefined) {
      const metadata = { namespace, name: secret };
      const object = { apiVersion: "v1", kind: "Secret", metadata, stringData: data };
      await hub.apply(resources.secret, object, manager);
    }
    await receives(name, "github", { matchLabels: {} }, { secretRef: { name: secret } });
    const { status } = await receiverHas(name, code);
    assert.equal(status?.webhookPath, undefined);
  }
  await writeToken("short");
  await receiverHas("git", "ReceiverTokenInvalid");
  const { code, stdout } = await capitan(["check", "-n", namespace]);
  assert.equal(code, 1);
  for (const about of ["ReceiverTokenInvalid", "ReceiverTokenRefused"] as const)
    assert.ok(stdout.includes(`${about}: `) && stdout.includes(codes[about].remedy), stdout);
  assert.ok(!stdout.includes("short\n"));
  await deleteNow(hub, resources.secret, { namespace, name: tokenSecret });
  const gone = await receiverHas("git", "ReceiverTokenInvalid");
  await until(
    async () =>
      conditionOf((await receiverOf("git"))?.status?.conditions, "Ready")?.message ===
      `Secret ${namespace}/${tokenSecret} does not exist`,
    { deadlineMs: 5_000, what: "the missing Secret to be said" },
  );
  assert.equal(gone.status?.webhookPath, undefined);
  for (const [name] of broken) await deleteNow(hub, resources.receiver, { namespace, name });
  const secrets = (await fromReceiver(mark)).filter(({ resource }) => resource === "secrets");
  assert.deepEqual(
    [...new Set(secrets.map(({ name }) => name))].filter((n) => n !== tokenSecret),
    [],
  );
});

test("a token that was changed counts at once: the old path is gone", async () => {
  const old = hookOf("flood");
  token = "second-token-of-32-bytes-or-so-long";
  await writeToken(token);
  const { status } = await receiverHas("flood", "ReconciliationSucceeded");
  assert.equal(status?.webhookPath, webhookPath(token, { name: "flood", namespace }));
  assert.equal((await fetch(old, { method: "POST", body: "{}" })).status, 404);
  assert.equal((await fetch(hookOf("flood"), { method: "POST", body: "{}" })).status, 401);
  await receives("flood", "generic-hmac", { name: "recv-flood" }, { suspend: true });
  await receiverHas("flood", "Suspended");
  assert.equal((await fetch(hookOf("flood"), { method: "POST", body: "{}" })).status, 503);
});

test("the receiver may ask for its tokens by name and change one annotation; the API server refuses the rest", async () => {
  const own = await clientOf(join(lab.dir, receiverAccount, "kubeconfig"));
  try {
    const fleet = { namespace, name: "recv-flood" };
    const forbidden = { message: /forbidden|403/ };
    const kubeconfig = { namespace, name: `${cluster}-kubeconfig` };
    await assert.rejects(own.get(resources.secret, kubeconfig), forbidden);
    await assert.rejects(own.get(resources.secret, { namespace, name: tokenSecret }), forbidden);
    await assert.rejects(own.list(resources.secret, { namespace }), forbidden);
    const fieldSelector = `metadata.name=${kubeconfig.name}`;
    await assert.rejects(own.list(resources.secret, { namespace, fieldSelector }), forbidden);
    await assert.rejects(own.list(resources.cluster, { namespace }), forbidden);
    await assert.rejects(own.list(resources.fleet), forbidden);
    const ask = { metadata: { annotations: { "reconcile.fluxcd.io/requestedAt": "now" } } };
    await own.mergePatch(resources.fleet, fleet, ask);
    const guarded = { message: /may change the annotation/ };
    for (const patch of [
      { spec: { suspend: true } },
      { spec: { layers: [] } },
      { metadata: { labels: { a: "b" } } },
      { metadata: { finalizers: [] } },
      { metadata: { annotations: { "capitan.dev/approve-removal": "x" } } },
      { metadata: { annotations: { ...ask.metadata.annotations, other: "x" } } },
      {
        metadata: { ownerReferences: [{ apiVersion: "v1", kind: "Secret", name: "x", uid: "x" }] },
      },
    ])
      await assert.rejects(own.mergePatch(resources.fleet, fleet, patch), (error: Error) => {
        assert.match(error.message, patch.spec?.layers === undefined ? guarded.message : /./);
        return true;
      });
    const other = { apiVersion: "capitan.dev/v1alpha1", kind: "Fleet" };
    const created = { ...other, metadata: { namespace, name: "recv-made" }, spec: {} };
    await assert.rejects(own.apply(resources.fleet, created, manager));
    await hub.mergePatch(resources.fleet, fleet, { metadata: { labels: { others: "may" } } });
  } finally {
    await own.close();
  }
});

test("by the hub's audit log the receiver read no Secret but its token, and wrote one annotation and statuses", async () => {
  const all = await fromReceiver(0);
  const served = all.filter(
    ({ userAgent, resource }) => userAgent === "capitan-receiver" && resource !== "",
  );
  const done = new Set(
    served.map(({ verb, resource, subresource, name }) => {
      const what = subresource === "" ? resource : `${resource}/${subresource}`;
      return `${verb} ${what}${resource === "secrets" ? ` ${name}` : ""}`;
    }),
  );
  assert.deepEqual(
    [...done].sort(),
    [
      "list fleets",
      `list secrets ${tokenSecret}`,
      "list receivers",
      "patch fleets",
      "patch receivers/status",
      "watch fleets",
      "watch receivers",
      `watch secrets ${tokenSecret}`,
    ].sort(),
  );
  assert.deepEqual(
    served.filter(({ code }) => code === 403),
    [],
  );
});

test("with the receiver dead, polling brings the push all the same", async (t) => {
  await stop(lab.dir, "receiver");
  await fleetFromGit({ interval: "2s" });
  const startedMs = await pushCommit("main", "polled");
  t.diagnostic(`by polling: ${await applied("recv-git", "polled", startedMs)} ms`);
});
