import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test, type TestContext } from "node:test";
import { accountToken } from "../../hack/lab/account-token.ts";
import { clientOf, serverDir, startApiServer } from "../../hack/lab/apiserver.ts";
import { clusterKubeconfig } from "../../hack/lab/clusters.ts";
import { applyInstall } from "../../hack/lab/controller.ts";
import { prefixOf, putEntries } from "../../hack/lab/etcd.ts";
import { root } from "../../hack/lab/paths.ts";
import { kubeconfigOf, readServerPki } from "../../hack/lab/pki.ts";
import { launch, pidOf, signal, stop } from "../../hack/lab/processes.ts";
import { silent } from "../../hack/lab/progress.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { ensureTools } from "../../hack/lab/tools.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import { LeaderLease, type KubeClient } from "../../pkg/kube/index.ts";
import type { Resource } from "../../pkg/object/index.ts";
import {
  applyFleet,
  configMap,
  fleetReady,
  inline,
  namespace,
  newCluster,
  resources,
  sharedHub,
  sharedLab,
  until,
} from "../harness/index.ts";
import { tellCluster } from "../harness/own-hub.ts";
import { ApiProxy, auditOf, isLease, isRefused, writes, type Hold } from "./harness/index.ts";

/** A hub of its own, whose leaders may fall, and a workload cluster of the laboratory. */
const server = "leaderhub";
const cluster = "leader-1";
const system = "capitan-system";
const leases: Resource = {
  group: "coordination.k8s.io",
  version: "v1",
  kind: "Lease",
  plural: "leases",
  namespaced: true,
};
const leaseName = { namespace: system, name: "capitan-controller" };

let lab: LabFile;
let hub: KubeClient;
let workload: KubeClient;
let ca: string;
let address: string;

before(async () => {
  lab = await sharedLab();
  const shared = await sharedHub();
  workload = (await newCluster(shared, cluster)).client;
  const kubeconfig = await clusterKubeconfig(shared, { namespace, name: cluster });
  await shared.close();
  const tools = await ensureTools(silent);
  const port = lab.ports.lastWorkload - 3;
  const started = await startApiServer(lab.dir, tools["kube-apiserver"], {
    name: server,
    port,
    etcdPort: lab.ports.etcd,
    audit: true,
  });
  hub = await clientOf(started.kubeconfigFile);
  address = `https://127.0.0.1:${port}`;
  ca = (await readServerPki(join(serverDir(lab.dir, server), "pki"))).ca;
  await applyInstall(hub);
  await tellCluster(hub, { namespace, name: cluster }, kubeconfig);
});
after(async () => {
  await stopReplicas();
  await stop(lab.dir, `apiserver-${server}`);
  await hub.close();
  await workload.close();
});

const rbac = (kind: string): Resource => ({
  group: "rbac.authorization.k8s.io",
  version: "v1",
  kind,
  namespaced: false,
  plural: `${kind.toLowerCase()}s`,
});

/** A token of a ServiceAccount of its own, by which the hub's audit log tells one replica from another. */
async function tokenOf(replica: string): Promise<string> {
  const account = { namespace: system, name: `replica-${replica}` };
  const object = { apiVersion: "v1", kind: "ServiceAccount", metadata: account };
  await hub.apply(resources.serviceAccount, object, { manager: "test" });
  const binding = {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name: account.name },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
    subjects: [{ kind: "ServiceAccount", ...account }],
  };
  await hub.apply(rbac("ClusterRoleBinding"), binding, { manager: "test" });
  return accountToken(hub, account, 3_600);
}

const userOf = (replica: string) => `system:serviceaccount:${system}:replica-${replica}`;
const processOf = (replica: string) => `controller-replica-${replica}`;
const logOf = (replica: string) =>
  readFile(join(lab.dir, "log", `${processOf(replica)}.log`), "utf8").catch(() => "");
const isGone = async (replica: string) => (await pidOf(lab.dir, processOf(replica))) === undefined;

const started: string[] = [];
const proxies: ApiProxy[] = [];

async function stopReplicas(): Promise<void> {
  for (const replica of started.splice(0)) {
    await signal(lab.dir, processOf(replica), "SIGCONT");
    await stop(lab.dir, processOf(replica));
  }
  for (const proxy of proxies.splice(0)) await proxy.close();
  const lease = await hub.get(leases, leaseName);
  if (lease !== undefined) await hub.delete(leases, lease);
}

/** The signal on which a replica blocks its event loop, long enough for another one to do its work. */
const stallSignal = "SIGUSR2";
const stallCode = `process.on("${stallSignal}", () => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000);
});
`;

