// What went wrong in other fleet managers, replayed here: fleet-managers.md, "Deletion, orphans, blast radius".
import assert from "node:assert/strict";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test, type TestContext } from "node:test";
import { clientOf } from "../../hack/lab/apiserver.ts";
import { clusterKubeconfig, deleteCluster, type ClusterName } from "../../hack/lab/clusters.ts";
import { startController } from "../../hack/lab/controller.ts";
import { startLab, stopLab } from "../../hack/lab/lab.ts";
import { assertAlive, relaunch, stop } from "../../hack/lab/processes.ts";
import { silent } from "../../hack/lab/progress.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import type { FleetMember } from "../../pkg/api/index.ts";
import { controllerAccount } from "../../pkg/install/index.ts";
import { asList, asMap, asString, encodeJson, parseJson } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { annotations, type KubeObject, type Resource } from "../../pkg/object/index.ts";
import { pushFiles } from "../harness/artifacts.ts";
import {
  applyFleet,
  configMap,
  deleteNow,
  deployment,
  fleetHas,
  fleetOf,
  fleetReady,
  inline,
  memberHas,
  memberOf,
  namespace,
  newCluster,
  resources,
  sharedHub,
  sharedLab,
  until,
} from "../harness/index.ts";
import {
  ApiProxy,
  auditOf,
  isLease,
  ofTheLab,
  swapKubeconfig,
  writes,
  type Audit,
  type AuditEntry,
  inventoryOf,
} from "./harness/index.ts";

/** A real workload cluster of these tests. */
type Site = { readonly name: ClusterName; readonly client: KubeClient; readonly audit: Audit };

let lab: LabFile;
let hub: KubeClient;
let one: Site;
let two: Site;

before(async () => {
  lab = await sharedLab();
  hub = await sharedHub();
  [one, two] = await Promise.all([site("up-1"), site("up-2")]);
});
after(async () => {
  await one.client.close();
  await two.client.close();
  await hub.close();
});

async function site(name: string): Promise<Site> {
  return { ...(await newCluster(hub, name)), audit: auditOf(lab.dir, name) };
}

const inDefault = (name: string) => ({ namespace: "default", name });
const soon = (what: string, deadlineMs = 30_000) => ({ what, deadlineMs });
const map = (name: string, k = "v") => configMap(name, { k });

async function valueOf({ client }: Pick<Site, "client">, name: string): Promise<unknown> {
  return asMap((await client.get(resources.configMap, inDefault(name)))?.["data"])["k"];
}
const becomes = (where: Pick<Site, "client">, name: string, value: string | undefined) =>
  until(
    async () => (await valueOf(where, name)) === value,
    soon(`${name} to be ${value ?? "gone"}`),
  );

/** A while in which something could happen that must not. */
async function quiet(ms: number): Promise<void> {
  const endMs = performance.now() + ms;
  await until(() => performance.now() > endMs, soon("the quiet window"));
}

/** On the hub, other files of tests have Fleets of their own meanwhile. */
const ofOthers = ({ resource, name }: AuditEntry) =>
  resource.startsWith("fleet") && !/^(up|argo)\b/.test(name);

/** What Capitan deleted, or tried to. */
const deletes = (entries: readonly AuditEntry[]) =>
  writes(entries, { except: [isLease, ofTheLab, ofOthers] }).filter(({ verb }) =>
    verb.startsWith("delete"),
  );

async function nothingDeleted(work: () => Promise<void>, ...audits: Audit[]): Promise<void> {
  const marks = await Promise.all(audits.map((audit) => audit.mark()));
  await work();
  for (const [i, audit] of audits.entries())
    assert.deepEqual(deletes(await audit.since(marks[i] ?? 0)), []);
}

async function membersOf(client: KubeClient, fleet: string): Promise<readonly FleetMember[]> {
  const { items } = await client.list(resources.fleetMember, { namespace });
  const members = items as unknown as readonly FleetMember[];
  return members.filter(({ spec }) => spec.fleetRef.name === fleet);
}

