import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { stringify } from "yaml";
import { clusterInitialized, clusterObjects, createCluster } from "../../hack/lab/clusters.ts";
import { startGitHttp, type GitServer } from "../../hack/lab/git-http.ts";
import { conditionOf } from "../../pkg/api/index.ts";
import { systemNamespace } from "../../pkg/install/index.ts";
import { decodeInventory } from "../../pkg/inventory/index.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { annotations, type KubeObject, type Resource } from "../../pkg/object/index.ts";
import { generateIdentity, type NewIdentity } from "../../pkg/sops/index.ts";
import { pushFiles } from "../harness/artifacts.ts";
import { GitLab } from "../harness/git.ts";
import {
  applyFleet,
  capitan,
  configMap,
  deleteNow,
  fleetHas,
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
import { encrypted } from "../harness/secrets.ts";

let hub: KubeClient;
let git: GitLab;
let http: GitServer;
const manager: NewIdentity = generateIdentity(randomBytes);
/** That of the cluster. */
const identity: NewIdentity = generateIdentity(randomBytes);

before(async () => {
  hub = await sharedHub();
  git = await GitLab.make();
  await git.init("fleet.git");
  http = await startGitHttp({ root: git.root });
});
after(async () => {
  await http.close();
  await git.remove();
  await retireClusters(hub, "man-");
  await hub.close();
});

const roles = {
  group: "rbac.authorization.k8s.io",
  version: "v1",
  kind: "Role",
  plural: "roles",
  namespaced: true,
};

/** Applies a Fleet that delivers to the hub itself. */
function manage(name: string, layers: readonly object[], more: object = {}) {
  const spec = { target: "Management", layers, ...more };
  const metadata = { namespace, name };
  const fleet: KubeObject = { apiVersion: "capitan.dev/v1alpha1", kind: "Fleet", metadata, spec };
  return hub.apply(resources.fleet, fleet, { manager: "test" });
}

const yaml = (name: string, from: string) =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}, namespace: ${namespace}}\ndata:\n  from: ${from}\n`;
const dataOf = async (name: string) =>
  (await hub.get(resources.configMap, { namespace, name }))?.["data"];

test("target: Management brings inline, OCI and Git layers to the hub itself, and puts back what is changed", async () => {
  const { registry } = await sharedLab();
  const url = `oci://${registry}/management/config`;
  await pushFiles(`${url}:v1`, { "a.yaml": yaml("man-oci", "oci") });
  await git.commitFiles("fleet.git", {
    "management/a.yaml.hbs": `${yaml("man-git", "git")}---\n${yaml("man-facts", "{{quote cluster.name}}")}`,
  });
  await manage("man", [
    inline("here", [configMap("man-inline", { from: "inline" }, namespace)]),
    { name: "oci", oci: { url, ref: { tag: "v1" }, insecure: true } },
    {
      name: "git",
      git: { url: `${http.url}/fleet.git`, insecure: true },
      path: "./management",
    },
  ]);
  await fleetReady(hub, "man");
  assert.deepEqual(await dataOf("man-inline"), { from: "inline" });
  assert.deepEqual(await dataOf("man-oci"), { from: "oci" });
  assert.deepEqual(await dataOf("man-git"), { from: "git" });
  assert.deepEqual(await dataOf("man-facts"), { from: "management" });
  const member = await memberOf(hub, "man", "management");
  assert.deepEqual(member?.spec.clusterRef, { kind: "Management", name: "management" });
  assert.equal(member?.metadata.ownerReferences, undefined);
  await hub.mergePatch(
    resources.configMap,
    { namespace, name: "man-git" },
    { data: { from: "somebody" } },
  );
  await until(async () => (await dataOf("man-git"))?.["from" as never] === "git", {
    deadlineMs: 5_000,
    what: "the change to be undone",
  });
  await deleteNow(hub, resources.fleet, { namespace, name: "man" });
  await until(async () => (await dataOf("man-git")) === undefined, {
    deadlineMs: 20_000,
    what: "everything to go with the Fleet",
  });
  const { stdout } = await capitan(["get", "fleets"]);
  assert.ok(!stdout.includes("man "), stdout);
});

const platform = (layers: readonly object[]): KubeObject => ({
  apiVersion: "capitan.dev/v1alpha1",
  kind: "Fleet",
  metadata: { namespace, name: "man-life" },
  spec: { target: "Management", layers },
});
const life = () => [
  {
    name: "repository",
    git: { url: `${http.url}/fleet.git`, insecure: true },
    path: "./management",
    decryption: { provider: "sops", secretRef: { name: "man-key" } },
  },
];
const json = (objects: readonly object[]) =>
  objects.map((object) => `---\n${JSON.stringify(object)}\n`).join("");

