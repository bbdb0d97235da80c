import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { request } from "node:https";
import { after, before, test } from "node:test";
import { clusterKubeconfig } from "../../hack/lab/clusters.ts";
import { killServer, restartServer } from "../../hack/lab/faults.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { conditionOf, type FleetMember } from "../../pkg/api/index.ts";
import { asMap } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { parseWorkloadKubeconfig } from "../../pkg/kubeconfig/index.ts";
import type { KubeObject, Resource } from "../../pkg/object/index.ts";
import { pushFiles } from "../harness/artifacts.ts";
import {
  applyFleet,
  configMap,
  deleteNow,
  deployment,
  fleetOf,
  fleetReady,
  inline,
  memberHas,
  memberOf,
  namespace,
  newCluster,
  resources,
  retireClusters,
  sharedHub,
  sharedLab,
  until,
} from "../harness/index.ts";
import {
  ApiProxy,
  auditOf,
  lives,
  ofTheLab,
  swapKubeconfig,
  type AuditEntry,
  type LoggedRequest,
  inventoryOf,
} from "./harness/index.ts";
import { MemberHub } from "./harness/member-hub.ts";

/** What is wrong in a cluster for a while is wrong in one of its own, as far as others would feel it. */
const plain = "apie-1";
const proxied = "apie-2";
const restarted = "apie-3";

let lab: LabFile;
let hub: KubeClient;
let workload: KubeClient;

before(async () => {
  lab = await sharedLab();
  hub = await sharedHub();
  workload = (await newCluster(hub, plain)).client;
});
after(async () => {
  await workload.close();
  await retireClusters(hub, "apie-");
  await hub.close();
});

const inDefault = (name: string) => ({ namespace: "default", name });
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const valueOf = async (name: string, client = workload, where = "default") =>
  asMap((await client.get(resources.configMap, { namespace: where, name }))?.["data"])["k"];
const becomes = (name: string, value: string, client = workload, deadlineMs = 20_000) =>
  until(async () => (await valueOf(name, client)) === value, {
    deadlineMs,
    what: `ConfigMap ${name} to be ${value}`,
  });
const readyOf = (member: FleetMember | undefined) =>
  conditionOf(member?.status?.conditions, "Ready");
const messageOf = (member: FleetMember | undefined) => readyOf(member)?.message ?? "";

/** Waits until the member is not Ready because of something that its message names. */
function saysOf(fleet: string, cluster: string, words: RegExp, deadlineMs = 60_000) {
  let last = "";
  return until(
    async () => {
      const member = await memberOf(hub, fleet, cluster);
      const ready = readyOf(member);
      last = `${ready?.reason ?? "no condition"}: ${ready?.message ?? ""}`;
      if (ready?.status === "True" || !words.test(last)) throw new Error(`it says ${last}`);
      return member;
    },
    { deadlineMs, what: `the member of ${fleet} to say ${words.source}`, everyMs: 100 },
  );
}

/** The controller's requests about one object since a mark. */
async function requestsAbout(
  server: string,
  mark: number,
  name: string,
): Promise<readonly AuditEntry[]> {
  const entries = await auditOf(lab.dir, server).since(mark);
  return entries.filter((e) => e.userAgent === "capitan-controller" && e.name === name);
}

const countOf = (entries: readonly AuditEntry[], verb: string) =>
  entries.filter((entry) => entry.verb === verb).length;

const customResource = (kind: string, version = "v1"): Resource => ({
  group: "apie.example.com",
  version,
  kind,
  namespaced: true,
  plural: `${kind.toLowerCase()}s`,
});

function definition(kind: string, versions: readonly string[] = ["v1"], storage = "v1"): object {
  const { group, plural } = customResource(kind);
  const openAPIV3Schema = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: "Namespaced",
      names: { plural, kind, singular: kind.toLowerCase(), listKind: `${kind}List` },
      versions: versions.map((name) => ({
        name,
        served: true,
        storage: name === storage,
        schema: { openAPIV3Schema },
      })),
    },
  };
}

const custom = (kind: string, name: string, spec: object, version = "v1") => ({
  apiVersion: `apie.example.com/${version}`,
  kind,
  metadata: inDefault(name),
  spec,
});

/** A layer whose objects are in an artifact: what is too big for a Fleet. */
async function artifactLayer(name: string, objects: readonly object[]): Promise<object> {
  const url = `oci://${lab.registry}/apie/${name}`;
  await pushFiles(
    `${url}:v1`,
    Object.fromEntries(objects.map((object, i) => [`${i}.json`, JSON.stringify(object)])),
  );
  return { name, oci: { url, insecure: true, ref: { tag: "v1" } } };
}