/** Starts one replica of the controller, to the hub or to a proxy in front of it. */
async function startReplica(replica: string, kubeconfig: string): Promise<void> {
  const preload = join(lab.dir, "stall.mjs");
  const file = join(lab.dir, `replica-${replica}.kubeconfig`);
  await writeFile(preload, stallCode);
  await writeFile(file, kubeconfig, { mode: 0o600 });
  started.push(replica);
  await launch(lab.dir, {
    name: processOf(replica),
    command: process.execPath,
    args: [
      "--import",
      preload,
      join(root, "cmd", "controller", "main.ts"),
      "--platform-namespace",
      namespace,
      "--metrics-address",
      "127.0.0.1:0",
      "--cache-dir",
      join(lab.dir, `replica-${replica}-cache`),
    ],
    env: { KUBECONFIG: file },
  });
}

const direct = async (replica: string) =>
  kubeconfigOf(address, ca, { token: await tokenOf(replica) });

/** A replica that reaches the hub through a proxy, with its own token. */
async function startBehindProxy(replica: string): Promise<ApiProxy> {
  const admin = await readFile(join(serverDir(lab.dir, server), "kubeconfig"), "utf8");
  const proxy = await ApiProxy.start({ kubeconfig: admin });
  proxies.push(proxy);
  await startReplica(replica, proxy.kubeconfig({ token: await tokenOf(replica) }));
  return proxy;
}

/** A test with replicas, none of which outlives it. */
function scenario(name: string, run: (t: TestContext) => Promise<void>): void {
  void test(name, async (t) => {
    t.after(stopReplicas);
    await run(t);
  });
}

async function holder(): Promise<string> {
  const lease = await hub.get(leases, leaseName);
  return asString(asMap(lease?.["spec"])["holderIdentity"]) ?? "";
}

/** Waits until a replica says that it leads; gives its identity. */
async function leads(replica: string, deadlineMs = 30_000): Promise<string> {
  const line = await until(
    async () => /"identity":"([^"]+)".*"leading"/.exec(await logOf(replica)),
    {
      deadlineMs,
      what: `replica ${replica} to lead`,
    },
  );
  return line[1] ?? "";
}

const objectsPerLayer = 120;
const layersOfWork = 6;

/** More work than can be done in a moment. */
const work = (name: string) =>
  Array.from({ length: layersOfWork }, (_, layer) =>
    inline(
      `l${layer}`,
      Array.from({ length: objectsPerLayer }, (_, i) => configMap(`${name}-${layer}-${i}`)),
    ),
  );

async function done(name: string): Promise<number> {
  const { items } = await workload.list(resources.configMap, {
    namespace: "default",
    metadataOnly: true,
    labelSelector: "capitan.dev/owner",
  });
  return items.filter(({ metadata }) => metadata.name.startsWith(`${name}-`)).length;
}

/** So many requests are sent to a cluster at a time. */
const inFlightMax = 16;

type Stall = {
  readonly stall: (replica: string) => Promise<void>;
  readonly resume: (replica: string) => Promise<void>;
};

const frozen: Stall = {
  stall: (replica) => signal(lab.dir, processOf(replica), "SIGSTOP"),
  resume: (replica) => signal(lab.dir, processOf(replica), "SIGCONT"),
};
const blocked: Stall = {
  stall: (replica) => signal(lab.dir, processOf(replica), stallSignal),
  resume: () => Promise.resolve(),
};

/**
 * A leader stops in the middle of its work for 20 s; another one finishes it. Then the first one goes
 * on: it must end without a write, on the hub or on the cluster.
 */
