import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { clientOf, startApiServer } from "../../hack/lab/apiserver.ts";
import { clusterKubeconfig } from "../../hack/lab/clusters.ts";
import {
  compactHistory,
  killServer,
  restartServer,
  restoreServer,
  snapshotServer,
} from "../../hack/lab/faults.ts";
import { signal, stop } from "../../hack/lab/processes.ts";
import { silent } from "../../hack/lab/progress.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { ensureTools } from "../../hack/lab/tools.ts";
import { Hub } from "../../pkg/hub/index.ts";
import { asMap } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { labels, type KubeObject } from "../../pkg/object/index.ts";
import {
  configMap,
  deleteNow,
  deployment,
  namespace,
  newCluster,
  resources,
  sharedHub,
  sharedLab,
  until,
} from "../harness/index.ts";
import { ApiProxy, auditOf, lives, TcpProxy, writes, type Audit } from "./harness/index.ts";
import { MemberHub } from "./harness/member-hub.ts";

const cluster = { namespace, name: "watches" };
let lab: LabFile;
let hub: KubeClient;
let workload: KubeClient;
let proxy: ApiProxy;
let audit: Audit;
let members: MemberHub;
let controller: ReturnType<MemberHub["run"]>;

before(async () => {
  lab = await sharedLab();
  hub = await sharedHub();
  workload = (await newCluster(hub, cluster.name)).client;
  audit = auditOf(lab.dir, cluster.name);
});
after(async () => {
  await workload.close();
  await hub.close();
});
beforeEach(() => freshController());
afterEach(async () => {
  await controller.stop();
  await proxy.close();
});

const layers = [
  { name: "l", inline: [configMap("a", { k: "v" }), configMap("b", { k: "v" }), deployment("d")] },
];
const inDefault = (name: string) => ({ namespace: "default", name });

async function freshController(): Promise<void> {
  const kubeconfig = await clusterKubeconfig(hub, cluster);
  proxy = await ApiProxy.start({ kubeconfig });
  members = new MemberHub(proxy.kubeconfig());
  members.want({ one: layers });
  controller = members.run();
  await settled();
}

/** The member is Ready, and its drift is watched: it has been so for some passes in which nothing was written. */
async function settled(deadlineMs = 60_000): Promise<void> {
  await until(
    () => {
      if (!members.isReady) throw new Error(members.said);
      return proxy.watches >= 2;
    },
    { deadlineMs, what: "the controller to be settled" },
  );
}

const valueOf = async (name: string) =>
  asMap((await workload.get(resources.configMap, inDefault(name)))?.["data"])["k"];
const spoil = (name: string, k = "spoiled") =>
  workload.mergePatch(
    resources.configMap,
    inDefault(name),
    { data: { k } },
    { manager: "somebody" },
  );
async function repaired(name: string, deadlineMs = 20_000): Promise<void> {
  await until(async () => (await valueOf(name)) === "v", {
    deadlineMs,
    what: `${name} to be repaired`,
  });
}
const ofCapitan = async (mark: number) =>
  (await audit.since(mark)).filter((entry) => entry.userAgent === "capitan-controller");

test("U1 an object with our label that comes and goes behind a hidden event leaves no ghost", async () => {
  let hide = true;
  proxy.on({ path: /configmaps/, watch: true }).event((event) => {
    const isGhost = asMap(event.object["metadata"])["name"] === "ghost";
    return isGhost && event.type !== "DELETED" && hide ? undefined : event;
  });
  const mark = await audit.mark();
  const ghost = {
    ...configMap("ghost"),
    metadata: { ...inDefault("ghost"), labels: { [labels.owner]: "x" } },
  };
  await workload.create(resources.configMap, ghost as unknown as KubeObject);
  await deleteNow(workload, resources.configMap, inDefault("ghost"));
  await spoil("a");
  await repaired("a");
  hide = false;
  assert.ok(!(await ofCapitan(mark)).some(({ name }) => name === "ghost"));
});