/** Text that does not compress, so that no artifact looks like a bomb. */
const noise = (bytes: number) =>
  randomBytes(Math.ceil(bytes * 0.75))
    .toString("base64")
    .slice(0, bytes);

/** Writes an object about `perSecond` times a second until it is ended; says how often it was. */
function storm(client: KubeClient, name: string, perSecond: number): () => Promise<number> {
  const running = new Set(["storm"]);
  let writes = 0;
  const write = async () => {
    const patch = { data: { k: `theirs-${writes}` } };
    const options = { manager: "rival", metadataOnly: true };
    await client.mergePatch(resources.configMap, inDefault(name), patch, options);
    writes += 1;
  };
  const run = async () => {
    while (running.size > 0) {
      await write().catch(() => undefined);
      await sleep(1000 / perSecond);
    }
  };
  const done = run();
  return async () => {
    running.clear();
    await done;
    return writes;
  };
}

/** Deletes Fleets, so that what is wrong with them is not in the way of the next test. */
async function withdraw(...fleets: readonly string[]): Promise<void> {
  for (const name of fleets) await deleteNow(hub, resources.fleet, { namespace, name });
}

test("E1 a writer that flips an owned object 50 times a second: bounded tries, everything else goes on, then it is ours", async () => {
  const layer = (v: string) => [
    inline("l", [configMap("stormy", { k: "ours" }), configMap("calm", { k: v })]),
  ];
  const beside = (v: string) => [inline("l", [configMap("beside", { k: v })])];
  await applyFleet(hub, "apie-storm", plain, layer("v1"));
  await applyFleet(hub, "apie-beside", plain, beside("v1"));
  await fleetReady(hub, "apie-storm");
  await fleetReady(hub, "apie-beside");
  const mark = await auditOf(lab.dir, plain).mark();
  const end = storm(workload, "stormy", 60);
  const startedMs = performance.now();
  try {
    await memberHas(hub, "apie-storm", plain, "FieldConflict");
    await applyFleet(hub, "apie-storm", plain, layer("v2"));
    await applyFleet(hub, "apie-beside", plain, beside("v2"));
    await becomes("calm", "v2", workload, 5_000);
    await fleetReady(hub, "apie-beside", 5_000);
    await sleep(Math.max(0, 8_000 - (performance.now() - startedMs)));
  } finally {
    const writes = await end();
    const seconds = (performance.now() - startedMs) / 1000;
    assert.ok(writes / seconds > 25, `${writes} writes in ${seconds} s are no storm`);
  }
  const tries = await requestsAbout(plain, mark, "stormy");
  assert.ok(tries.length <= 40, `${tries.length} requests about the object`);
  assert.ok(countOf(tries, "patch") <= 20, `${countOf(tries, "patch")} applies`);
  await becomes("stormy", "ours", workload, 60_000);
  await withdraw("apie-storm");
});

/** Whether there are few passes in three seconds: who loops has hundreds. */
async function isQuiet(passes: () => number): Promise<boolean> {
  const before = passes();
  await sleep(3_000);
  const made = passes() - before;
  if (made > 6) throw new Error(`${made} passes in 3 s`);
  return true;
}

test("E1 when a storm is over and its pauses too, the cluster is not looked at all the time", async () => {
  const { client, name } = await newCluster(hub, "apie-calm");
  const members = new MemberHub(await clusterKubeconfig(hub, name));
  members.want({ one: [inline("l", [configMap("stormy", { k: "ours" })])] });
  const controller = members.run();
  try {
    await until(() => members.isReady, { deadlineMs: 30_000, what: "the member to be Ready" });
    const end = storm(client, "stormy", 60);
    const fought = () => members.said.includes("FieldConflict");
    try {
      await until(fought, { deadlineMs: 30_000, what: "the fight to be seen" });
    } finally {
      await end();
    }
    await becomes("stormy", "ours", client, 60_000);
    await until(() => isQuiet(controller.passes), { deadlineMs: 60_000, what: "quiet passes" });
  } finally {
    await controller.stop();
    await client.close();
  }
});

/** A cluster whose kubeconfig leads through a proxy, for Capitan and for nobody else who matters. */
async function throughProxy(name: string) {
  const { client } = await newCluster(hub, name);
  const cluster = { namespace, name };
  const proxy = await ApiProxy.start({
    kubeconfig: await clusterKubeconfig(hub, cluster),
    ignore: ofTheLab,
  });
  const restore = await swapKubeconfig(hub, cluster, proxy.kubeconfig());
  const close = async () => {
    proxy.clear();
    await restore();
    await client.close();
    await proxy.close();
  };
  return { client, proxy, close };
}