/** A Cluster without infrastructure, which never gets initialized. */
async function fakeCluster(client: KubeClient, name: string): Promise<void> {
  const ref = (group: string, kind: string) => ({
    apiGroup: `${group}.cluster.x-k8s.io`,
    kind,
    name: `${name}-x`,
  });
  const spec = {
    infrastructureRef: ref("infrastructure", "LabCluster"),
    controlPlaneRef: ref("controlplane", "LabControlPlane"),
  };
  const metadata = { namespace, name, labels: { cluster: name } };
  const cluster = { apiVersion: "cluster.x-k8s.io/v1beta2", kind: "Cluster", metadata, spec };
  await client.apply(resources.cluster, cluster, { manager: "test" });
}

// argo-cd#18480, #18780: the list of clusters fails, or is empty by mistake.

type Upstream = {
  readonly lab: LabFile;
  readonly hub: KubeClient;
  readonly site: Site;
  /** Between the controller and its hub. */
  readonly proxy: ApiProxy;
};

/** A laboratory whose controller reaches its hub through a proxy. It ends with the test. */
async function behindProxy(t: TestContext): Promise<Upstream> {
  const dir = join(await mkdtemp(join(tmpdir(), "capitan-upstream-")), "lab");
  t.after(() => stopLab(dir));
  const own = await startLab({ dir, progress: silent, audit: true });
  await startController(own);
  await stop(dir, "controller");
  const proxy = await ApiProxy.start({ kubeconfig: await readFile(own.hubKubeconfig, "utf8") });
  t.after(() => proxy.close());
  // With the rights of its own token, which the proxy forwards.
  const file = join(dir, controllerAccount, "kubeconfig");
  const [user] = asList(asMap(parseJson(await readFile(file, "utf8")))["users"]);
  const token = asString(asMap(asMap(user)["user"])["token"]) ?? "";
  await writeFile(file, proxy.kubeconfig({ token }));
  await restarted(own);
  const client = await clientOf(own.hubKubeconfig);
  t.after(() => client.close());
  const made = await newCluster(client, "argo-1");
  t.after(() => made.client.close());
  return { lab: own, hub: client, proxy, site: { ...made, audit: auditOf(dir, "argo-1") } };
}

/** Ends the controller when it runs, and starts another; returns when it serves. */
async function restarted({ dir, ports }: LabFile): Promise<void> {
  await stop(dir, "controller");
  await relaunch(dir, "controller");
  await until(async () => {
    await assertAlive(dir, "controller");
    return (await fetch(`http://127.0.0.1:${ports.controllerMetrics}/readyz`)).ok;
  }, soon("the controller"));
}

const listOfClusters = { method: "GET", path: /\/clusters$/, watch: false } as const;
const lies = {
  empty: (proxy: ApiProxy) =>
    proxy.on({ ...listOfClusters, times: 1 }).body((body) => {
      const list = asMap(parseJson(body));
      return encodeJson({ ...list, items: [] });
    }),
  failed: (proxy: ApiProxy) => proxy.on({ ...listOfClusters, times: 4 }).status(500),
};

/** Makes the controller list Clusters anew: its watch tells it something that it cannot read. */
const relist = (proxy: ApiProxy) =>
  proxy.on({ path: /\/clusters$/, watch: true }).poison('{"type":"ADDED"');

/** Tells the lie to a controller that starts, or to one that runs, and then the truth. */
async function tell(
  { lab: own, proxy }: Upstream,
  lie: keyof typeof lies,
  moment: "starts" | "runs",
): Promise<void> {
  const rule = lies[lie](proxy);
  if (moment === "starts") await restarted(own);
  else relist(proxy);
  await until(() => rule.hits >= 1, soon("the lie to be told"));
  // Long enough for a controller that believes it: a Fleet's events are gathered for 100 ms.
  await quiet(8_000);
  rule.remove();
}