/** What `create cluster` commits, and the Fleet that brings the new cluster its layers. */
async function clusterFiles(cluster: string): Promise<Record<string, string>> {
  const name = { namespace, name: cluster };
  const objects = await clusterObjects(name, { topology: false }, { labels: { cluster } });
  const secret = {
    apiVersion: "v1",
    kind: "Secret",
    type: "Opaque",
    immutable: true,
    metadata: {
      namespace,
      name: `${cluster}-age-1`,
      labels: { "cluster.x-k8s.io/cluster-name": cluster, "capitan.dev/age-generation": "1" },
    },
    stringData: { identity: identity.identity },
  };
  const path = `management/clusters/${cluster}/identity.sops.yaml`;
  return {
    [`management/clusters/${cluster}/cluster.yaml`]: json(objects),
    [path]: await encrypted(stringify(secret), path, [manager.recipient]),
  };
}

const appsFleet = {
  apiVersion: "capitan.dev/v1alpha1",
  kind: "Fleet",
  metadata: { namespace, name: "man-apps" },
  spec: {
    clusterSelector: { matchLabels: { cluster: "man-1" } },
    layers: [inline("app", [configMap("app")])],
  },
};
const always = () => ({
  "management/platform.yaml": json([platform(life())]),
  "management/fleets/apps.yaml": json([appsFleet]),
  "management/settings.yaml": yaml("man-settings", "git"),
});

/** Commits these files, and nothing else, and has the Fleet look. */
async function commit(files: Readonly<Record<string, string>>): Promise<void> {
  await git.commitFiles("fleet.git", files);
  const at = { [annotations.requestedAt]: new Date().toISOString() };
  const patch = { metadata: { annotations: at } };
  await hub.mergePatch(resources.fleet, { namespace, name: "man-life" }, patch);
}

const life1 = { namespace, name: "man-1" };
const identityName = { namespace, name: "man-1-age-1" };
const approval = (uid: string, more: object = {}) =>
  json([
    {
      apiVersion: "capitan.dev/v1alpha1",
      kind: "RemovalApproval",
      metadata: { name: "man-1" },
      spec: {
        objects: [
          { apiVersion: "cluster.x-k8s.io/v1beta2", kind: "Cluster", ...life1, uid, ...more },
        ],
      },
    },
  ]);
const says = (reason: string, words: RegExp) =>
  until(
    async () => {
      const member = await memberOf(hub, "man-life", "management");
      const ready = conditionOf(member?.status?.conditions, "Ready");
      if (ready?.reason !== reason || !words.test(ready.message))
        throw new Error(`it is ${ready?.reason ?? ""}: ${ready?.message ?? ""}`);
      return true;
    },
    { deadlineMs: 30_000, what: `the member to say ${reason} ${String(words)}` },
  );

test("a cluster is born from Git: its Cluster, its identity, its Fleet, its layers", async () => {
  const stringData = { "manager.agekey": manager.identity };
  const key = { apiVersion: "v1", kind: "Secret", metadata: { namespace, name: "man-key" } };
  await hub.apply(resources.secret, { ...key, stringData }, { manager: "test" });
  await git.commitFiles("fleet.git", { ...always(), ...(await clusterFiles("man-1")) });
  await hub.apply(resources.fleet, platform(life()), { manager: "test" });
  await fleetReady(hub, "man-life");
  await clusterInitialized(hub, life1);
  await memberHas(hub, "man-apps", "man-1", "ReconciliationSucceeded");
  const secret = await hub.get(resources.secret, identityName);
  const held = asString(asMap(secret?.["data"])["identity"]) ?? "";
  assert.equal(Buffer.from(held, "base64").toString(), identity.identity);
  // Immutable as it is, it comes back as it was.
  await deleteNow(hub, resources.secret, identityName);
  const back = await until(() => hub.get(resources.secret, identityName), {
    deadlineMs: 10_000,
    what: "the identity to be put back",
  });
  assert.equal(asMap(back["data"])["identity"], held);
});