const isAbout = (name: string) => (request: LoggedRequest) => request.path.endsWith(`/${name}`);

/** How long the requests that a test is about lie apart, in milliseconds; two or more are awaited. */
async function gapOf(proxy: ApiProxy, name: string, method: string): Promise<number> {
  const seenMs: number[] = [];
  await until(
    () => {
      const found = proxy.requests.filter((r) => r.method === method && isAbout(name)(r));
      while (seenMs.length < found.length) seenMs.push(performance.now());
      return seenMs.length >= 2;
    },
    { deadlineMs: 60_000, what: `a second ${method} of ${name}`, everyMs: 5 },
  );
  return (seenMs[1] ?? 0) - (seenMs[0] ?? 0);
}

const retryAfters: readonly (readonly [
  code: number,
  header: string,
  minMs: number,
  maxMs: number,
])[] = [
  [429, "3", 2_900, 5_000],
  [429, "3600", 9_500, 13_000],
  [429, "-1", 0, 3_000],
  [429, "soon", 0, 3_000],
  [503, "3", 2_900, 6_000],
  [503, "3600", 9_500, 14_000],
  [503, "-1", 0, 4_000],
  [503, "Wed, 21 Oct 2099 07:28:00 GMT", 0, 14_000],
];

test("E2 429 and 503 with Retry-After: waits as told, at most ten seconds, then it is done", async (t) => {
  const { client, proxy, close } = await throughProxy(proxied);
  try {
    await applyFleet(hub, "apie-retry", proxied, [inline("l", [configMap("retry", { k: "0" })])]);
    await fleetReady(hub, "apie-retry");
    for (const [i, [code, header, minMs, maxMs]] of retryAfters.entries()) {
      await t.test(`E2 ${code} with Retry-After: ${header}`, async () => {
        const name = `retry-${i}`;
        const path = new RegExp(`/configmaps/${name}$`);
        const rule = proxy
          .on({ method: "PATCH", path, times: 1 })
          .status(code, { headers: { "retry-after": header } });
        await applyFleet(hub, "apie-retry", proxied, [inline("l", [configMap(name, { k: "v" })])]);
        const gapMs = await gapOf(proxy, name, "PATCH");
        await becomes(name, "v", client);
        await fleetReady(hub, "apie-retry");
        assert.equal(rule.hits, 1);
        assert.ok(gapMs >= minMs && gapMs <= maxMs, `it came back after ${Math.round(gapMs)} ms`);
      });
    }
    await t.test("E2 429 without an end is asked a bounded number of times", async () => {
      const rule = proxy.on({ method: "PATCH", path: /\/configmaps\/throttled$/ }).status(429);
      const layers = [inline("l", [configMap("throttled", { k: "v" })])];
      await applyFleet(hub, "apie-retry", proxied, layers);
      await saysOf("apie-retry", proxied, /429/);
      await sleep(8_000);
      assert.ok(rule.hits <= 30, `${rule.hits} requests`);
      rule.remove();
      await becomes("throttled", "v", client, 30_000);
      await fleetReady(hub, "apie-retry");
    });
    await t.test(
      "E12 what cannot be read before it is applied holds up its own layer",
      async () => {
        // A list is asked for first, and then each object.
        const rules = [/\/namespaces\/default\/configmaps$/, /\/configmaps\/unread$/].map((path) =>
          proxy.on({ method: "GET", path }).status(503),
        );
        const layers = ["unread", "read"].map((name) =>
          inline(name, [configMap(name, { k: "v" })]),
        );
        await applyFleet(hub, "apie-retry", proxied, layers);
        const words = /ConfigMap\/default\/unread: HTTP 503.* the server behind this kind/;
        await saysOf("apie-retry", proxied, words);
        await becomes("read", "v", client);
        for (const rule of rules) rule.remove();
        await becomes("unread", "v", client, 30_000);
        await fleetReady(hub, "apie-retry");
      },
    );
    await t.test("E1 a DELETE whose preconditions conflict is tried again, boundedly", async () => {
      const both = [configMap("doomed", { k: "v" }), configMap("kept", { k: "v1" })];
      await applyFleet(hub, "apie-retry", proxied, [inline("l", both)]);
      await fleetReady(hub, "apie-retry");
      const path = /\/configmaps\/doomed$/;
      proxy.on({ method: "DELETE", path, times: 3 }).delay(200);
      const end = storm(client, "doomed", 60);
      const from = proxy.requests.length;
      try {
        const kept = [inline("l", [configMap("kept", { k: "v2" })])];
        await applyFleet(hub, "apie-retry", proxied, kept);
        await becomes("kept", "v2", client, 5_000);
        await until(
          async () => (await client.get(resources.configMap, inDefault("doomed"))) === undefined,
          { deadlineMs: 40_000, what: "the object to be deleted" },
        );
      } finally {
        await end();
      }
      const tries = proxy.requests
        .slice(from)
        .filter((r) => r.method === "DELETE" && isAbout("doomed")(r));
      const conflicts = tries.filter(({ status }) => status === 409).length;
      assert.ok(conflicts >= 3, `${conflicts} conflicts`);
      assert.ok(tries.length <= 30, `${tries.length} tries`);
      await fleetReady(hub, "apie-retry");
    });
  } finally {
    await close();
  }
});