async function leaderStops(name: string, how: Stall, midRenewal: boolean): Promise<void> {
  const [old, next] = [`${name}-a`, `${name}-b`];
  const proxy = await startBehindProxy(old);
  const identity = await leads(old);
  await startReplica(next, await direct(next));
  let hold: Hold | undefined;
  if (midRenewal) {
    const renewals = proxy.on({ method: "PUT", path: /\/leases\// }).hold();
    hold = renewals;
    await until(() => renewals.waiting > 0, { deadlineMs: 5_000, what: "a renewal", everyMs: 5 });
  }
  await applyFleet(hub, name, cluster, work(name));
  await until(async () => (await done(name)) >= 30, {
    deadlineMs: 2e4,
    what: "the leader to be at work",
    everyMs: 5,
  });
  await how.stall(old);
  const stoppedMs = performance.now();
  const all = layersOfWork * objectsPerLayer;
  const before = await done(name);
  assert.ok(before < all, "the leader had finished before it was stopped");
  await until(async () => ![identity, ""].includes(await holder()), {
    deadlineMs: 25_000,
    what: "another leader",
  });
  await leads(next);
  await fleetReady(hub, name);
  assert.equal(await done(name), all);
  await until(() => how === blocked || performance.now() - stoppedMs > 20_000, {
    deadlineMs: 25_000,
    what: "20 s to pass",
  });
  const audits = [auditOf(lab.dir, server), auditOf(lab.dir, cluster)] as const;
  const marks = await Promise.all(audits.map((audit) => audit.mark()));
  assert.ok(!(await isGone(old)), "the stopped leader is still there");
  await how.resume(old);
  await until(() => isGone(old), { deadlineMs: 70_000, what: "the old leader to end" });
  hold?.release();
  assert.match(await logOf(old), /lost the Lease/);
  const [onHub = [], onCluster = []] = await Promise.all(
    audits.map((audit, i) => audit.since(marks[i] ?? 0)),
  );
  const said = (entries: typeof onHub) => entries.map((e) => `${e.verb} ${e.resource} ${e.name}`);
  const byOld = writes(onHub).filter((entry) => entry.user === userOf(old));
  assert.deepEqual(said(byOld.filter((e) => !isLease(e) || !isRefused(e))), []);
  const capitans = onCluster.filter(({ userAgent }) => userAgent === "capitan-controller");
  // What it had handed to its socket in the turn in which it was stopped cannot be called back; the
  // new leader sees these writes as it sees drift.
  const late = writes(capitans);
  assert.ok(late.length <= inFlightMax, said(late).join("\n"));
  assert.deepEqual(said(late.filter(({ verb }) => verb !== "patch")), []);
  assert.notEqual(await holder(), identity);
}

scenario(
  "P1 a leader that is stopped for 20 s in the middle of its work writes nothing when it goes on, and ends",
  () => leaderStops("p1-work", frozen, false),
);

scenario(
  "P1 a leader that is stopped while it renews its Lease writes nothing when it goes on, and ends",
  () => leaderStops("p1-renewal", frozen, true),
);

scenario(
  "P4 a leader whose event loop is blocked for more than 20 s writes nothing afterwards, and ends",
  () => leaderStops("p4", blocked, false),
);

scenario(
  "P2 the Lease API is cut for the leader alone: it ends before another one leads",
  async () => {
    const proxy = await startBehindProxy("p2-a");
    const identity = await leads("p2-a");
    await startReplica("p2-b", await direct("p2-b"));
    await applyFleet(hub, "p2", cluster, [inline("l", [configMap("p2", { k: "v1" })])]);
    await fleetReady(hub, "p2");
    proxy.on({ path: /\/leases(\/|$)/ }).cutBefore();
    const cutMs = performance.now();
    await until(() => isGone("p2-a"), { deadlineMs: 15_000, what: "the leader to end" });
    const endedMs = performance.now() - cutMs;
    assert.ok(endedMs > 5_000, `it ended after ${Math.round(endedMs)} ms, without patience`);
    assert.equal(await holder(), identity, "somebody else led before the leader had ended");
    await leads("p2-b");
    await applyFleet(hub, "p2", cluster, [inline("l", [configMap("p2", { k: "v2" })])]);
    await fleetReady(hub, "p2");
  },
);

const cuts: readonly (readonly [how: string, cut: (proxy: ApiProxy) => unknown])[] = [
  ["does not answer", (proxy) => proxy.on({ path: /\/leases(\/|$)/ }).hold()],
  ["answers 503", (proxy) => proxy.on({ path: /\/leases(\/|$)/ }).status(503)],
  ["answers 403", (proxy) => proxy.on({ path: /\/leases(\/|$)/ }).status(403)],
  [
    "answers 429 with Retry-After: 3600",
    (proxy) =>
      proxy.on({ path: /\/leases(\/|$)/ }).status(429, { headers: { "retry-after": "3600" } }),
  ],
  ["loses replies to writes", (proxy) => proxy.on({ method: "PUT", path: /\/leases\// }).hold()],
];

for (const [i, [how, cut]] of cuts.entries()) {
  scenario(`P2 a Lease API that ${how}: the leader ends within 15 s`, async () => {
    const proxy = await startBehindProxy(`p2-${i}`);
    await leads(`p2-${i}`);
    cut(proxy);
    await until(() => isGone(`p2-${i}`), { deadlineMs: 15_000, what: "the leader to end" });
    assert.match(await logOf(`p2-${i}`), /lost the Lease/);
  });
}

type Clocks = { wallMs: number; monotonicMs: number };

/** A candidate with clocks that can be moved, and how often it led. */
function candidate(name: string, clocks: Clocks, errors: unknown[]) {
  const identity = `${name}-${randomUUID()}`;
  const lease = new LeaderLease(hub, {
    namespace: system,
    name: "clocks",
    identity,
    monotonicMs: () => performance.now() + clocks.monotonicMs,
    now: () => new Date(Date.now() + clocks.wallMs),
    failed: (error) => errors.push(error),
  });
  const end = new AbortController();
  const state = { identity, clocks, end, leading: false, terms: 0, outcome: "" };
  const run = async () => {
    await lease.acquire(end.signal);
    state.leading = true;
    state.terms += 1;
    state.outcome = await lease.hold(end.signal);
    state.leading = false;
  };
  const done = run().catch(() => undefined);
  return Object.assign(state, { done });
}

const hour = 3_600_000;
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Watches for some time that exactly one of the candidates leads, always the same. */
async function oneLeads(
  candidates: readonly ReturnType<typeof candidate>[],
  forMs: number,
): Promise<void> {
  const endMs = performance.now() + forMs;
  const [first] = candidates.filter(({ leading }) => leading);
  while (performance.now() < endMs) {
    const leaders = candidates.filter(({ leading }) => leading);
    assert.deepEqual(
      leaders.map(({ identity }) => identity),
      [first?.identity],
    );
    await sleep(50);
  }
}

test("P3 wall clocks that are an hour apart, and that jump by an hour: exactly one leads at any time", async () => {
  const errors: unknown[] = [];
  const candidates = [0, hour, -hour].map((wallMs, i) =>
    candidate(`clock-${i}`, { wallMs, monotonicMs: i * 12_345_678 }, errors),
  );
  try {
    await until(() => candidates.some(({ leading }) => leading), {
      deadlineMs: 1e4,
      what: "a leader",
    });
    await oneLeads(candidates, 4_000);
    for (const { clocks, leading } of candidates) clocks.wallMs += leading ? hour : -hour;
    await oneLeads(candidates, 18_000);
    for (const { clocks, leading } of candidates) clocks.wallMs += leading ? -2 * hour : 2 * hour;
    await oneLeads(candidates, 4_000);
    const leader = candidates.find(({ leading }) => leading);
    leader?.end.abort();
    await until(() => candidates.some((c) => c.leading && c !== leader), {
      deadlineMs: 6_000,
      what: "the next leader",
    });
    assert.equal(leader?.leading, false);
    await oneLeads(candidates, 3_000);
    assert.deepEqual(errors, []);
    assert.deepEqual(candidates.map(({ terms }) => terms).sort(), [0, 1, 1]);
  } finally {
    for (const { end } of candidates) end.abort();
    await Promise.all(candidates.map(({ done }) => done));
  }
});

test("P4 a monotonic clock that jumps by 20 s: the holder steps down without another renewal", async () => {
  const errors: unknown[] = [];
  const only = candidate("jump", { wallMs: 0, monotonicMs: 0 }, errors);
  try {
    await until(() => only.leading, { deadlineMs: 20_000, what: "a leader" });
    const version = async () =>
      (await hub.get(leases, { namespace: system, name: "clocks" }))?.metadata.resourceVersion;
    only.clocks.monotonicMs = 20_000;
    const before = await version();
    await until(() => only.outcome !== "", { deadlineMs: 3_000, what: "the holder to step down" });
    assert.equal(only.outcome, "lost");
    assert.equal(await version(), before);
  } finally {
    only.end.abort();
    await only.done;
  }
});

/** Stores an object as no API server would let it in: older definitions, or a hand in etcd. */
async function poison(plural: string, name: string, content: object): Promise<void> {
  const kind = plural === "fleets" ? "Fleet" : "FleetMember";
  const object = {
    apiVersion: "capitan.dev/v1alpha1",
    kind,
    metadata: { namespace, name, uid: randomUUID(), creationTimestamp: "2026-01-01T00:00:00Z" },
    ...content,
  };
  const key = `${prefixOf(server)}capitan.dev/${plural}/${namespace}/${name}`;
  const entry = {
    key: Buffer.from(key).toString("base64"),
    value: Buffer.from(JSON.stringify(object)).toString("base64"),
  };
  await putEntries(lab.ports.etcd, [entry]);
}

async function unpoison(plural: string, name: string): Promise<void> {
  const key = `${prefixOf(server)}capitan.dev/${plural}/${namespace}/${name}`;
  const reply = await fetch(`http://127.0.0.1:${lab.ports.etcd}/v3/kv/deleterange`, {
    method: "POST",
    body: JSON.stringify({ key: Buffer.from(key).toString("base64") }),
  });
  assert.ok(reply.ok);
}

const selector = { matchLabels: { cluster } };
const layer = inline("l", [configMap("unwanted")]);
/** The worst come last: what one has broken may take a while to mend. */
const poisonFleets: Readonly<Record<string, object>> = {
  "text-layers": { spec: { clusterSelector: selector, layers: "none" } },
  "null-layer": { spec: { clusterSelector: selector, layers: [null, 7] } },
  "no-layers": { spec: { clusterSelector: selector } },
  "number-interval": { spec: { clusterSelector: selector, interval: 7, layers: [layer] } },
  "bad-interval": { spec: { clusterSelector: selector, interval: "soon", layers: [layer] } },
  "huge-interval": {
    spec: { clusterSelector: selector, interval: `${"9".repeat(400)}h`, layers: [layer] },
  },
  "bad-operator": {
    spec: {
      clusterSelector: { matchExpressions: [{ key: "cluster", operator: "Near", values: 1e308 }] },
      layers: [layer],
    },
  },
  "bad-policy": {
    spec: { clusterSelector: selector, deletionPolicy: "Sometimes", layers: [layer] },
  },
  "text-selector": { spec: { clusterSelector: "everything", layers: [layer] } },
  "huge-text": {
    spec: { clusterSelector: selector, layers: [inline("x".repeat(500_000), [configMap("huge")])] },
  },
  "bad-object": {
    spec: {
      clusterSelector: selector,
      layers: [inline("l", [{ apiVersion: "", kind: "", data: 1e308 }])],
    },
  },
  "bad-version": {
    spec: {
      clusterSelector: selector,
      layers: [{ name: "l", flux: { version: 1e308, artifact: { url: 5 } } }],
    },
  },
  "bad-status": {
    spec: { clusterSelector: selector, suspend: true, layers: [layer] },
    status: { conditions: "none", left: 7, worst: null, observedGeneration: -1e308 },
  },
  "no-spec": {},
  "null-spec": { spec: null },
};
/** Of a Fleet that is not expected to go on. */
const refs = { fleetRef: { namespace, name: "poisoned" }, clusterRef: { name: cluster } };
const poisonMembers: Readonly<Record<string, object>> = {
  "text-refs": { spec: { fleetRef: "poisoned", clusterRef: cluster, revision: "r" } },
  "null-refs": { spec: { fleetRef: null, clusterRef: null, revision: null } },
  "number-revision": { spec: { ...refs, revision: 1e308, state: "Present" } },
  "unknown-state": { spec: { ...refs, revision: "r", state: "Perhaps" } },
  "bad-status": {
    spec: { ...refs, fleetRef: { namespace, name: "nosuch" }, revision: "r", state: "Present" },
    status: { conditions: { type: "Ready" }, layers: "x", objects: 1e308 },
  },
  "no-spec": {},
  "null-spec": { spec: null },
};

/** Whether a healthy Fleet still goes the whole way, and a new one too. */
async function othersGoOn(round: string): Promise<void> {
  const set = (name: string) => [inline("l", [configMap(name, { k: round })])];
  await applyFleet(hub, "healthy", cluster, set("healthy"));
  await fleetReady(hub, "healthy", 15_000);
  await applyFleet(hub, `new-${round}`, cluster, set(`new-${round}`));
  await fleetReady(hub, `new-${round}`, 15_000);
  const live = await workload.get(resources.configMap, { namespace: "default", name: "healthy" });
  assert.equal(asMap(live?.["data"])["k"], round);
}

for (const [plural, objects] of [
  ["fleets", poisonFleets],
  ["fleetmembers", poisonMembers],
] as const) {
  scenario(`E9 ${plural} that no schema would let in: the others go on`, async (t) => {
    const replica = `e9-${plural}`;
    await startReplica(replica, await direct(replica));
    await leads(replica);
    const pid = await pidOf(lab.dir, processOf(replica));
    await applyFleet(hub, "poisoned", cluster, [inline("l", [configMap("poisoned")])]);
    await othersGoOn("before");
    for (const [name, content] of Object.entries(objects)) {
      await t.test(`E9 ${plural}: ${name}`, async () => {
        await poison(plural, `poison-${name}`, content);
        try {
          await othersGoOn(name);
          assert.equal(await pidOf(lab.dir, processOf(replica)), pid, "the controller has ended");
        } finally {
          await unpoison(plural, `poison-${name}`);
        }
      });
    }
  });
}
