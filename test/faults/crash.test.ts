import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { clusterKubeconfig } from "../../hack/lab/clusters.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { idOf, keyOf, labels, type KubeObject, type Resource } from "../../pkg/object/index.ts";
import {
  configMap,
  deleteNow,
  deployment,
  newCluster,
  resources,
  sharedHub,
  sharedLab,
  until,
} from "../harness/index.ts";
import { ApiProxy, auditOf, inventoryOf, lives, type Audit } from "./harness/index.ts";
import { MemberHub, type Wish } from "./harness/member-hub.ts";

const cluster = { namespace: "fleet", name: "crash" };
let hub: KubeClient;
let workload: KubeClient;
let proxy: ApiProxy;
let audit: Audit;

before(async () => {
  hub = await sharedHub();
  workload = (await newCluster(hub, cluster.name)).client;
  proxy = await ApiProxy.start({ kubeconfig: await clusterKubeconfig(hub, cluster) });
  audit = auditOf((await sharedLab()).dir, cluster.name);
});
after(async () => {
  await proxy.close();
  await workload.close();
  await hub.close();
});

const role = (name: string, kind = "ClusterRole") => ({
  apiVersion: "rbac.authorization.k8s.io/v1",
  kind,
  metadata: { name },
  ...(kind === "ClusterRole"
    ? { rules: [] }
    : {
        roleRef: {
          apiGroup: "rbac.authorization.k8s.io",
          kind: "ClusterRole",
          name,
        },
      }),
});
const secret = (name: string, k: string) => ({
  ...configMap(name),
  kind: "Secret",
  data: undefined,
  stringData: { k },
});
const base = (k: string) => [
  role("crash"),
  role("crash", "ClusterRoleBinding"),
  configMap("a", { k }),
  configMap("b", { k }),
  secret("s", k),
];
const app = (k: string) => [deployment("app"), configMap("c", { k }), configMap("d", { k })];
const layer = (name: string, inline: readonly object[], more: object = {}) => ({
  name,
  inline,
  ...more,
});
const v1 = [layer("base", base("1")), layer("app", app("1"), { dependsOn: ["base"] })];
const v2 = [
  layer("base", base("2").slice(0, 3)),
  layer("app", [...app("1"), secret("s", "1")], { dependsOn: ["base"] }),
];

const rbac = ["ClusterRole", "ClusterRoleBinding"].map((kind) => ({
  group: "rbac.authorization.k8s.io",
  version: "v1",
  kind,
  namespaced: false,
  plural: `${kind.toLowerCase()}s`,
}));
const kinds: readonly Resource[] = [
  resources.configMap,
  resources.secret,
  resources.deployment,
  ...rbac,
];

async function ours(): Promise<readonly KubeObject[]> {
  const lists = await Promise.all(
    kinds.map((kind) => workload.list(kind, { labelSelector: labels.owner, metadataOnly: true })),
  );
  return lists.flatMap(({ items }) => items);
}

/** The cluster as it was before anything of ours came. */
async function clean(): Promise<void> {
  const inventory = await workload.list(resources.configMap, { namespace: "capitan-system" });
  for (const { kind, metadata } of [...(await ours()), ...inventory.items]) {
    const resource = kinds.find((one) => one.kind === kind) ?? resources.configMap;
    await deleteNow(workload, resource, metadata);
  }
}

/** One controller's life until there is nothing more to do, or until the link is cut under it. */
async function live(members: MemberHub): Promise<void> {
  const controller = members.start();
  try {
    await until(
      async () => {
        const before = proxy.writes;
        await controller.pass();
        if (proxy.isCut) return true;
        if (!members.isReady) throw new Error(members.said);
        return proxy.writes === before;
      },
      { deadlineMs: 30_000, what: "the controller to come to rest", everyMs: 1 },
    );
  } finally {
    await controller.stop();
  }
}

type Story = readonly [name: string, before: Wish, after: Wish];
const stories: readonly Story[] = [
  ["install", {}, { one: v1 }],
  ["upgrade", { one: v1 }, { one: v2 }],
  ["removal of a layer", { one: v1 }, { one: v1.slice(0, 1) }],
  [
    "move of a layer to another Fleet",
    { one: v1, two: [layer("own", [configMap("own")])] },
    { one: v1.slice(0, 1), two: [layer("own", [configMap("own")]), layer("app", app("1"))] },
  ],
  ["uninstall", { one: v1 }, { one: undefined }],
];