test("E3 a 500 that stays is reported and not asked again and again, also beside a busy neighbour; the rest goes on", async () => {
  const big = custom("Vat", "too-big", { text: noise(1.6 * 1024 * 1024) });
  const rest = [configMap("beside-big", { k: "v" }), custom("Vat", "small", { text: "x" })];
  const layer = await artifactLayer("big", [definition("Vat"), big, ...rest]);
  await applyFleet(hub, "apie-busy", plain, [inline("l", [configMap("busy", { k: "ours" })])]);
  await fleetReady(hub, "apie-busy");
  const mark = await auditOf(lab.dir, plain).mark();
  await applyFleet(hub, "apie-500", plain, [layer]);
  const member = await saysOf("apie-500", plain, /Vat\/default\/too-big: HTTP 500.*too large/);
  assert.equal(readyOf(member)?.reason, "ApplyFailed");
  await becomes("beside-big", "v");
  assert.ok((await workload.get(customResource("Vat"), inDefault("small"))) !== undefined);
  const wrong = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: inDefault("wrong-typed"),
    data: { password: { nested: "map" } },
  };
  const beside = configMap("beside-wrong", { k: "v" });
  const later = custom("Vat", "after-wrong", { text: "x" });
  await applyFleet(hub, "apie-typed", plain, [inline("l", [later, wrong, beside])]);
  const typed = await saysOf("apie-typed", plain, /Secret\/default\/wrong-typed: HTTP (500|4\d\d)/);
  assert.equal(readyOf(typed)?.reason, "ApplyFailed");
  await becomes("beside-wrong", "v");
  const left = await workload.get(customResource("Vat"), inDefault("after-wrong"));
  assert.equal(left, undefined, "what comes after a stage that is not done is left out");
  await applyFleet(hub, "apie-busy", plain, [inline("l", [configMap("busy", { k: "ours-2" })])]);
  await fleetReady(hub, "apie-busy", 10_000);
  const end = storm(workload, "busy", 5);
  try {
    await sleep(12_000);
    for (const name of ["too-big", "wrong-typed"]) {
      const tries = countOf(await requestsAbout(plain, mark, name), "patch");
      assert.ok(tries >= 1 && tries <= 15, `${name} was applied ${tries} times`);
    }
  } finally {
    await end();
    await withdraw("apie-500", "apie-typed", "apie-busy");
  }
});

test("E4 a CRD and its object in one set, on a cluster that is just there: one pass, one request for each", async () => {
  const { client } = await newCluster(hub, restarted);
  const set = [custom("Cold", "first", { a: 1 }), custom("Cold", "second", { a: 1 })];
  const objects = [...set, definition("Cold"), configMap("with-cold", { k: "v" })];
  await applyFleet(hub, "apie-cold", restarted, [inline("l", objects)]);
  const reasons = new Set<string>();
  await until(
    async () => {
      const ready = readyOf(await memberOf(hub, "apie-cold", restarted));
      reasons.add(ready?.reason ?? "");
      return ready?.status === "True";
    },
    { deadlineMs: 30_000, what: "the member to be Ready", everyMs: 20 },
  );
  for (const bad of ["UnknownKind", "ApplyFailed", "HealthTimeout"])
    assert.ok(!reasons.has(bad), [...reasons].join());
  for (const name of ["first", "second", "colds.apie.example.com", "with-cold"]) {
    const tries = (await requestsAbout(restarted, 0, name)).filter(({ verb }) => verb === "patch");
    assert.deepEqual(
      tries.map(({ code }) => code),
      [201],
      name,
    );
  }
  await client.close();
});

