// Capitan's own client through the proxy to a real API server; what the audit log says about it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { clusterKubeconfig } from "../../../hack/lab/clusters.ts";
import { connect, type KubeClient } from "../../../pkg/kube/index.ts";
import { parseWorkloadKubeconfig } from "../../../pkg/kubeconfig/index.ts";
import type { KubeObject } from "../../../pkg/object/index.ts";
import {
  configMap,
  newCluster,
  resources,
  sharedHub,
  sharedLab,
  until,
} from "../../harness/index.ts";
import {
  ApiProxy,
  TcpProxy,
  auditOf,
  counts,
  isLease,
  isRefused,
  lives,
  ofTheLab,
  swapKubeconfig,
  writes,
} from "./index.ts";

let hub: KubeClient;
let direct: KubeClient;
let kubeconfig: string;
const cluster = { namespace: "fleet", name: "faults-proxy" };
const map = (name: string, data: object = {}) => configMap(name, data) as KubeObject;
const place = (name: string) => ({ namespace: "default", name });
const manager = { manager: "test" };
const soon = (what: string, deadlineMs = 10_000) => ({ what, deadlineMs });

before(async () => {
  hub = await sharedHub();
  direct = (await newCluster(hub, cluster.name)).client;
  kubeconfig = await clusterKubeconfig(hub, cluster);
});
after(async () => {
  await direct.close();
  await hub.close();
});

/** Runs with a proxy in front of the cluster, and a client of it. */
async function withProxy(
  work: (proxy: ApiProxy, client: KubeClient) => Promise<void>,
): Promise<void> {
  const proxy = await ApiProxy.start({ kubeconfig });
  const client = connect(parseWorkloadKubeconfig(proxy.kubeconfig(), "proxy"));
  try {
    await work(proxy, client);
  } finally {
    await client.close();
    await proxy.close();
  }
}

/** Follows the ConfigMaps of namespace default; what it has seen, and what has ended it. */
async function follow(client: KubeClient) {
  const { resourceVersion } = await client.list(resources.configMap, place(""));
  const seen: string[] = [];
  const stop = new AbortController();
  const run = async () => {
    const options = { resourceVersion, idleMs: 30_000, timeoutSeconds: 60, signal: stop.signal };
    for await (const event of client.watch(resources.configMap, {
      namespace: "default",
      ...options,
    })) {
      if (event.type !== "BOOKMARK") seen.push(`${event.type} ${event.object.metadata.name}`);
    }
  };
  const ended = run().then(
    () => "in order",
    (error: { reason?: string }) => error.reason ?? "",
  );
  return { seen, ended, stop: () => stop.abort() };
}

test("get, list, apply, delete and watch through the proxy are as without it", () =>
  withProxy(async (proxy, client) => {
    const watch = await follow(client);
    await until(() => proxy.watches === 1, soon("the watch"));
    assert.equal((await client.apply(resources.configMap, map("a"), manager)).created, true);
    assert.equal((await client.apply(resources.configMap, map("a"), manager)).created, false);
    const got = await client.get(resources.configMap, place("a"));
    assert.deepEqual(got, await direct.get(resources.configMap, place("a")));
    assert.equal(await client.delete(resources.configMap, got as KubeObject), true);
    assert.equal(await client.get(resources.configMap, place("a")), undefined);
    await until(() => watch.seen.includes("DELETED a"), soon("the events"));
    assert.deepEqual(watch.seen, ["ADDED a", "DELETED a"]);
    assert.equal(proxy.writes, 3);
    assert.ok(proxy.requests.every(({ userAgent }) => userAgent === "capitan"));
    watch.stop();
    assert.equal(await watch.ended, "AbortError");
    await until(() => proxy.watches === 0, soon("the proxy to notice"));
  }));