test("every command that shows a member shows this one", async () => {
  const ran = async (...args: readonly string[]) => {
    const { code, stdout, stderr } = await capitan(args);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const words = /Cluster\/fleet\/man-1/;
  assert.match(await ran("tree", "member", "management", "--fleet", "man-life"), words);
  assert.match(await ran("get", "members"), /management +man-life/);
  assert.match(await ran("describe", "member", "management", "--fleet", "man-life"), /management/);
  assert.match(await ran("diff", "fleet", "man-life"), /management: no change/);
  assert.match(await ran("plan", "fleet", "man-life"), /management +stays +0 +0/);
  const traced = await ran("trace", "ConfigMap/man-settings", "--cluster", "management");
  assert.match(traced, /on cluster management/);
  assert.match(traced, /main@sha1:/);
});

test("a Cluster whose file goes stays until its removal is approved, by its uid", async () => {
  await commit(always());
  await says("RemovalNeedsApproval", /would delete Cluster\/fleet\/man-1 with everything inside/);
  const pinned = (await memberOf(hub, "man-life", "management"))?.spec.revision;
  await commit({ ...always(), "management/removed.yaml": approval("another-uid") });
  await until(
    async () => {
      const member = await memberOf(hub, "man-life", "management");
      const isSeen = member?.status?.observedGeneration === member?.metadata.generation;
      return isSeen && member?.spec.revision !== pinned;
    },
    { deadlineMs: 30_000, what: "the member to be judged at the new commit" },
  );
  await says("RemovalNeedsApproval", /Cluster\/fleet\/man-1/);
  await commit({ ...always(), "management/removed.yaml": approval("uid", { force: true }) });
  const refused = await fleetHas(hub, "man-life", "ManifestInvalid");
  assert.match(refused.message, /RemovalApproval\/man-1: spec.objects\[0\] has exactly/);
  const live = await hub.get(resources.cluster, life1);
  assert.equal(live?.metadata.deletionTimestamp, undefined);
  assert.ok(await hub.get(resources.labCluster, life1));
  assert.ok(await hub.get(resources.secret, identityName));
});

test("with it the Cluster goes first and alone, and everything else of it when it is gone", async () => {
  const live = (await hub.get(resources.cluster, life1)) as KubeObject;
  const finalizers = [...(live.metadata.finalizers ?? []), "test.capitan.dev/hold"];
  await hub.mergePatch(resources.cluster, life1, { metadata: { finalizers } });
  await commit({ ...always(), "management/removed.yaml": approval(live.metadata.uid ?? "") });
  await says("RemovalBlocked", /Cluster\/fleet\/man-1/);
  await until(async () => (await hub.get(resources.labControlPlane, life1)) === undefined, {
    deadlineMs: 30_000,
    what: "Cluster API to take the machines away",
  });
  assert.ok(await hub.get(resources.secret, identityName), "the Cluster is still there");
  await until(
    async () => {
      const now = await hub.get(resources.cluster, life1);
      if (now === undefined) return true;
      const others = (now.metadata.finalizers ?? []).filter((f) => !f.startsWith("test."));
      const { resourceVersion } = now.metadata;
      const metadata = { finalizers: others, resourceVersion };
      await hub.mergePatch(resources.cluster, life1, { metadata });
      return false;
    },
    { deadlineMs: 60_000, what: "Cluster man-1 to go" },
  );
  await until(async () => (await hub.get(resources.secret, identityName)) === undefined, {
    deadlineMs: 10_000,
    what: "its identity to go",
  });
  await fleetReady(hub, "man-life");
  assert.equal(await memberOf(hub, "man-apps", "man-1"), undefined);
});

test("the Fleet that delivers is not removed by what it delivers, and can be deleted by hand", async () => {
  const { "management/platform.yaml": _platform, ...others } = always();
  await commit(others);
  await says("RemovalBlocked", /Fleet\/fleet\/man-life is the Fleet that delivers here/);
  await commit(always());
  await says("ReconciliationSucceeded", /./);
  await deleteNow(hub, resources.fleet, { namespace, name: "man-life" });
  // With a Fleet goes what it brought to other clusters.
  await says("RemovalNeedsApproval", /Fleet\/fleet\/man-apps/);
  const args = ["approve", "member", "management", "--fleet", "man-life", "--yes"];
  assert.equal((await capitan(args)).code, 0);
  await until(async () => (await fleetOf(hub, "man-life")) === undefined, {
    deadlineMs: 30_000,
    what: "the platform Fleet to go",
  });
  assert.equal(await fleetOf(hub, "man-apps"), undefined);
  assert.equal(await dataOf("man-settings"), undefined);
});

test("the age identity of a Cluster that was made by hand stays with it, and goes after it", async () => {
  const cluster = { namespace, name: "man-hand" };
  const secretName = { namespace, name: "man-hand-age-1" };
  const secret = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: secretName,
    stringData: { identity: identity.identity },
  };
  const rest = configMap("man-rest", {}, namespace);
  await createCluster(hub, cluster);
  await manage("man-hands", [inline("l", [rest, secret])]);
  await fleetReady(hub, "man-hands");
  await manage("man-hands", [inline("l", [rest])]);
  const member = await memberHas(hub, "man-hands", "management", "RemovalBlocked");
  const { message = "" } = conditionOf(member.status?.conditions, "Ready") ?? {};
  assert.match(message, /Secret\/fleet\/man-hand-age-1 is an age identity of a Cluster that stays/);
  assert.ok(await hub.get(resources.secret, secretName));
  await deleteNow(hub, resources.cluster, cluster);
  await until(async () => (await hub.get(resources.secret, secretName)) === undefined, {
    deadlineMs: 40_000,
    what: "the identity to go after its Cluster",
  });
  await fleetReady(hub, "man-hands");
  await deleteNow(hub, resources.fleet, { namespace, name: "man-hands" });
});