/** What the namespace controller does at last, which the laboratory's workload clusters do not have. */
async function finalize(cluster: string, name: string): Promise<void> {
  const kubeconfig = await clusterKubeconfig(hub, { namespace, name: cluster });
  const { server, ca, credentials } = parseWorkloadKubeconfig(kubeconfig, cluster);
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
  const put = request(`${server}/api/v1/namespaces/${name}/finalize`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    ca,
    ...credentials.certificate,
  });
  put.once("error", reject).once("response", (reply) => {
    reply.resume();
    resolve(reply.statusCode);
  });
  const live = await workload.get(resources.namespace, { name });
  put.end(JSON.stringify({ ...live, spec: { finalizers: [] } }));
  assert.equal(await promise, 200);
}

async function terminating(name: string): Promise<KubeObject> {
  const object = { apiVersion: "v1", kind: "Namespace", metadata: { name } };
  await workload.apply(resources.namespace, object, { manager: "somebody" });
  await deleteNow(workload, resources.namespace, { name });
  const live = await workload.get(resources.namespace, { name });
  assert.equal(asMap(live?.["status"])["phase"], "Terminating");
  return object;
}

for (const [how, withNamespace] of [
  ["a namespace of the set", true],
  ["a namespace that is somebody's", false],
] as const) {
  test(`E5 ${how} is Terminating: it is waited for, named as that and not as forbidden, and then all is applied`, async () => {
    const name = withNamespace ? "apie-ours" : "apie-theirs";
    const object = await terminating(name);
    const inside = configMap("inside", { k: "v" }, name);
    const objects = [configMap(`beside-${name}`, { k: "v" }), inside];
    const fleet = `${name}-ns`;
    const layer = inline("l", withNamespace ? [object, ...objects] : objects);
    await applyFleet(hub, fleet, plain, [layer]);
    if (!withNamespace) await becomes(`beside-${name}`, "v");
    const member = await saysOf(fleet, plain, new RegExp(`${name}.*(terminat|is being deleted)`));
    assert.doesNotMatch(messageOf(member), /forbidden/i);
    await finalize(plain, name);
    if (!withNamespace) await workload.create(resources.namespace, object);
    await fleetReady(hub, fleet);
    assert.equal(await valueOf("inside", workload, name), "v");
    assert.equal(await valueOf(`beside-${name}`), "v");
  });
}

test("E6 a version that is removed by an upgrade: the inventory follows, every object keeps its uid, none is orphaned", async () => {
  const names = ["a", "b", "c"];
  const set = (version: string, kept = names) =>
    kept.map((name) => custom("Gear", name, { text: version }, version));
  const fleet = async (versions: readonly string[], version: string, kept = names) => {
    const layer = inline("l", [
      definition("Gear", versions, versions.at(-1) ?? ""),
      ...set(version, kept),
    ]);
    await applyFleet(hub, "apie-version", plain, [layer]);
    await fleetReady(hub, "apie-version");
  };
  const uids = async (version: string) => {
    const { items } = await workload.list(customResource("Gear", version));
    return items.map(({ metadata }) => `${metadata.name} ${metadata.uid ?? ""}`).sort();
  };
  const entries = async () =>
    [...(await inventoryOf(workload)).values()]
      .filter(({ key }) => key.includes("/Gear/"))
      .map(({ key, version }) => `${key} ${version}`)
      .sort();
  await fleet(["v1beta1"], "v1beta1");
  const before = await uids("v1beta1");
  assert.equal(before.length, 3);
  const mark = await auditOf(lab.dir, plain).mark();
  await fleet(["v1beta1", "v1"], "v1beta1");
  await fleet(["v1"], "v1");
  assert.deepEqual(await uids("v1"), before);
  const expected = names.map((name) => `apie.example.com/Gear/default/${name} v1`);
  assert.deepEqual(await entries(), expected);
  const changes = lives(await auditOf(lab.dir, plain).since(mark));
  const gears = [...changes.keys()].filter((key) => key.includes(" gears "));
  assert.deepEqual(gears, []);
  // Who watched the old version watches the new one.
  const drift = { spec: { text: "drift" } };
  await workload.mergePatch(customResource("Gear"), inDefault("b"), drift, { manager: "somebody" });
  await until(
    async () => {
      const live = await workload.get(customResource("Gear"), inDefault("b"));
      return asMap(live?.["spec"])["text"] === "v1";
    },
    { deadlineMs: 20_000, what: "drift at the new version to be repaired" },
  );
  await fleet(["v1"], "v1", ["a"]);
  await until(async () => (await uids("v1")).length === 1, {
    deadlineMs: 20_000,
    what: "what left the layer to go",
  });
  await fleetReady(hub, "apie-version");
  assert.deepEqual(await entries(), expected.slice(0, 1));
});