test("what the proxy answers is what our client understands", () =>
  withProxy(async (proxy, client) => {
    const apply = (name: string) => client.apply(resources.configMap, map(name), manager);
    proxy.on({ method: "PATCH", path: /\/b$/, times: 1 }).status(503, { message: "not now" });
    await assert.rejects(apply("b"), {
      status: 503,
      reason: "ServiceUnavailable",
      code: "Unreachable",
    });
    proxy
      .on({ path: /\/b$/, times: 1 })
      .status(403, { causes: [{ reason: "NamespaceTerminating" }] });
    await assert.rejects(apply("b"), { status: 403, causes: ["NamespaceTerminating"] });
    proxy.on({ path: /\/b$/, times: 1 }).status(429, { headers: { "retry-after": "0" } });
    assert.equal((await apply("b")).created, true);
    proxy.on({ path: /\/b$/ }).body((body) => body.replace('"name":"b"', '"name":"other"'));
    assert.equal((await client.get(resources.configMap, place("b")))?.metadata.name, "other");
  }));

test("a lost reply was applied: the client's own second try finds it there", () =>
  withProxy(async (proxy, client) => {
    const rule = proxy.on({ method: "PATCH", times: 1 }).loseReply();
    const applied = await client.apply(resources.configMap, map("c"), manager);
    assert.deepEqual([applied.created, rule.hits, proxy.writes], [false, 1, 2]);
    proxy.on({ method: "PATCH" }).cutBefore();
    await assert.rejects(client.apply(resources.configMap, map("d"), manager), { status: 0 });
    assert.equal(await direct.get(resources.configMap, place("d")), undefined);
  }));

test("a hidden create and a poisoned line reach the watch of our client", () =>
  withProxy(async (proxy, client) => {
    const watch = await follow(client);
    await until(() => proxy.watches === 1, soon("the watch"));
    proxy.on({ path: /configmaps$/ }).event((event) => {
      const { name } = event.object["metadata"] as { readonly name?: string };
      return name === "ghost" ? undefined : event;
    });
    const { object } = await direct.apply(resources.configMap, map("ghost"), manager);
    await direct.delete(resources.configMap, object);
    await direct.apply(resources.configMap, map("seen"), manager);
    await until(() => watch.seen.length > 0, soon("an event"));
    assert.deepEqual(watch.seen, ["ADDED seen"]);
    proxy.on().poison('{"type":"ADDED"');
    assert.equal(await watch.ended, "PoisonEvent");
  }));

test("sixty cut watches, twenty at a time, leave proxy and client usable", () =>
  withProxy(async (proxy, client) => {
    for (let round = 0; round < 3; round++) {
      const open = await Promise.all(Array.from({ length: 20 }, () => follow(client)));
      await until(() => proxy.watches === 20, soon("all watches"));
      proxy.cutWatches();
      for (const { ended } of open) assert.match(await ended, /ERR_HTTP2|UND_ERR|ECONNRESET/);
    }
    const signal = AbortSignal.timeout(5_000);
    assert.ok((await client.list(resources.configMap, { signal })).items.length > 0);
  }));

for (const loseLastReply of [false, true]) {
  test(`cut after every write of five, ${loseLastReply ? "the last reply lost" : "replies delivered"}: just so many are done`, () =>
    withProxy(async (proxy, client) => {
      for (let writes = 0; writes <= 5; writes++) {
        const names = Array.from({ length: 5 }, (_, i) => `cut-${loseLastReply}-${writes}-${i}`);
        const cut = proxy.cutAfterWrites(writes, { loseLastReply });
        let answered = 0;
        const run = async () => {
          for (const name of names) {
            await client.apply(resources.configMap, map(name), manager);
            answered += 1;
          }
        };
        await run().catch(() => undefined);
        await cut;
        const signal = AbortSignal.timeout(5_000);
        await assert.rejects(client.list(resources.configMap, { signal }), { status: 0 });
        const lost = loseLastReply && writes > 0 ? 1 : 0;
        assert.equal(answered, writes - lost);
        const there = await Promise.all(
          names.map((name) => direct.get(resources.configMap, place(name))),
        );
        assert.equal(there.filter((found) => found !== undefined).length, writes);
        proxy.restore();
        await client.list(resources.configMap, { signal });
      }
    }));
}