test("argo-cd#18480 and #18780 the list of Clusters fails or is empty: no member is removed, nothing is deleted anywhere", async (t) => {
  const upstream = await behindProxy(t);
  const { hub: own, site: where, proxy } = upstream;
  const others = ["argo-2", "argo-3", "argo-4", "argo-5"];
  for (const name of others) await fakeCluster(own, name);
  const clusterSelector = { matchExpressions: [{ key: "cluster", operator: "Exists" }] };
  const apply = (k: string) =>
    applyFleet(own, "argo", "", [inline("l", [map("a"), map("b", k), deployment("d")])], {
      clusterSelector,
    });
  await apply("v");
  await memberHas(own, "argo", "argo-1", "ReconciliationSucceeded");
  for (const name of others) await memberHas(own, "argo", name, "ControlPlaneNotInitialized");
  const uids = async () =>
    (await membersOf(own, "argo")).map(({ metadata, spec }) => `${metadata.uid} ${spec.state}`);
  const before = await uids();
  assert.equal(before.length, 5);
  const cases = (["empty", "failed"] as const).flatMap((lie) =>
    (["starts", "runs"] as const).map((moment) => ({ lie, moment })),
  );
  for (const [i, { lie, moment }] of cases.entries()) {
    await t.test(`the list is ${lie} once when the controller ${moment}`, () =>
      nothingDeleted(
        async () => {
          await tell(upstream, lie, moment);
          assert.deepEqual(await uids(), before);
          relist(proxy);
          // With the truth it goes on: an update and drift reach the cluster.
          await apply(`u${i}`);
          await becomes(where, "b", `u${i}`);
          const drift = { data: { k: "spoiled" } };
          await where.client.mergePatch(resources.configMap, inDefault("a"), drift);
          await becomes(where, "a", "v");
          assert.deepEqual(await uids(), before);
        },
        auditOf(upstream.lab.dir, "hub"),
        where.audit,
      ),
    );
  }
});

// addon-controller#1218: one bad commit deletes everything on all clusters.

const five = ["up-1", "up-2", "up-3", "up-4", "up-5"];
const onFive = {
  clusterSelector: { matchExpressions: [{ key: "cluster", operator: "In", values: five }] },
};
const whole = (prefix: string) => [
  inline("base", [map(`${prefix}-a`), map(`${prefix}-b`)]),
  inline("app", [map(`${prefix}-c`)], { dependsOn: ["base"] }),
];

/** A Fleet on five clusters, two of them real, Ready there. */
async function onAllFive(t: TestContext, fleet: string): Promise<void> {
  const fakes = five.slice(2);
  t.after(async () => {
    await Promise.all(fakes.map((name) => deleteCluster(hub, { namespace, name })));
    await withdrawn(fleet);
  });
  for (const name of fakes) await fakeCluster(hub, name);
  await applyFleet(hub, fleet, "", whole(fleet), onFive);
  for (const { name } of [one, two])
    await memberHas(hub, fleet, name.name, "ReconciliationSucceeded");
  await until(async () => (await membersOf(hub, fleet)).length === 5, soon("five members"));
}

async function withdrawn(name: string): Promise<void> {
  const live = await fleetOf(hub, name);
  if (live === undefined) return;
  await deleteNow(hub, resources.fleet, { namespace, name });
  await until(
    async () => (await fleetOf(hub, name)) === undefined,
    soon(`Fleet ${name} to go`, 60_000),
  );
}

const approve = (fleet: string, approval: string) =>
  hub.mergePatch(
    resources.fleet,
    { namespace, name: fleet },
    { metadata: { annotations: { [annotations.approveRemoval]: approval } } },
  );