/** Fifty ConfigMaps of which the last one is not accepted. */
const fifty = (where: string, data: object, last: object) => [
  ...Array.from({ length: 49 }, (_, i) => configMap(`of-50-${i}`, data, where)),
  last,
];

async function newNamespace(name: string, more: Record<string, string> = {}): Promise<void> {
  const metadata = { name, labels: more };
  const object = { apiVersion: "v1", kind: "Namespace", metadata };
  await workload.apply(resources.namespace, object, { manager: "somebody" });
}

async function othersAre(where: string, value: string): Promise<number> {
  const { items } = await workload.list(resources.configMap, { namespace: where });
  return items.filter((item) => asMap(item["data"])["k"] === value).length;
}

test("E7 quota: 49 of 50 are applied, the one that is too many is named", async () => {
  const where = "apie-quota";
  await newNamespace(where);
  const quota: Resource = {
    group: "",
    version: "v1",
    kind: "ResourceQuota",
    plural: "resourcequotas",
    namespaced: true,
  };
  const name = { namespace: where, name: "few" };
  const hard = { configmaps: "49" };
  const object = { apiVersion: "v1", kind: "ResourceQuota", metadata: name, spec: { hard } };
  await workload.create(quota, object);
  // Nobody counts in the laboratory: admission does, from what the status says.
  const status = { hard, used: { configmaps: "0" } };
  await workload.mergePatch(quota, name, { status }, { subresource: "status" });
  const data = { k: "v" };
  const set = fifty(where, data, configMap("of-50-last", data, where));
  await applyFleet(hub, "apie-quota", plain, [inline("l", set)]);
  const member = await saysOf("apie-quota", plain, /exceeded quota: few/);
  assert.equal(readyOf(member)?.reason, "ApplyFailed");
  assert.match(messageOf(member), /ConfigMap\/apie-quota\/of-50-/);
  assert.equal(await othersAre(where, "v"), 49);
  await workload.mergePatch(quota, name, { spec: { hard: { configmaps: "60" } } });
  const raised = { hard: { configmaps: "60" }, used: { configmaps: "49" } };
  await workload.mergePatch(quota, name, { status: raised }, { subresource: "status" });
  await fleetReady(hub, "apie-quota");
  assert.equal(await othersAre(where, "v"), 50);
});

test("E7 immutable: 49 of 50 are changed, the one that cannot be is named", async () => {
  const where = "apie-frozen";
  await newNamespace(where);
  const set = (v: string) => {
    const frozen = { ...configMap("of-50-frozen", { k: v }, where), immutable: true };
    return [inline("l", fifty(where, { k: v }, frozen))];
  };
  await applyFleet(hub, "apie-frozen", plain, set("v1"));
  await fleetReady(hub, "apie-frozen");
  await applyFleet(hub, "apie-frozen", plain, set("v2"));
  const member = await saysOf("apie-frozen", plain, /of-50-frozen.*HTTP 422 .*immutable/);
  assert.equal(readyOf(member)?.reason, "ApplyFailed");
  assert.equal(await othersAre(where, "v2"), 49);
  assert.equal(await valueOf("of-50-frozen", workload, where), "v1");
});

test("E7 pod security: 49 of 50 are applied, the Pod that is refused is named", async () => {
  const where = "apie-secure";
  await newNamespace(where, { "pod-security.kubernetes.io/enforce": "restricted" });
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: where, name: "of-50-pod" },
    spec: { hostNetwork: true, containers: [{ name: "c", image: "registry.example/x:1" }] },
  };
  await applyFleet(hub, "apie-secure", plain, [inline("l", fifty(where, { k: "v" }, pod))]);
  const member = await saysOf("apie-secure", plain, /Pod\/apie-secure\/of-50-pod.*PodSecurity/);
  assert.equal(readyOf(member)?.reason, "ApplyFailed");
  assert.equal(await othersAre(where, "v"), 49);
});

const megabyte = 1024 * 1024;
const ladder: readonly (readonly [kind: string, megabytes: number, refused?: RegExp])[] = [
  ["ConfigMap", 1],
  ["ConfigMap", 1.4, /HTTP 422 .*(Too long|too long|at most)/],
  ["Barrel", 1],
  ["Barrel", 1.4],
  ["Barrel", 1.6, /HTTP 500.*too large/],
  ["Barrel", 3.1, /HTTP 413.*too large/],
];