test("U2 of two rotations of a kubeconfig the first is hidden: the last one counts", async () => {
  const hubProxy = await ApiProxy.start({ kubeconfig: await kubeconfigText(lab.hubKubeconfig) });
  const client = await connectTo(hubProxy.kubeconfig());
  const told: string[] = [];
  const none = () => undefined;
  const watched = new Hub(
    client,
    {
      fleetChanged: none,
      clusterChanged: none,
      rotationChanged: none,
      secretRotationChanged: none,
      memberChanged: none,
      failed: none,
      secretChanged: (_, of) => told.push(of?.name ?? ""),
      configMapChanged: none,
    },
    Math.random,
    [namespace],
  );
  const stopping = new AbortController();
  const running = watched.run(stopping.signal);
  await watched.inputs.synced();
  told.length = 0;
  const secret = { namespace, name: `${cluster.name}-kubeconfig` };
  let hidden = 0;
  hubProxy.on({ path: /secrets/, watch: true }).event((event) => {
    const isIt = asMap(event.object["metadata"])["name"] === secret.name;
    if (!isIt || hidden > 0) return event;
    hidden += 1;
    return undefined;
  });
  for (const n of ["1", "2"])
    await hub.mergePatch(resources.secret, secret, { metadata: { annotations: { rotated: n } } });
  await until(() => told.includes(cluster.name), { deadlineMs: 10_000, what: "the second event" });
  const now = await watched.secret(secret, AbortSignal.timeout(5_000));
  assert.equal(now?.metadata.annotations?.["rotated"], "2");
  assert.equal(hidden, 1);
  const { uid, resourceVersion } = now?.metadata ?? {};
  assert.equal(watched.secretVersion(secret), `${uid}${resourceVersion}`);
  // Nobody is told that it is still the same while changes are not told.
  const broken = hubProxy.on({ path: /secrets/ }).status(503);
  hubProxy.cutWatches();
  await until(() => broken.hits > 0, { deadlineMs: 20_000, what: "the watch to be asked for" });
  assert.equal(watched.secretVersion(secret), "");
  broken.remove();
  await until(() => watched.secretVersion(secret) !== "", {
    deadlineMs: 60_000,
    what: "the watch to go on",
  });
  stopping.abort();
  await running;
  await client.close();
  await hubProxy.close();
});

test("U3 events that come twice, in another order or rolled into one cost no further write", async () => {
  let held: Parameters<Parameters<ReturnType<ApiProxy["on"]>["event"]>[0]>[0] | undefined;
  proxy.on({ path: /configmaps/, watch: true }).event((event) => {
    if (event.type === "BOOKMARK") return event;
    if (held === undefined) {
      held = event;
      return undefined;
    }
    const both = [event, held, held, event];
    held = undefined;
    return both;
  });
  const mark = await audit.mark();
  for (let i = 0; i < 4; i++) {
    await spoil("a", `x${i}`);
    await spoil("b", `x${i}`);
  }
  await repaired("a");
  await repaired("b");
  const done = lives(await ofCapitan(mark));
  assert.deepEqual([...done], []);
  const applies = writes(await ofCapitan(mark)).filter(({ namespace: ns }) => ns === "default");
  assert.ok(applies.length <= 12, `${applies.length} writes for 8 changes`);
});

test("U4 a stale API server: nothing is deleted by what it shows", async () => {
  const tools = await ensureTools(silent);
  const link = await TcpProxy.start({ host: "127.0.0.1", port: lab.ports.etcd });
  const port = lab.ports.lastWorkload - 2;
  const stale = await startApiServer(lab.dir, tools["kube-apiserver"], {
    name: "stale",
    port,
    etcdPort: link.port,
    flags: [`--etcd-prefix=/capitan/${cluster.name}`],
  });
  try {
    const mark = await audit.mark();
    link.freeze();
    // What the layer had before is dropped, but the server that is asked knows nothing newer.
    proxy.retarget(stale.kubeconfig);
    proxy.cutWatches();
    members.want({ one: [{ name: "l", inline: [configMap("a", { k: "v" })] }] });
    controller.wake();
    await until(() => members.said.includes("Unreachable"), {
      deadlineMs: 100_000,
      what: "the stale server to be found wanting",
    });
    const deletes = (await audit.since(mark)).filter(({ verb }) => verb === "delete");
    assert.deepEqual(deletes, []);
    assert.equal(await valueOf("b"), "v");
  } finally {
    link.thaw();
    await stop(lab.dir, "apiserver-stale");
    await link.close();
  }
});

test("U5 nothing is read from a cache that may be stale: no request of ours names resourceVersion=0", async () => {
  members.want({ one: [{ name: "l", inline: [configMap("a", { k: "v" })] }] });
  controller.wake();
  await until(async () => (await workload.get(resources.configMap, inDefault("b"))) === undefined, {
    deadlineMs: 20_000,
    what: "b to go",
  });
  const reads = proxy.requests.filter(({ method }) => method === "GET");
  // A watch that begins with what is there is a list and a watch, and names no version at all.
  const lists = reads.filter(({ query }) => query.includes("sendInitialEvents=true"));
  assert.ok(reads.length + lists.length > 10);
  assert.deepEqual(
    lists.filter(({ query }) => query.includes("resourceVersion=")),
    [],
  );
  assert.deepEqual(
    reads.filter(({ query }) => /resourceVersion=0(&|$)/.test(query)),
    [],
  );
  const asked = proxy.requests.map(({ method, path }) => `${method} ${path}`);
  const b = "/api/v1/namespaces/default/configmaps/b";
  assert.ok(
    asked.indexOf(`GET ${b}`) < asked.indexOf(`DELETE ${b}`),
    "read by quorum before it was deleted",
  );
});