test("what Capitan is made of may be in a layer, what it remembers may not; neither is deleted", async () => {
  const mine = { ...configMap("man-system", {}, systemNamespace) };
  const right = {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "Role",
    metadata: { namespace: systemNamespace, name: "capitan-controller-man" },
    rules: [],
  };
  const crd = (await hub.get(resources.crd, { name: "fleets.capitan.dev" })) as KubeObject;
  const definition = {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: crd.metadata.name, labels: crd.metadata.labels },
    spec: crd["spec"],
  };
  await manage("man-own", [inline("own", [right, definition, configMap("man-x", {}, namespace)])]);
  await fleetReady(hub, "man-own");
  await manage("man-own", [inline("own", [configMap("man-x", {}, namespace)])]);
  await fleetReady(hub, "man-own");
  assert.ok(await hub.get(resources.crd, { name: "fleets.capitan.dev" }));
  const { stdout } = await capitan(["tree", "member", "management", "--fleet", "man-own"]);
  assert.ok(!stdout.includes("capitan-controller-man"), stdout);
  const role = await hub.get(roles, { namespace: systemNamespace, name: "capitan-controller-man" });
  assert.equal(role?.metadata.labels?.["capitan.dev/owner"], undefined);
  assert.ok(role !== undefined, "it was let go, not deleted");
  await manage("man-own", [inline("own", [mine])]);
  const member = await memberHas(hub, "man-own", "management", "ManifestInvalid");
  const { message = "" } = conditionOf(member.status?.conditions, "Ready") ?? {};
  assert.match(message, /ConfigMap\/capitan-system\/man-system belongs to Capitan itself/);
  await manage("man-own", [inline("own", [configMap("man-x", {}, namespace)])]);
  await deleteNow(hub, resources.fleet, { namespace, name: "man-own" });
});

test("a Cluster that is the hub itself has an inventory of its own: two Fleets, two lists, no quarrel", async () => {
  const { client } = await newCluster(hub, "man-self");
  await client.close();
  const kubeconfig = await readFile((await sharedLab()).hubKubeconfig, "utf8");
  await hub.mergePatch(
    resources.secret,
    { namespace, name: "man-self-kubeconfig" },
    { data: { value: Buffer.from(kubeconfig).toString("base64") } },
  );
  await applyFleet(hub, "man-there", "man-self", [
    inline("l", [configMap("man-there"), configMap("man-both", {}, namespace)]),
  ]);
  await fleetReady(hub, "man-there");
  await manage("man-here", [inline("l", [configMap("man-here", {}, namespace)])]);
  await fleetReady(hub, "man-here");
  await manage("man-here", [
    inline("l", [configMap("man-here", {}, namespace)]),
    inline("m", [configMap("man-both", {}, namespace)]),
  ]);
  await memberHas(hub, "man-here", "management", "OwnedByAnotherFleet");
  await fleetReady(hub, "man-there");
  const keys = async (name: string) => {
    const found = await hub.get(resources.configMap, { namespace: systemNamespace, name });
    const data = found?.["data"] as Record<string, string>;
    // Other files bring something to this hub at the same time.
    const all = [...decodeInventory([{ name, data }], name).inventory.keys()];
    return all.filter((key) => key.includes("/man-")).sort();
  };
  assert.deepEqual(await keys("inventory"), [
    "/ConfigMap/default/man-there",
    `/ConfigMap/${namespace}/man-both`,
  ]);
  assert.deepEqual(await keys("management-inventory"), [`/ConfigMap/${namespace}/man-here`]);
  for (const name of ["man-here", "man-there"])
    await deleteNow(hub, resources.fleet, { namespace, name });
  await until(async () => (await fleetOf(hub, "man-there")) === undefined, {
    deadlineMs: 20_000,
    what: "the Fleet to go",
  });
});