test("E8 big objects are applied as far as the API server takes them, and each that it does not says why", async (t) => {
  await applyFleet(hub, "apie-barrels", plain, [inline("l", [definition("Barrel")])]);
  await fleetReady(hub, "apie-barrels");
  for (const [i, [kind, megabytes, refused]] of ladder.entries()) {
    await t.test(`E8 ${kind} of ${megabytes} MiB`, async () => {
      const text = noise(megabytes * megabyte);
      const name = `big-${i}`;
      // A ConfigMap may have exactly one MiB of values.
      const object =
        kind === "ConfigMap" ? configMap(name, { k: text }) : custom(kind, name, { text });
      const beside = configMap(`beside-${name}`, { k: "v" });
      const fleet = `apie-${name}`;
      await applyFleet(hub, fleet, plain, [await artifactLayer(name, [object, beside])]);
      if (refused === undefined) await fleetReady(hub, fleet);
      else {
        const member = await saysOf(fleet, plain, refused);
        assert.equal(readyOf(member)?.reason, "ApplyFailed");
        assert.match(messageOf(member), new RegExp(`${kind}/default/${name}: HTTP`));
      }
      await becomes(`beside-${name}`, "v");
      await deleteNow(hub, resources.fleet, { namespace, name: fleet });
      await until(async () => (await fleetOf(hub, fleet)) === undefined, {
        deadlineMs: 30_000,
        what: `Fleet ${fleet} to go`,
      });
    });
  }
});

test("E10 an API server that is killed every three seconds while things change: converges, nothing is made twice", async () => {
  const { client } = await newCluster(hub, restarted);
  const name = (i: number) => `rolling-${i}`;
  const layers = (round: number) => [
    inline(
      "base",
      Array.from({ length: 10 + 2 * round }, (_, i) => configMap(name(i), { k: `v${round}` })),
    ),
    inline("app", [deployment("rolling")], { dependsOn: ["base"], wait: false }),
  ];
  const mark = await auditOf(lab.dir, restarted).mark();
  const endMs = performance.now() + 40_000;
  let round = 0;
  let kills = 0;
  while (performance.now() < endMs) {
    round += 1;
    await applyFleet(hub, "apie-rolling", restarted, layers(round));
    await sleep(3_000);
    await killServer(lab, restarted);
    kills += 1;
    await restartServer(lab, restarted);
  }
  assert.ok(kills >= 5, `${kills} kills`);
  await fleetReady(hub, "apie-rolling", 90_000);
  const expected = 10 + 2 * round;
  for (let i = 0; i < expected; i++) assert.equal(await valueOf(name(i), client), `v${round}`);
  // The reply to a create, and its line in the log, may have been lost: at most once each.
  const changes = lives(await auditOf(lab.dir, restarted).since(mark));
  for (let i = 0; i < expected; i++) {
    const created = changes.get(`create configmaps default/${name(i)}`) ?? 0;
    assert.ok(created <= 1, `${name(i)} was created ${created} times`);
    assert.equal(changes.get(`delete configmaps default/${name(i)}`), undefined);
  }
  const keys = [...(await inventoryOf(client)).keys()].filter((key) => key.includes("/rolling-"));
  assert.equal(keys.length, expected);
  const settled = await auditOf(lab.dir, restarted).mark();
  await sleep(3_000);
  const later = lives(await auditOf(lab.dir, restarted).since(settled));
  assert.deepEqual([...later.keys()], []);
  await client.close();
});

const apiService: Resource = {
  group: "apiregistration.k8s.io",
  version: "v1",
  kind: "APIService",
  plural: "apiservices",
  namespaced: false,
};

test("E12 a group whose backend does not answer: its pruning waits, everything else goes on, and then the entry goes", async () => {
  await applyFleet(hub, "apie-flaky-crd", plain, [inline("l", [definition("Flake")])]);
  await fleetReady(hub, "apie-flaky-crd");
  const both = [custom("Flake", "pruned", {}), configMap("unaffected", { k: "v1" })];
  await applyFleet(hub, "apie-flaky", plain, [inline("l", both)]);
  await fleetReady(hub, "apie-flaky");
  const name = "v1.apie.example.com";
  // The group is answered by a server that is not there. Unmanaged, or the API server puts it back.
  const live = await workload.get(apiService, { name });
  assert.ok(live !== undefined);
  const service = { namespace: "default", name: "nobody", port: 443 };
  await workload.mergePatch(
    apiService,
    { name },
    {
      metadata: { labels: { "kube-aggregator.kubernetes.io/automanaged": null } },
      spec: { service, insecureSkipTLSVerify: true },
    },
  );
  const flake = customResource("Flake");
  await until(
    () =>
      workload.get(flake, inDefault("pruned")).then(
        () => false,
        () => true,
      ),
    { deadlineMs: 20_000, what: "the group not to be answered" },
  );
  await applyFleet(hub, "apie-flaky", plain, [inline("l", [configMap("unaffected", { k: "v2" })])]);
  const member = await memberHas(hub, "apie-flaky", plain, "RemovalBlocked");
  assert.match(messageOf(member), /apie\.example\.com|server behind this kind/);
  assert.equal(await valueOf("unaffected"), "v2");
  await applyFleet(hub, "apie-beside", plain, [inline("l", [configMap("beside", { k: "v3" })])]);
  await fleetReady(hub, "apie-beside");
  const key = "apie.example.com/Flake/default/pruned";
  assert.ok((await inventoryOf(workload)).has(key));
  await deleteNow(workload, apiService, { name });
  await fleetReady(hub, "apie-flaky");
  assert.equal(await workload.get(flake, inDefault("pruned")), undefined);
  assert.ok(!(await inventoryOf(workload)).has(key));
});

