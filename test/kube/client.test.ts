import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { CoreV1Api, KubeConfig } from "@kubernetes/client-node";
import { Discovery, LeaderLease, type KubeClient } from "../../pkg/kube/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";
import { configMap, resources, sharedHub, sharedLab, until } from "../harness/index.ts";

const namespace = "kube-client";
let hub: KubeClient;

before(async () => {
  hub = await sharedHub();
  await hub.apply(
    resources.namespace,
    { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
    { manager: "test" },
  );
});
after(() => hub.close());

const map = (name: string, data: object = {}) => configMap(name, data, namespace) as KubeObject;

test("apply says whether it created; the same again changes nothing", async () => {
  const first = await hub.apply(resources.configMap, map("a", { k: "v" }), { manager: "test" });
  const second = await hub.apply(resources.configMap, map("a", { k: "v" }), {
    manager: "test",
    metadataOnly: true,
  });
  assert.deepEqual([first.created, second.created], [true, false]);
  assert.equal(second.object.metadata.resourceVersion, first.object.metadata.resourceVersion);
  assert.equal(second.object["data"], undefined);
});

test("an applied object is what the official client reads, control characters and large integers included", async () => {
  const data = { odd: '\u0085 \u2028 \ufeff \u{1f600} \\ " \n\t', big: "9223372036854775807" };
  await hub.apply(resources.configMap, map("odd", data), { manager: "test" });
  const oracle = new KubeConfig();
  oracle.loadFromFile((await sharedLab()).hubKubeconfig);
  const read = await oracle
    .makeApiClient(CoreV1Api)
    .readNamespacedConfigMap({ namespace, name: "odd" });
  assert.deepEqual(read.data, data);
});

test("get of nothing is undefined; a kind that is not served throws", async () => {
  assert.equal(await hub.get(resources.configMap, { namespace, name: "nosuch" }), undefined);
  await assert.rejects(
    hub.get({ ...resources.configMap, group: "nosuch.example.com" }, { namespace, name: "a" }),
    { status: 404 },
  );
});

test("list follows its pages to the end", async () => {
  const names = Array.from({ length: 620 }, (_, i) => `page-${i}`);
  for (let i = 0; i < names.length; i += 40)
    await Promise.all(
      names
        .slice(i, i + 40)
        .map((name) =>
          hub.apply(resources.configMap, map(name), { manager: "test", metadataOnly: true }),
        ),
    );
  const { items } = await hub.list(resources.configMap, { namespace, metadataOnly: true });
  assert.equal(items.filter(({ metadata }) => metadata.name.startsWith("page-")).length, 620);
  assert.equal(items[0]?.kind, "ConfigMap");
  const there = items.length;
  const few = (most: number) => hub.listFew(resources.configMap, most, { namespace });
  assert.equal((await few(there))?.length, there);
  assert.equal(await few(there - 1), undefined, "one more than that, on a second page");
  assert.equal(await few(20), undefined);
});

test("delete takes exactly what was read: not a newer version, not another object of that name", async () => {
  const { object } = await hub.apply(resources.configMap, map("del", { k: "1" }), {
    manager: "test",
  });
  await hub.apply(resources.configMap, map("del", { k: "2" }), { manager: "test" });
  await assert.rejects(hub.delete(resources.configMap, object), { status: 409 });
  const now = (await hub.get(resources.configMap, { namespace, name: "del" })) as KubeObject;
  await assert.rejects(
    hub.delete(resources.configMap, { ...now, metadata: { ...now.metadata, uid: "other" } }),
    { status: 409 },
  );
  assert.equal(await hub.delete(resources.configMap, now), true);
  assert.equal(await hub.delete(resources.configMap, now), true);
});

test("delete of what a finalizer holds is not done yet", async () => {
  const held = {
    ...map("held"),
    metadata: { name: "held", namespace, finalizers: ["example.com/x"] },
  };
  const { object } = await hub.apply(resources.configMap, held, { manager: "test" });
  assert.equal(await hub.delete(resources.configMap, object), false);
  await hub.mergePatch(
    resources.configMap,
    { namespace, name: "held" },
    { metadata: { finalizers: null } },
  );
});

test("replace under a stale version is a conflict", async () => {
  const { object } = await hub.apply(resources.configMap, map("cas"), { manager: "test" });
  await hub.replace(resources.configMap, { ...object, data: { k: "1" } });
  await assert.rejects(hub.replace(resources.configMap, { ...object, data: { k: "2" } }), {
    status: 409,
  });
});

test("discovery knows built-in kinds, custom kinds and their scope, and nothing else", async () => {
  const discovery = new Discovery(hub);
  assert.deepEqual(await discovery.find("v1", "ConfigMap"), resources.configMap);
  assert.deepEqual(await discovery.find("cluster.x-k8s.io/v1beta2", "Cluster"), resources.cluster);
  assert.equal(
    (await discovery.findPreferred("apiextensions.k8s.io", "CustomResourceDefinition"))?.namespaced,
    false,
  );
  assert.equal(await discovery.find("nosuch/v1", "Thing"), undefined);
  assert.equal(await discovery.find("authentication.k8s.io/v1", "TokenReview"), undefined);
});

test("discovery that was outgrown asks again for a kind that it does not know, and for all, and for no other", async () => {
  const asked: string[] = [];
  const counting = Object.assign(Object.create(hub) as typeof hub, {
    text: (path: string, options: Parameters<typeof hub.text>[1]) => {
      asked.push(path);
      return hub.text(path, options);
    },
  });
  const discovery = new Discovery(counting);
  const requests = async (work: () => Promise<unknown>) => {
    asked.length = 0;
    await work();
    return asked.length;
  };
  const knownKind = () => discovery.find("v1", "ConfigMap");
  discovery.outgrow();
  assert.equal(await requests(knownKind), 2);
  discovery.outgrow();
  assert.equal(await requests(knownKind), 0);
  assert.equal(await requests(() => discovery.find("nosuch/v1", "Thing")), 2);
  assert.equal(await requests(() => discovery.find("nosuch/v1", "Thing")), 0);
  discovery.outgrow();
  assert.equal(await requests(() => discovery.all()), 2);
  discovery.outgrow();
  assert.equal(await requests(() => discovery.findPreferred("", "ConfigMap")), 0);
  assert.equal(await requests(() => discovery.findPreferred("nosuch", "Thing")), 2);
  discovery.forget();
  assert.equal(await requests(knownKind), 2);
});

test("L2 the three ways in which an API server quotes a Secret stay unsaid", async () => {
  const secret = (fields: object): KubeObject => ({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { namespace, name: "leak" },
    ...fields,
  });
  await hub.apply(resources.secret, secret({ data: { a: "c2VjcmV0LWNhbmFyeQ==" } }), {
    manager: "test",
  });
  const leaks = [
    () =>
      hub.apply(resources.secret, secret({ stringData: { pw: 12345678 } }), { manager: "test" }),
    () =>
      hub.apply(resources.secret, secret({ data: { pw: "secret-canary!" } }), { manager: "test" }),
    () => hub.mergePatch(resources.secret, { namespace, name: "leak" }, { type: 5 }),
  ];
  for (const leak of leaks) {
    await assert.rejects(leak, (error: Error) => {
      assert.doesNotMatch(error.message, /12345678|secret-canary|c2VjcmV0/);
      return true;
    });
  }
});

test("a watch that is ended hundreds of times leaves the connection usable", async () => {
  const { resourceVersion } = await hub.list(resources.configMap, { namespace });
  for (let i = 0; i < 150; i++) {
    const stop = new AbortController();
    const watch = hub.watch(resources.configMap, {
      namespace,
      resourceVersion,
      idleMs: 60_000,
      timeoutSeconds: 60,
      signal: stop.signal,
    });
    const ended = watch.next().catch(() => undefined);
    if (i % 3 !== 0) await new Promise((resolve) => setTimeout(resolve, i % 3));
    stop.abort();
    await ended;
  }
  const answer = hub.get(
    resources.configMap,
    { namespace, name: "a" },
    { signal: AbortSignal.timeout(5_000) },
  );
  assert.equal((await answer)?.metadata.name, "a");
});

test("a Lease has one holder; it is free at once when given back", async () => {
  const lease = (identity: string) =>
    new LeaderLease(hub, {
      namespace,
      name: "lease",
      identity,
      monotonicMs: () => performance.now(),
      now: () => new Date(),
      failed: () => undefined,
    });
  const [a, b] = [lease("a"), lease("b")];
  const stopA = new AbortController();
  await a.acquire(AbortSignal.timeout(5_000));
  const holding = a.hold(stopA.signal);
  await assert.rejects(b.acquire(AbortSignal.timeout(3_000)));
  stopA.abort();
  assert.equal(await holding, "released");
  await b.acquire(AbortSignal.timeout(5_000));
  await until(
    async () =>
      JSON.stringify(
        (
          await hub.get(
            {
              group: "coordination.k8s.io",
              version: "v1",
              kind: "Lease",
              plural: "leases",
              namespaced: true,
            },
            { namespace, name: "lease" },
          )
        )?.["spec"],
      ).includes('"holderIdentity":"b"'),
    { deadlineMs: 5_000, what: "b to hold" },
  );
});