test("U6 history is compacted under the watches (410): everything is listed anew, and drift is repaired again", async () => {
  await compactHistory(lab, cluster.name);
  await restartServer(lab, cluster.name);
  await settled(90_000);
  await spoil("a");
  await repaired("a", 60_000);
});

test("U7 a workload cluster is restored from a backup: what was changed in between is as declared again, nothing is made anew", async () => {
  await spoil("a");
  await repaired("a");
  const snapshot = await snapshotServer(lab, cluster.name);
  members.want({
    one: [
      {
        name: "l",
        inline: [configMap("a", { k: "v2" }), configMap("b", { k: "v2" }), deployment("d")],
      },
    ],
  });
  controller.wake();
  await until(async () => (await valueOf("a")) === "v2", { deadlineMs: 20_000, what: "v2" });
  const mark = await audit.mark();
  await restoreServer(lab, cluster.name, snapshot);
  await until(async () => (await valueOf("a")) === "v2" && (await valueOf("b")) === "v2", {
    deadlineMs: 60_000,
    what: "the restored cluster to be as declared",
  });
  assert.deepEqual([...lives(await ofCapitan(mark))], []);
});

test("U8 a frozen API server: what was changed meanwhile is repaired when it is back", async () => {
  await signal(lab.dir, `apiserver-${cluster.name}`, "SIGSTOP");
  try {
    controller.wake();
    await until(() => members.said.includes("Unreachable"), {
      deadlineMs: 100_000,
      what: "the silence to be noticed",
    });
  } finally {
    await signal(lab.dir, `apiserver-${cluster.name}`, "SIGCONT");
  }
  await spoil("a");
  await repaired("a", 60_000);
});

test("U9 a poisoned event and a cut line on the watch: the watch survives, and no event is lost", async () => {
  const poison = proxy
    .on({ path: /configmaps/, watch: true })
    .poison('{"type":"MODIFIED","object":{"met');
  await spoil("a");
  await repaired("a");
  await until(() => poison.hits >= 1, { deadlineMs: 5_000, what: "the poison" });
  proxy.cutWatches();
  await spoil("b");
  await repaired("b");
  await settled();
});

const streams = { query: /sendInitialEvents=true/ };

for (const isOlder of [false, true]) {
  const by = isOlder ? ", by an API server that cannot stream lists" : "";
  test(`U10 a list that comes back empty once${by}: nothing is deleted, nothing is made anew`, async () => {
    await controller.stop();
    const mark = await audit.mark();
    const refusal = isOlder ? proxy.on(streams).status(422) : undefined;
    const lie = isOlder
      ? proxy
          .on({ method: "GET", path: /configmaps$/, watch: false, times: 1 })
          .body((body) => JSON.stringify({ ...(JSON.parse(body) as object), items: [] }))
      : proxy
          .on({ ...streams, path: /configmaps$/, times: 1 })
          .event((event) => (event.type === "ADDED" ? undefined : event));
    controller = members.run();
    await until(() => lie.hits === 1, { deadlineMs: 20_000, what: "the lie to be told" });
    await settled();
    await spoil("b");
    await repaired("b");
    assert.deepEqual([...lives(await ofCapitan(mark))], []);
    lie.remove();
    refusal?.remove();
  });
}

test("an API server that dies and comes back: one repair each, nothing twice", async () => {
  const mark = await audit.mark();
  await killServer(lab, cluster.name);
  await restartServer(lab, cluster.name);
  await settled(90_000);
  await spoil("a");
  await repaired("a", 60_000);
  assert.deepEqual([...lives(await ofCapitan(mark))], []);
});

async function kubeconfigText(file: string): Promise<string> {
  const { readFile } = await import("node:fs/promises");
  return readFile(file, "utf8");
}

async function connectTo(kubeconfig: string): Promise<KubeClient> {
  const { mkdtemp, writeFile } = await import("node:fs/promises");
  const dir = await mkdtemp(`${lab.dir}/client-`);
  await writeFile(`${dir}/kubeconfig`, kubeconfig);
  return clientOf(`${dir}/kubeconfig`);
}