const admission = (kind: string, plural: string): Resource => ({
  group: "admissionregistration.k8s.io",
  version: "v1",
  kind,
  plural,
  namespaced: false,
});
const policies = admission("ValidatingAdmissionPolicy", "validatingadmissionpolicies");
const bindings = admission("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings");

/** Nobody may delete the ConfigMaps whose names begin so. Gives what ends it. */
async function denyDelete(prefix: string): Promise<() => Promise<void>> {
  const apiVersion = "admissionregistration.k8s.io/v1";
  const metadata = { name: "no-delete" };
  const rule = { apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"] };
  const spec = {
    matchConstraints: { resourceRules: [{ ...rule, operations: ["DELETE"] }] },
    validations: [
      { expression: `!oldObject.metadata.name.startsWith('${prefix}')`, message: "it must stay" },
    ],
  };
  const manager = { manager: "somebody" };
  await workload.apply(policies, { apiVersion, kind: policies.kind, metadata, spec }, manager);
  const bound = { policyName: "no-delete", validationActions: ["Deny"] };
  const binding = { apiVersion, kind: bindings.kind, metadata, spec: bound };
  await workload.apply(bindings, binding, manager);
  const probe = configMap(`${prefix}-probe`) as KubeObject;
  await until(
    async () => {
      await workload.apply(resources.configMap, probe, manager);
      const live = await workload.get(resources.configMap, inDefault(`${prefix}-probe`));
      return workload.delete(resources.configMap, live ?? probe).then(
        () => false,
        () => true,
      );
    },
    { deadlineMs: 20_000, what: "the policy to be in force", everyMs: 200 },
  );
  return async () => {
    await deleteNow(workload, bindings, metadata);
    await deleteNow(workload, policies, metadata);
  };
}

test("C6 a DELETE that is denied: the object stays in the inventory and is reported; without the policy both go (kustomize-controller#1664)", async () => {
  const both = [configMap("c6-kept", { k: "v" }), configMap("c6x", { k: "v1" })];
  await applyFleet(hub, "apie-c6", plain, [inline("l", both)]);
  await fleetReady(hub, "apie-c6");
  const allow = await denyDelete("c6-");
  const key = "/ConfigMap/default/c6-kept";
  const mark = await auditOf(lab.dir, plain).mark();
  await applyFleet(hub, "apie-c6", plain, [inline("l", [configMap("c6x", { k: "v2" })])]);
  const member = await memberHas(hub, "apie-c6", plain, "RemovalBlocked");
  assert.match(messageOf(member), /ConfigMap\/default\/c6-kept.*it must stay/);
  assert.equal(await valueOf("c6x"), "v2");
  // Through several passes, a request of a person among them.
  for (const at of ["1", "2", "3"]) {
    const annotations = { "reconcile.fluxcd.io/requestedAt": at };
    await hub.mergePatch(resources.fleetMember, member.metadata, { metadata: { annotations } });
    await until(
      async () => (await memberOf(hub, "apie-c6", plain))?.status?.lastHandledReconcileAt === at,
      { deadlineMs: 20_000, what: "the request to be handled" },
    );
    assert.ok((await inventoryOf(workload)).has(key));
    assert.equal((await memberOf(hub, "apie-c6", plain))?.status?.objects, 2);
  }
  assert.equal(await valueOf("c6-kept"), "v");
  const tries = countOf(await requestsAbout(plain, mark, "c6-kept"), "delete");
  assert.ok(tries >= 2 && tries <= 20, `${tries} tries`);
  await allow();
  await fleetReady(hub, "apie-c6");
  assert.equal(await workload.get(resources.configMap, inDefault("c6-kept")), undefined);
  assert.ok(!(await inventoryOf(workload)).has(key));
});
