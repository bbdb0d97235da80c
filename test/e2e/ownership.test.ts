import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { clusterKubeconfig } from "../../hack/lab/clusters.ts";
import { serverDir } from "../../hack/lab/apiserver.ts";
import { kubeconfigOf, newAuthority } from "../../hack/lab/pki.ts";
import { conditionOf } from "../../pkg/api/index.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import type { KubeObject, Resource } from "../../pkg/object/index.ts";
import { describes, ownershipCodes, seen } from "../harness/codes.ts";
import {
  applyFleet,
  capitan,
  configMap,
  deleteNow,
  deployment,
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

let hub: KubeClient;
let workload: KubeClient;

before(async () => {
  hub = await sharedHub();
  workload = (await newCluster(hub, "own-1")).client;
});
after(async () => {
  await workload.close();
  await retireClusters(hub, "own-");
  await hub.close();
});

const inDefault = (name: string) => ({ namespace: "default", name });
const valueOf = async (name: string, client = workload) =>
  asMap((await client.get(resources.configMap, inDefault(name)))?.["data"])["k"];
const becomes = (name: string, value: string, client = workload) =>
  until(async () => (await valueOf(name, client)) === value, {
    deadlineMs: 20_000,
    what: `ConfigMap ${name} to be ${value}`,
  });
const setValue = (name: string, k: string, client = workload) =>
  client.mergePatch(resources.configMap, inDefault(name), { data: { k } }, { manager: "somebody" });

test("ManagedElsewhere: what Helm manages is left alone until the layer says adopt; then it is released, not deleted", async () => {
  const theirs = {
    ...configMap("helms", { k: "theirs" }),
    metadata: {
      ...inDefault("helms"),
      annotations: { "meta.helm.sh/release-name": "shop" },
    },
  } as unknown as KubeObject;
  await workload.apply(resources.configMap, theirs, { manager: "helm" });
  await applyFleet(hub, "own-helm", "own-1", [inline("l", [configMap("helms", { k: "ours" })])]);
  const member = await memberHas(hub, "own-helm", "own-1", "ManagedElsewhere");
  const message = conditionOf(member.status?.conditions, "Ready")?.message ?? "";
  assert.match(message, /ConfigMap\/default\/helms is managed by Helm release shop/);
  await describes(["member", "own-1", "--fleet", "own-helm"], "ManagedElsewhere");
  assert.equal(await valueOf("helms"), "theirs");
  const adopt = [inline("l", [configMap("helms", { k: "ours" })], { adopt: true })];
  await applyFleet(hub, "own-helm", "own-1", adopt);
  await fleetReady(hub, "own-helm");
  assert.equal(await valueOf("helms"), "ours");
  await applyFleet(hub, "own-helm", "own-1", [inline("other", [configMap("beside")])]);
  await fleetReady(hub, "own-helm");
  const released = await workload.get(resources.configMap, inDefault("helms"));
  assert.equal(released?.metadata.labels?.["capitan.dev/owner"], undefined);
  assert.notEqual(released, undefined);
});

test("ManagedElsewhere: also in a Namespace that the layer brings and that is there already", async () => {
  const space = { apiVersion: "v1", kind: "Namespace", metadata: { name: "own-space" } };
  const metadata = { name: "helms", namespace: "own-space" };
  const annotations = { "meta.helm.sh/release-name": "shop" };
  const ours = { apiVersion: "v1", kind: "ConfigMap", metadata, data: { k: "ours" } };
  const theirs = { ...ours, metadata: { ...metadata, annotations }, data: { k: "theirs" } };
  await workload.apply(resources.namespace, space, { manager: "kubectl" });
  await workload.apply(resources.configMap, theirs, { manager: "helm" });
  await applyFleet(hub, "own-space", "own-1", [inline("l", [space, ours])]);
  const member = await memberHas(hub, "own-space", "own-1", "ManagedElsewhere");
  const message = conditionOf(member.status?.conditions, "Ready")?.message ?? "";
  assert.match(message, /ConfigMap\/own-space\/helms is managed by Helm release shop/);
});

test("FluxManagedElsewhere: a Flux that somebody else installed is left alone", async () => {
  const { registry } = await sharedLab();
  const { pushFiles } = await import("../harness/artifacts.ts");
  const labels = { "app.kubernetes.io/part-of": "flux" };
  const controller = deployment("source-controller") as KubeObject;
  const theirs = { ...controller, metadata: { ...controller.metadata, labels } };
  await workload.apply(resources.deployment, theirs, { manager: "kubectl" });
  const url = `oci://${registry}/own/flux`;
  await pushFiles(`${url}:v2.9.0`, { "a.yaml": JSON.stringify(theirs) });
  const flux = (more: object = {}) => [
    {
      name: "flux",
      wait: false,
      flux: { version: "2.9.0", artifact: { url, insecure: true }, ...more },
    },
  ];
  await applyFleet(hub, "own-flux", "own-1", flux());
  await memberHas(hub, "own-flux", "own-1", "FluxManagedElsewhere");
  await describes(["member", "own-1", "--fleet", "own-flux"], "FluxManagedElsewhere");
  await applyFleet(hub, "own-flux", "own-1", flux({ adopt: true }));
  await fleetReady(hub, "own-flux");
});

const policyResource = (kind: string): Resource => ({
  group: "admissionregistration.k8s.io",
  version: "v1",
  kind,
  namespaced: false,
  plural: `${kind.toLowerCase().replace(/y$/, "ie")}s`,
});

test("OwnerLabelStripped: a policy that takes our label off is reported, not fought", async () => {
  const expression = "[JSONPatch{op: 'remove', path: '/metadata/labels/capitan.dev~1owner'}]";
  const policy = {
    matchConstraints: {
      resourceRules: [
        {
          apiGroups: [""],
          apiVersions: ["v1"],
          resources: ["configmaps"],
          operations: ["CREATE", "UPDATE"],
        },
      ],
    },
    matchConditions: [{ name: "only", expression: "object.metadata.name == 'stripped'" }],
    failurePolicy: "Fail",
    reinvocationPolicy: "Never",
    mutations: [{ patchType: "JSONPatch", jsonPatch: { expression } }],
  };
  const group = "admissionregistration.k8s.io/v1";
  await workload.apply(
    policyResource("MutatingAdmissionPolicy"),
    {
      apiVersion: group,
      kind: "MutatingAdmissionPolicy",
      metadata: { name: "strip" },
      spec: policy,
    },
    { manager: "test" },
  );
  await workload.apply(
    {
      ...policyResource("MutatingAdmissionPolicyBinding"),
      plural: "mutatingadmissionpolicybindings",
    },
    {
      apiVersion: group,
      kind: "MutatingAdmissionPolicyBinding",
      metadata: { name: "strip" },
      spec: { policyName: "strip" },
    },
    { manager: "test" },
  );
  const probe = {
    ...configMap("stripped"),
    metadata: { ...inDefault("stripped"), labels: { "capitan.dev/owner": "probe" } },
  } as unknown as KubeObject;
  await until(
    async () => {
      const { object } = await workload.apply(resources.configMap, probe, { manager: "probe" });
      return object.metadata.labels?.["capitan.dev/owner"] === undefined;
    },
    { deadlineMs: 20_000, what: "the policy to be in force", everyMs: 200 },
  );
  await applyFleet(hub, "own-strip", "own-1", [inline("l", [configMap("stripped", { k: "v" })])]);
  await memberHas(hub, "own-strip", "own-1", "OwnerLabelStripped");
  await describes(["member", "own-1", "--fleet", "own-strip"], "OwnerLabelStripped");
});

test("RepairRefused: drift that apply cannot undo is reported with field and reason", async () => {
  await applyFleet(hub, "own-refused", "own-1", [inline("l", [configMap("frozen", { k: "v" })])]);
  await fleetReady(hub, "own-refused");
  const live = await workload.get(resources.configMap, inDefault("frozen"));
  assert.ok(live !== undefined);
  await workload.delete(resources.configMap, live);
  const { labels = {} } = live.metadata;
  const frozen = {
    apiVersion: "v1",
    kind: "ConfigMap",
    immutable: true,
    data: { k: "other" },
    metadata: {
      ...inDefault("frozen"),
      labels,
    },
  };
  // Capitan may be faster: then it is deleted and made again.
  await until(
    async () => {
      const now = await workload.get(resources.configMap, inDefault("frozen"));
      if (now?.["immutable"] === true) return true;
      if (now !== undefined) await workload.delete(resources.configMap, now);
      await workload.create(resources.configMap, frozen);
      return true;
    },
    { deadlineMs: 20_000, what: "the immutable copy to be there", everyMs: 5 },
  );
  const member = await memberHas(hub, "own-refused", "own-1", "RepairRefused");
  const message = conditionOf(member.status?.conditions, "Ready")?.message ?? "";
  assert.match(message, /ConfigMap\/default\/frozen: HTTP 422 .*immutable/);
  await describes(["member", "own-1", "--fleet", "own-refused"], "RepairRefused");
});

test("E11 FieldConflict: a writer that takes a field back again and again is named, and repairs pause", async () => {
  await applyFleet(hub, "own-fight", "own-1", [inline("l", [configMap("fought", { k: "ours" })])]);
  await fleetReady(hub, "own-fight");
  const ready = async () =>
    conditionOf((await memberOf(hub, "own-fight", "own-1"))?.status?.conditions, "Ready");
  let rounds = 0;
  await until(
    async () => {
      if ((await valueOf("fought")) === "ours") {
        rounds += 1;
        await workload.mergePatch(
          resources.configMap,
          inDefault("fought"),
          { data: { k: "theirs" } },
          { manager: "rival" },
        );
      }
      const said = await ready();
      if (said?.reason !== "FieldConflict") return false;
      assert.match(said.message, /fought \.data\.k was taken by manager rival again/);
      // The pause may be over while it is asked: then once more.
      await describes(["member", "own-1", "--fleet", "own-fight"], "FieldConflict");
      return true;
    },
    { deadlineMs: 60_000, what: "FieldConflict", everyMs: 20 },
  );
  assert.ok(rounds <= 12, `${rounds} rounds`);
});

test("ClusterSuspended: a fix made by hand lives until the suspension is over", async () => {
  const { client } = await newCluster(hub, "own-2");
  await applyFleet(hub, "own-suspend", "own-2", [inline("l", [configMap("fixed", { k: "v" })])]);
  await fleetReady(hub, "own-suspend");
  const suspended = await capitan(["suspend", "member", "own-2", "--for", "1h"]);
  assert.match(
    suspended.stdout,
    /Cluster fleet\/own-2 is suspended until 20.* for Fleets own-suspend/,
  );
  await memberHas(hub, "own-suspend", "own-2", "ClusterSuspended");
  await describes(["member", "own-2"], "ClusterSuspended");
  await setValue("fixed", "hot fix", client);
  await hub.mergePatch(
    resources.fleetMember,
    (await memberOf(hub, "own-suspend", "own-2"))?.metadata ?? { name: "" },
    { metadata: { annotations: { "reconcile.fluxcd.io/requestedAt": "1" } } },
  );
  await until(
    async () =>
      (await memberOf(hub, "own-suspend", "own-2"))?.status?.lastHandledReconcileAt === "1",
    { deadlineMs: 20_000, what: "the request to be handled" },
  );
  assert.equal(await valueOf("fixed", client), "hot fix");
  assert.match((await capitan(["resume", "member", "own-2"])).stdout, /is resumed/);
  await becomes("fixed", "v", client);
  await fleetReady(hub, "own-suspend");
  // A suspension ends by itself.
  await capitan(["suspend", "member", "own-2", "--for", "2s"]);
  await setValue("fixed", "again", client);
  await becomes("fixed", "v", client);
  assert.equal((await capitan(["suspend", "member", "own-2", "--for", "x"])).code, 2);
  await client.close();
});

test("AnotherHub: a cluster that somebody newer writes to is left alone until capitan adopt", async () => {
  const { client } = await newCluster(hub, "own-3");
  await applyFleet(hub, "own-other", "own-3", [inline("l", [configMap("a", { k: "v1" })])]);
  await fleetReady(hub, "own-other");
  await raiseSequence(client);
  await applyFleet(hub, "own-other", "own-3", [inline("l", [configMap("a", { k: "v2" })])]);
  await memberHas(hub, "own-other", "own-3", "AnotherHub");
  await describes(["member", "own-3"], "AnotherHub");
  assert.equal(await valueOf("a", client), "v1");
  assert.match((await capitan(["adopt", "member", "own-3"])).stdout, /is taken over by this hub/);
  await becomes("a", "v2", client);
  await fleetReady(hub, "own-other");
  await client.close();
});

test("AnotherHub: a repair raises nothing, and is left alone once somebody newer has written", async () => {
  const { client } = await newCluster(hub, "own-repaired");
  await applyFleet(hub, "own-repair", "own-repaired", [inline("l", [configMap("a", { k: "v" })])]);
  await fleetReady(hub, "own-repair");
  const before = await headerOf(client);
  await setValue("a", "foreign", client);
  await becomes("a", "v", client);
  await deleteNow(client, resources.configMap, { name: "a", namespace: "default" });
  await becomes("a", "v", client);
  assert.equal(await headerOf(client), before);
  await raiseSequence(client);
  await setValue("a", "foreign", client);
  await memberHas(hub, "own-repair", "own-repaired", "AnotherHub");
  assert.equal(await valueOf("a", client), "foreign");
  assert.match(
    (await capitan(["adopt", "member", "own-repaired"])).stdout,
    /is taken over by this hub/,
  );
  await becomes("a", "v", client);
  await client.close();
});

const inventory = { namespace: "capitan-system", name: "inventory" };

async function headerOf(client: KubeClient): Promise<string> {
  const found = await client.get(resources.configMap, inventory);
  return asString(asMap(found?.["data"])["header"]) ?? "";
}

/** As another hub would that has written since. */
async function raiseSequence(client: KubeClient): Promise<void> {
  const raise = (_: string, n: string) => `"sequence":${Number(n) + 7}`;
  const header = (await headerOf(client)).replace(/"sequence":(\d+)/, raise);
  await client.mergePatch(resources.configMap, inventory, { data: { header } });
}

const definition = (versions: readonly string[], storage: string): object => ({
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "things.example.com" },
  spec: {
    group: "example.com",
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

test("DowngradeRefused: a definition that would lose stored objects changes nothing; forward, they are migrated", async () => {
  const fleet = (versions: readonly string[], storage: string) =>
    applyFleet(hub, "own-crd", "own-1", [
      inline("l", [definition(versions, storage)], { wait: false }),
    ]);
  await fleet(["v1beta1"], "v1beta1");
  await fleetReady(hub, "own-crd");
  const thing = (version: string): Resource => ({
    group: "example.com",
    version,
    kind: "Thing",
    plural: "things",
    namespaced: true,
  });
  for (const name of ["a", "b"])
    await workload.create(thing("v1beta1"), {
      apiVersion: "example.com/v1beta1",
      kind: "Thing",
      metadata: inDefault(name),
      spec: { name },
    });
  await fleet(["v1beta1", "v1"], "v1");
  await fleetReady(hub, "own-crd");
  await fleet(["v1"], "v1");
  await fleetReady(hub, "own-crd");
  const crd = await workload.get(resources.crd, { name: "things.example.com" });
  assert.deepEqual(asMap(crd?.["status"])["storedVersions"], ["v1"]);
  assert.equal((await workload.list(thing("v1"))).items.length, 2);
  await fleet(["v1beta1"], "v1beta1");
  await memberHas(hub, "own-crd", "own-1", "DowngradeRefused");
  await describes(["member", "own-1", "--fleet", "own-crd"], "DowngradeRefused");
  assert.equal((await workload.list(thing("v1"))).items.length, 2);
});

/** Puts another kubeconfig into the Secret of a Cluster. */
async function swapKubeconfig(cluster: string, kubeconfig: string): Promise<void> {
  const value = Buffer.from(kubeconfig).toString("base64");
  const name = { namespace, name: `${cluster}-kubeconfig` };
  await hub.mergePatch(resources.secret, name, { data: { value } });
}

test("R4 CredentialsExpired and ServerIdentityRefused: never connected, and taken up again when the Secret is right", async () => {
  const lab = await sharedLab();
  const { client } = await newCluster(hub, "own-4");
  await applyFleet(hub, "own-tls", "own-4", [inline("l", [configMap("a", { k: "v" })])]);
  await fleetReady(hub, "own-tls");
  const good = await clusterKubeconfig(hub, { namespace, name: "own-4" });
  const { clusters } = JSON.parse(good) as { clusters: { cluster: { server: string } }[] };
  const server = clusters[0]?.cluster.server ?? "";
  const authority = await newAuthority("somebody");
  const expired = await authority.issue({
    subject: "CN=admin,O=system:masters",
    use: "client",
    validMs: -6e4,
  });
  const { readFile } = await import("node:fs/promises");
  const ca = await readFile(join(serverDir(lab.dir, "own-4"), "pki", "ca.crt"), "utf8");
  await swapKubeconfig("own-4", kubeconfigOf(server, ca, { identity: expired }));
  const member = await memberHas(hub, "own-tls", "own-4", "CredentialsExpired");
  assert.match(
    conditionOf(member.status?.conditions, "Ready")?.message ?? "",
    /Secret fleet\/own-4-kubeconfig: its client certificate expired at 20/,
  );
  await describes(["member", "own-4"], "CredentialsExpired");
  await swapKubeconfig("own-4", kubeconfigOf(server, authority.cert, { token: "t" }));
  await memberHas(hub, "own-tls", "own-4", "ServerIdentityRefused");
  await describes(["member", "own-4"], "ServerIdentityRefused");
  await swapKubeconfig("own-4", good);
  await fleetReady(hub, "own-tls");
  await client.close();
});

test("KubeconfigMismatch: a kubeconfig that leads to another Cluster's cluster; nothing is written there", async () => {
  const [a, b] = [await newCluster(hub, "own-mix-a"), await newCluster(hub, "own-mix-b")];
  for (const name of ["own-mix-a", "own-mix-b"])
    await applyFleet(hub, name, name, [inline("l", [configMap(name, { k: "v" })])]);
  await fleetReady(hub, "own-mix-a");
  await fleetReady(hub, "own-mix-b");
  const good = await clusterKubeconfig(hub, { namespace, name: "own-mix-b" });
  const other = await clusterKubeconfig(hub, { namespace, name: "own-mix-a" });
  await swapKubeconfig("own-mix-b", other);
  const member = await memberHas(hub, "own-mix-b", "own-mix-b", "KubeconfigMismatch");
  assert.match(
    conditionOf(member.status?.conditions, "Ready")?.message ?? "",
    /Secret fleet\/own-mix-b-kubeconfig leads to the cluster that is known as Cluster fleet\/own-mix-a /,
  );
  await describes(["member", "own-mix-b"], "KubeconfigMismatch");
  assert.equal(await a.client.get(resources.configMap, inDefault("own-mix-b")), undefined);
  await swapKubeconfig("own-mix-b", good);
  await fleetReady(hub, "own-mix-b");
  await a.client.close();
  await b.client.close();
});

test("moving a layer between Fleets and renaming a Fleet keep every object (addon-controller#1949)", async () => {
  const { client } = await newCluster(hub, "own-5");
  const shared = [deployment("moved"), configMap("moved", { k: "v" })];
  const keep = inline("keep", [configMap("stays")]);
  await applyFleet(hub, "own-a", "own-5", [keep, inline("net", shared)]);
  await fleetReady(hub, "own-a");
  const uids = async () =>
    (
      await Promise.all([
        client.get(resources.deployment, inDefault("moved")),
        client.get(resources.configMap, inDefault("moved")),
      ])
    ).map((object) => `${object?.metadata.uid ?? ""} ${object?.metadata.generation ?? ""}`);
  const before = await uids();
  const other = inline("other", [configMap("other")]);
  const net = inline("net", shared);
  // There and back again: who gains the layer is written first, the other one at once after it.
  for (const [to, from] of [
    ["b", "a"],
    ["a", "b"],
    ["b", "a"],
    ["a", "b"],
    ["b", "a"],
  ] as const) {
    const own = { a: keep, b: other };
    await applyFleet(hub, `own-${to}`, "own-5", [own[to], net]);
    await applyFleet(hub, `own-${from}`, "own-5", [own[from]]);
    await fleetReady(hub, "own-b");
    await fleetReady(hub, "own-a");
    assert.deepEqual(await uids(), before, `moved to own-${to}`);
  }
  // The same Fleet under another name: written first, then the old one is deleted.
  await applyFleet(hub, "own-c", "own-5", [inline("net", shared)]);
  const old = await hub.get(resources.fleet, { namespace, name: "own-b" });
  if (old !== undefined) await hub.delete(resources.fleet, old);
  await fleetReady(hub, "own-c");
  assert.deepEqual(await uids(), before);
  await setValue("moved", "drift", client);
  await becomes("moved", "v", client);
  await client.close();
});

test("capitan-system deleted: the inventory is rebuilt from our label, and what nobody wants any more still goes", async () => {
  const { client } = await newCluster(hub, "own-6");
  const both = [inline("l", [configMap("kept", { k: "v" }), configMap("old")])];
  await applyFleet(hub, "own-lost", "own-6", both);
  await fleetReady(hub, "own-lost");
  await capitan(["suspend", "member", "own-6", "--for", "1h"]);
  await memberHas(hub, "own-lost", "own-6", "ClusterSuspended");
  const found = await client.get(resources.configMap, {
    namespace: "capitan-system",
    name: "inventory",
  });
  if (found !== undefined) await client.delete(resources.configMap, found);
  await applyFleet(hub, "own-lost", "own-6", [inline("l", [configMap("kept", { k: "v" })])]);
  await capitan(["resume", "member", "own-6"]);
  await until(async () => (await client.get(resources.configMap, inDefault("old"))) === undefined, {
    deadlineMs: 20_000,
    what: "what nobody wants to go",
  });
  await fleetReady(hub, "own-lost");
  assert.equal(await valueOf("kept", client), "v");
  assert.equal((await memberOf(hub, "own-lost", "own-6"))?.status?.objects, 1);
  await client.close();
});

test("IfNotPresent is only created; Ignore is not touched, and let go when it was ours", async () => {
  const marked = (name: string, mode: string) => ({
    ...configMap(name, { k: "declared" }),
    metadata: { ...inDefault(name), annotations: { "capitan.dev/apply": mode } },
  });
  await workload.apply(
    resources.configMap,
    configMap("theirs-already", { k: "theirs" }) as KubeObject,
    { manager: "kubectl" },
  );
  const yielding = { "capitan.dev/apply": "IfNotPresent" };
  const namespace = (annotations: object): KubeObject => ({
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "own-theirs-already", annotations: { ...annotations } },
  });
  await workload.apply(resources.namespace, namespace({}), { manager: "kubectl" });
  await applyFleet(hub, "own-yield", "own-1", [
    inline("l", [
      namespace(yielding),
      marked("once", "IfNotPresent"),
      marked("theirs-already", "IfNotPresent"),
      configMap("later", { k: "declared" }),
    ]),
  ]);
  await fleetReady(hub, "own-yield");
  assert.equal(await valueOf("once"), "declared");
  assert.equal(await valueOf("theirs-already"), "theirs");
  await setValue("once", "edited");
  await setValue("later", "edited");
  await becomes("later", "declared");
  assert.equal(await valueOf("once"), "edited");
  await applyFleet(hub, "own-yield", "own-1", [
    inline("l", [marked("once", "IfNotPresent"), marked("later", "Ignore")]),
  ]);
  await fleetReady(hub, "own-yield");
  const later = await workload.get(resources.configMap, inDefault("later"));
  assert.equal(later?.metadata.labels?.["capitan.dev/owner"], undefined);
  await setValue("later", "edited");
  const gone = await workload.get(resources.configMap, inDefault("once"));
  assert.ok(gone !== undefined);
  await workload.delete(resources.configMap, gone);
  await becomes("once", "declared");
  assert.equal(await valueOf("later"), "edited");
});

test("every error code about ownership was made true above", () => {
  assert.deepEqual(
    ownershipCodes.filter((code) => !seen.has(code)),
    [],
  );
});