/** Commits something bad; nothing goes, not with a wrong approval either. Gives the right one. */
async function heldBack(fleet: string, commit: () => Promise<unknown>): Promise<string> {
  const said = { approval: "" };
  const states = async () =>
    (await membersOf(hub, fleet)).map(({ metadata, spec }) => `${metadata.uid} ${spec.state}`);
  const before = await states();
  await nothingDeleted(
    async () => {
      await commit();
      const { message } = await fleetHas(hub, fleet, "RemovalNeedsApproval");
      said.approval = /capitan\.dev\/approve-removal=([0-9a-f]{16})/.exec(message)?.[1] ?? "";
      assert.notEqual(said.approval, "", message);
      await approve(fleet, "0123456789abcdef");
      await quiet(5_000);
      await fleetHas(hub, fleet, "RemovalNeedsApproval");
      assert.deepEqual(await states(), before);
      for (const where of [one, two])
        for (const name of ["a", "b", "c"])
          assert.equal(await valueOf(where, `${fleet}-${name}`), "v");
    },
    auditOf(lab.dir, "hub"),
    one.audit,
    two.audit,
  );
  return said.approval;
}

test("addon-controller#1218 a commit by which a Fleet selects nothing deletes nothing, until exactly that is approved", async (t) => {
  await onAllFive(t, "up-none");
  const clusterSelector = { matchLabels: { cluster: "up-none" } };
  const approval = await heldBack("up-none", () =>
    applyFleet(hub, "up-none", "", whole("up-none"), { clusterSelector }),
  );
  await approve("up-none", approval);
  await until(async () => (await membersOf(hub, "up-none")).length === 0, soon("all to leave"));
  for (const where of [one, two])
    for (const name of ["a", "b", "c"])
      assert.equal(await valueOf(where, `up-none-${name}`), undefined);
});

test("addon-controller#1218 a commit that leaves one tiny layer deletes nothing, until exactly that is approved", async (t) => {
  await onAllFive(t, "up-tiny");
  const tiny = [inline("tiny", [map("up-tiny-t")])];
  const approval = await heldBack("up-tiny", () => applyFleet(hub, "up-tiny", "", tiny, onFive));
  assert.equal(await valueOf(one, "up-tiny-t"), undefined);
  await approve("up-tiny", approval);
  for (const where of [one, two]) {
    await becomes(where, "up-tiny-t", "v");
    for (const name of ["a", "b", "c"]) await becomes(where, `up-tiny-${name}`, undefined);
  }
});

// karmada#6098: an outdated kubeconfig and an upgrade at the same time delete custom resources.

const thing = (version: string): Resource => ({
  group: "up.example.com",
  version,
  kind: "Thing",
  plural: "things",
  namespaced: true,
});
const definition = (versions: readonly string[], storage: string): object => ({
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "things.up.example.com" },
  spec: {
    group: "up.example.com",
    scope: "Namespaced",
    names: {
      plural: "things",
      singular: "thing",
      kind: "Thing",
      listKind: "ThingList",
    },
    versions: versions.map((name) => ({
      name,
      served: true,
      storage: name === storage,
      schema: {
        openAPIV3Schema: {
          type: "object",
          "x-kubernetes-preserve-unknown-fields": true,
        },
      },
    })),
  },
});
const crds: Resource = {
  group: "apiextensions.k8s.io",
  version: "v1",
  kind: "CustomResourceDefinition",
  plural: "customresourcedefinitions",
  namespaced: false,
};
const thingNamed = (name: string, version: string) => ({
  apiVersion: `up.example.com/${version}`,
  kind: "Thing",
  metadata: inDefault(name),
  spec: { version },
});

/** Names and uids of all things on a cluster. */
async function things({ client }: Site): Promise<readonly string[]> {
  const { items } = await client.list(thing("v1beta1"));
  return items.map(({ metadata }) => `${metadata.name} ${metadata.uid ?? ""}`).sort();
}

const upgrade = (versions: readonly string[], at: string) => [
  inline("definitions", [definition(versions, at)]),
  inline("things", [thingNamed("ours-a", at), thingNamed("ours-b", at)], {
    dependsOn: ["definitions"],
    wait: false,
  }),
];
const onClusters = (...values: readonly string[]) => ({
  clusterSelector: { matchExpressions: [{ key: "cluster", operator: "In", values }] },
});
const oldLayers = upgrade(["v1beta1"], "v1beta1");
const newLayers = upgrade(["v1beta1", "v1"], "v1");