/** From `before` to `after`, with a crash after the n-th write, or none. Gives what came and went, and how many writes it took. */
async function play([, first, then]: Story, crash: { n: number; lose: boolean } | undefined) {
  await clean();
  const members = new MemberHub(proxy.kubeconfig());
  members.want(first);
  if (Object.keys(first).length > 0) await live(members);
  members.want(then);
  const mark = await audit.mark();
  const writes = proxy.writes;
  let isCut = false;
  if (crash !== undefined) {
    const cut = proxy.cutAfterWrites(crash.n, { loseLastReply: crash.lose });
    await live(members);
    // Batches may need a write less than in the undisturbed run: then nothing was cut.
    isCut = proxy.writes - writes >= crash.n;
    if (isCut) await cut;
    proxy.restore();
  }
  await live(members);
  const entries = (await audit.since(mark)).filter((e) => e.userAgent === "capitan-controller");
  const own = entries.filter((entry) => entry.namespace !== "capitan-system");
  const found = await ours();
  assert.deepEqual(
    [...(await inventoryOf(workload)).keys()].sort(),
    found.map((object) => keyOf(idOf(object))).sort(),
  );
  return {
    writes: proxy.writes - writes,
    isCut,
    lives: lives(own.filter(({ name }) => name !== "capitan-system")),
    end: found
      .map(
        ({ kind, metadata }) => `${kind}/${metadata.name} ${metadata.labels?.[labels.owner] ?? ""}`,
      )
      .sort(),
  };
}

for (const story of stories) {
  for (const lose of [false, true]) {
    const how = lose ? "C2 ... whose reply is lost" : "C1 C3 C4 C5 R6";
    test(`${how}: ${story[0]}: the link is cut after every single write, on a real API server; same end, same creates and deletes, exact inventory`, async (t) => {
      const reference = await play(story, undefined);
      const objects = new Set(
        Object.values({ ...story[1], ...story[2] })
          .flatMap((layers) => layers ?? [])
          .flatMap((one) => (one as { inline: readonly object[] }).inline)
          .map((object) => keyOf(idOf(object as KubeObject))),
      ).size;
      let cuts = 0;
      for (let n = 1; n < reference.writes; n++) {
        const crashed = await play(story, { n, lose });
        if (crashed.isCut) cuts += 1;
        assert.deepEqual(crashed.end, reference.end, `after write ${n}`);
        assert.deepEqual(crashed.lives, reference.lives, `after write ${n}`);
      }
      t.diagnostic(`N = ${reference.writes} writes, cut after ${cuts}`);
      assert.ok(cuts >= reference.writes - 2, `cut only ${cuts} times`);
      if (story[0] === "install" || story[0] === "uninstall")
        assert.ok(reference.writes >= objects);
    });
  }
}

test("the inventory is deleted and one Fleet begins a new one: the other finds what it had all the same, once it can look", async () => {
  await clean();
  const members = new MemberHub(proxy.kubeconfig());
  const two = [layer("l", [configMap("b")])];
  members.want({
    one: [layer("l", [configMap("a")])],
    two: [layer("l", [configMap("b"), role("crash")])],
  });
  await live(members);
  const { items } = await workload.list(resources.configMap, { namespace: "capitan-system" });
  for (const { metadata } of items) await deleteNow(workload, resources.configMap, metadata);
  members.want({ two });
  members.loseRevision("two");
  const controller = members.start();
  await controller.pass();
  await controller.stop();
  assert.match(members.said, /two: RevisionNotFound/);
  assert.ok((await inventoryOf(workload)).has("/ConfigMap/default/a"));
  members.want({ two });
  await live(members);
  const left = ["/ConfigMap/default/a", "/ConfigMap/default/b"];
  assert.deepEqual((await ours()).map((object) => keyOf(idOf(object))).sort(), left);
  assert.deepEqual([...(await inventoryOf(workload)).keys()].sort(), left);
});