test("capitan.dev/withdraw: everything leaves the cluster until the deadline, and comes back", async () => {
  const { client } = await newCluster(hub, "man-2");
  const old = { namespace: "default", name: "man-adopted" };
  await client.apply(resources.configMap, configMap(old.name, { old: "1" }) as KubeObject, {
    manager: "somebody",
  });
  await applyFleet(hub, "man-orphan", "man-2", [inline("l", [configMap("man-left")])], {
    deletionPolicy: "Orphan",
  });
  const many = Array.from({ length: 12 }, (_, i) => configMap(`man-many-${i}`));
  await applyFleet(hub, "man-many", "man-2", [inline("l", [...many, configMap(old.name)])]);
  for (const name of ["man-orphan", "man-many"]) await fleetReady(hub, name);
  const left = { namespace: "default", name: "man-left" };
  const withdraw = (until: string | null) =>
    hub.mergePatch(
      resources.cluster,
      { namespace, name: "man-2" },
      { metadata: { annotations: { [annotations.withdraw]: until } } },
    );
  await withdraw(new Date(Date.now() + 3_600_000).toISOString());
  for (const name of ["man-orphan", "man-many"]) await memberHas(hub, name, "man-2", "Removed");
  assert.equal(await client.get(resources.configMap, left), undefined);
  assert.equal(await client.get(resources.configMap, { ...left, name: "man-many-0" }), undefined);
  const released = await client.get(resources.configMap, old);
  assert.equal(released?.metadata.labels?.["capitan.dev/owner"], undefined);
  assert.ok(released !== undefined);
  assert.notEqual((await fleetOf(hub, "man-many"))?.status?.summary, "1/1");
  await withdraw(null);
  for (const name of ["man-orphan", "man-many"]) await fleetReady(hub, name);
  assert.ok(await client.get(resources.configMap, left));
  await withdraw(new Date(Date.now() + 6_000).toISOString());
  await memberHas(hub, "man-many", "man-2", "Removed");
  for (const name of ["man-orphan", "man-many"]) await fleetReady(hub, name);
  assert.ok(await client.get(resources.configMap, left), "it comes back by itself");
  await client.close();
});

test("from a namespace that is no platform namespace nothing reaches the hub, members made by hand neither", async () => {
  const there = { namespace: "default", name: "man-tenant" };
  const evil = [inline("l", [configMap("man-evil", {}, namespace)])];
  const apiVersion = "capitan.dev/v1alpha1";
  const apply = (resource: Resource, kind: string, spec: object) =>
    hub.apply(resource, { apiVersion, kind, metadata: there, spec }, { manager: "test" });
  await apply(resources.fleet, "Fleet", { target: "Management", layers: evil });
  const refused = await fleetHas(hub, "man-tenant", "NamespaceNotAllowed", "default");
  assert.match(refused.message, /must not have target: Management/);
  const rest = { wait: true, timeout: "5m", deletionPolicy: "Delete", dependsOn: [] };
  const layers = evil.map((layer) => ({ ...layer, ...rest }));
  await apply(resources.fleetRevision, "FleetRevision", { fleetRef: { name: there.name }, layers });
  await apply(resources.fleetMember, "FleetMember", {
    fleetRef: there,
    clusterRef: { kind: "Management", name: "management" },
    revision: there.name,
  });
  // A pass over the hub, with all members that it has there.
  await manage("man-good", [inline("l", [configMap("man-good", {}, namespace)])]);
  await fleetReady(hub, "man-good");
  assert.equal(
    await hub.get(resources.configMap, { namespace, name: "man-evil" }),
    undefined,
    "nothing was written",
  );
  for (const resource of [resources.fleetMember, resources.fleetRevision, resources.fleet])
    await deleteNow(hub, resource, there);
  await deleteNow(hub, resources.fleet, { namespace, name: "man-good" });
});