async function isUpgraded({ client }: Site): Promise<boolean> {
  const found = await client.get(thing("v1"), inDefault("ours-a"));
  return asMap(found?.["spec"])["version"] === "v1";
}

/** Withdraws a Fleet that brought the definition of things; that is left behind, and then deleted here. */
async function forgotten(
  fleet: string,
  between: () => Promise<void> = async () => {},
): Promise<void> {
  const leave = { spec: { deletionPolicy: "Orphan" } };
  await hub.mergePatch(resources.fleet, { namespace, name: fleet }, leave);
  await between();
  await withdrawn(fleet);
  for (const { client } of [one, two])
    await deleteNow(client, crds, { name: "things.up.example.com" });
}

/** Somebody's own things on both clusters, beside ours. Gives names and uids of all. */
async function bothWithThings(): Promise<readonly (readonly string[])[]> {
  for (const { client } of [one, two])
    await client.apply(thing("v1beta1"), thingNamed("theirs", "v1beta1"), { manager: "somebody" });
  const all = [await things(one), await things(two)];
  assert.deepEqual(
    all.map((found) => found.length),
    [3, 3],
  );
  return all;
}

test("karmada#6098 a kubeconfig that leads elsewhere and an upgrade at the same time: no custom resource is deleted anywhere", async (t) => {
  const both = onClusters("up-1", "up-2");
  await applyFleet(hub, "up-crd", "", oldLayers, both);
  await fleetReady(hub, "up-crd");
  const before = await bothWithThings();
  await nothingDeleted(
    async () => {
      const [restore] = await Promise.all([
        swapKubeconfig(hub, one.name, await clusterKubeconfig(hub, two.name)),
        applyFleet(hub, "up-crd", "", newLayers, both),
      ]);
      t.after(restore);
      await until(() => isUpgraded(two), soon("the upgrade of the second cluster"));
      await memberHas(hub, "up-crd", one.name.name, "KubeconfigMismatch");
      await quiet(8_000);
      assert.deepEqual([await things(one), await things(two)], before);
      await restore();
      await until(() => isUpgraded(one), soon("the upgrade of the first cluster"));
      await fleetReady(hub, "up-crd");
      assert.deepEqual([await things(one), await things(two)], before);
    },
    one.audit,
    two.audit,
  );
  await forgotten("up-crd");
});

test("karmada#6098 a cluster leaves its Fleet while its kubeconfig leads to another cluster of that Fleet: no custom resource is deleted there", async (t) => {
  // The first one's sequence number is the higher one, so that it alone says nothing of the mix-up.
  for (const layers of [oldLayers, newLayers, [...newLayers, inline("more", [map("up-more")])]]) {
    await applyFleet(hub, "up-leave", "", layers, onClusters("up-1"));
    await fleetReady(hub, "up-leave");
  }
  await applyFleet(hub, "up-leave", "", newLayers, onClusters("up-1", "up-2"));
  await memberHas(hub, "up-leave", "up-2", "ReconciliationSucceeded");
  await fleetReady(hub, "up-leave");
  const before = await bothWithThings();
  let restore = async () => {};
  await nothingDeleted(
    async () => {
      const outdated = await clusterKubeconfig(hub, two.name);
      restore = await swapKubeconfig(hub, one.name, outdated);
      t.after(restore);
      await applyFleet(hub, "up-leave", "", newLayers, onClusters("up-2"));
      await quiet(8_000);
      assert.deepEqual([await things(one), await things(two)], before);
    },
    one.audit,
    two.audit,
  );
  await forgotten("up-leave", () => restore());
});

// kustomize-controller#1664: after a broken build an object falls out of the inventory for ever.