test("rotated credentials: the former token is rejected, the new one and a certificate are let in", () =>
  withProxy(async (proxy, client) => {
    proxy.requireToken("second");
    await assert.rejects(client.list(resources.configMap), {
      status: 401,
      code: "CredentialsRejected",
    });
    const dial = (text: string) => connect(parseWorkloadKubeconfig(text, "proxy"));
    const second = dial(proxy.kubeconfig());
    assert.ok((await second.list(resources.configMap)).items.length > 0);
    proxy.requireToken(undefined);
    const certificate = dial(proxy.kubeconfig({ certificate: true }));
    assert.ok((await certificate.list(resources.configMap)).items.length > 0);
    const stranger = dial(proxy.kubeconfig({ token: "unknown-upstream" }));
    await assert.rejects(stranger.list(resources.configMap), { status: 401 });
    for (const each of [second, certificate, stranger]) await each.close();
  }));

test("a frozen link under a TLS connection is silence, and then everything", async () => {
  const { port } = new URL(parseWorkloadKubeconfig(kubeconfig, "direct").server);
  const link = await TcpProxy.start({ host: "127.0.0.1", port: Number(port) });
  const client = connect(
    parseWorkloadKubeconfig(kubeconfig.replace(`:${port}`, `:${link.port}`), "link"),
  );
  await client.list(resources.configMap);
  link.freeze();
  const signal = AbortSignal.timeout(300);
  await assert.rejects(client.list(resources.configMap, { signal }), { status: 0 });
  const waiting = client.list(resources.configMap);
  link.thaw();
  assert.ok((await waiting).items.length > 0);
  await client.close();
  await link.close();
});

test("the audit log tells who wrote what, how often, and what came and went", () =>
  withProxy(async (proxy, client) => {
    const audit = auditOf((await sharedLab()).dir, cluster.name);
    const mark = await audit.mark();
    const { object } = await client.apply(resources.configMap, map("audited"), manager);
    await client.apply(resources.configMap, map("audited", { k: "v" }), manager);
    await assert.rejects(client.delete(resources.configMap, object), { status: 409 });
    const live = await client.get(resources.configMap, place("audited"));
    await client.delete(resources.configMap, live as KubeObject);
    const entries = await audit.since(mark);
    const ours = writes(entries, { except: [isLease, ({ userAgent }) => userAgent !== "capitan"] });
    assert.deepEqual(
      ours.map(({ verb, code, user, group }) => [verb, code, user, group]),
      [
        ["patch", 201, "admin", ""],
        ["patch", 200, "admin", ""],
        ["delete", 409, "admin", ""],
        ["delete", 200, "admin", ""],
      ],
    );
    assert.deepEqual(Object.fromEntries(counts(ours)), {
      "patch configmaps default/audited": 2,
      "delete configmaps default/audited": 2,
    });
    assert.deepEqual(Object.fromEntries(lives(ours)), {
      "create configmaps default/audited": 1,
      "delete configmaps default/audited": 1,
    });
    assert.equal(ours.filter(isRefused).length, 1);
    assert.ok(entries.some(({ verb }) => verb === "get"));
    assert.deepEqual(await audit.since(await audit.mark()), []);
    await assert.rejects(auditOf((await sharedLab()).dir, "nosuch").mark(), /audit: true/);
    assert.ok(proxy.writes >= 4);
  }));

test("a swapped kubeconfig is followed by the lab too, known as such; then the former is back", () =>
  withProxy(async (proxy) => {
    const secret = { namespace: cluster.namespace, name: `${cluster.name}-kubeconfig` };
    const before = await hub.get(resources.secret, secret);
    const restore = await swapKubeconfig(hub, cluster, proxy.kubeconfig());
    const swapped = await hub.get(resources.secret, secret);
    assert.deepEqual(
      [swapped?.["type"], swapped?.metadata.labels],
      [before?.["type"], before?.metadata.labels],
    );
    await until(() => proxy.requests.length > 0, soon("the stand-in"));
    assert.ok(proxy.requests.some(ofTheLab));
    await until(
      () => proxy.requests.some(({ path }) => path.endsWith("/deployments")),
      soon("the stand-in's list"),
    );
    assert.ok(proxy.requests.every(({ status }) => status === undefined || status < 500));
    assert.ok(!ofTheLab({ userAgent: "capitan-controller" }));
    await restore();
    assert.equal(await clusterKubeconfig(hub, cluster), kubeconfig);
    await assert.rejects(
      swapKubeconfig(hub, { ...cluster, name: "nosuch" }, ""),
      /no kubeconfig in Secret/,
    );
  }));