const admission = (kind: string, plural: string): Resource => ({
  group: "admissionregistration.k8s.io",
  version: "v1",
  kind,
  plural,
  namespaced: false,
});
const policies = admission("ValidatingAdmissionPolicy", "validatingadmissionpolicies");
const bindings = admission("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings");

/** Nobody may delete ConfigMaps with this prefix. Resolves when that is so; gives what ends it. */
async function denyDelete({ client }: Site, prefix: string): Promise<() => Promise<void>> {
  const apiVersion = "admissionregistration.k8s.io/v1";
  const metadata = { name: prefix };
  const rule = { apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"] };
  const spec = {
    matchConstraints: { resourceRules: [{ ...rule, operations: ["DELETE"] }] },
    validations: [
      { expression: `!oldObject.metadata.name.startsWith('${prefix}')`, message: "it must stay" },
    ],
  };
  const manager = { manager: "somebody" };
  await client.apply(policies, { apiVersion, kind: policies.kind, metadata, spec }, manager);
  const bound = { policyName: prefix, validationActions: ["Deny"] };
  const binding = { apiVersion, kind: bindings.kind, metadata, spec: bound };
  await client.apply(bindings, binding, manager);
  const probe = map(`${prefix}-probe`) as KubeObject;
  await until(async () => {
    const { object } = await client.apply(resources.configMap, probe, manager);
    return client.delete(resources.configMap, object).then(
      () => false,
      () => true,
    );
  }, soon("the policy to be in force"));
  return async () => {
    await deleteNow(client, bindings, metadata);
    await deleteNow(client, policies, metadata);
  };
}

test("kustomize-controller#1664 a broken artifact, then one that lacks an object whose DELETE is denied: it stays in the inventory, and goes when it may", async (t) => {
  t.after(() => withdrawn("up-kc"));
  const url = `oci://${lab.registry}/up/kc`;
  const yaml = (name: string, k: string) => JSON.stringify(map(name, k));
  const key = "/ConfigMap/default/up-kc-old";
  await pushFiles(url, { "a.yaml": yaml("up-kc-a", "1"), "old.yaml": yaml("up-kc-old", "1") });
  const layers = [{ name: "l", oci: { url, insecure: true } }];
  await applyFleet(hub, "up-kc", "up-1", layers, { interval: "1s" });
  await fleetReady(hub, "up-kc");
  assert.ok((await inventoryOf(one.client)).has(key));
  const allow = await denyDelete(one, "up-kc-old");
  await pushFiles(url, { "a.yaml": yaml("up-kc-a", "2"), "old.yaml": "data: [" });
  await fleetHas(hub, "up-kc", "ManifestInvalid");
  assert.ok((await inventoryOf(one.client)).has(key));
  assert.equal(await valueOf(one, "up-kc-a"), "1", "nothing of the broken one was applied");
  await pushFiles(url, { "a.yaml": yaml("up-kc-a", "3") });
  const member = await memberHas(hub, "up-kc", "up-1", "RemovalBlocked");
  await becomes(one, "up-kc-a", "3");
  assert.equal(member.status?.objects, 2);
  // Broken and fixed once more while it is held: it is not forgotten.
  await pushFiles(url, { "a.yaml": "data: [" });
  await fleetHas(hub, "up-kc", "ManifestInvalid");
  await pushFiles(url, { "a.yaml": yaml("up-kc-a", "4") });
  await becomes(one, "up-kc-a", "4");
  await memberHas(hub, "up-kc", "up-1", "RemovalBlocked");
  assert.ok((await inventoryOf(one.client)).has(key));
  assert.equal(await valueOf(one, "up-kc-old"), "1");
  await allow();
  await becomes(one, "up-kc-old", undefined);
  await fleetReady(hub, "up-kc");
  assert.equal((await inventoryOf(one.client)).has(key), false);
  assert.equal((await memberOf(hub, "up-kc", "up-1"))?.status?.objects, 1);
});
