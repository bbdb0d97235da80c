import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { KubeClient } from "../../pkg/kube/index.ts";
import type { FleetMember } from "../../pkg/api/index.ts";
import { decodeInventory } from "../../pkg/inventory/index.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import { parseManifests, type KubeObject, type Resource } from "../../pkg/object/index.ts";
import { fluxManifests, fluxVersion } from "../../hack/flux-manifests.ts";
import { deleteCluster, standInAnnotation } from "../../hack/lab/clusters.ts";
import { signal } from "../../hack/lab/processes.ts";
import { pushFiles } from "../harness/artifacts.ts";
import {
  applyFleet,
  capitan,
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

let hub: KubeClient;
let workload: KubeClient;
let registry: string;
let fluxText: string;

before(async () => {
  hub = await sharedHub();
  registry = (await sharedLab()).registry;
  fluxText = (await fluxManifests()).text;
  await pushFiles(`oci://${registry}/flux-manifests:${fluxVersion}`, {
    "gotk-components.yaml": fluxText,
  });
  workload = (await newCluster(hub, "install-1")).client;
});
after(async () => {
  await workload.close();
  await retireClusters(hub, "install-");
  await hub.close();
});

const fluxLayer = (more: object = {}) => ({
  name: "flux",
  flux: {
    version: ">=2.9.0 <3.0.0",
    artifact: { url: `oci://${registry}/flux-manifests`, insecure: true },
    ...more,
  },
});
const inventoryConfigMap = { namespace: "capitan-system", name: "inventory" };

async function inventoryKeys(client: KubeClient): Promise<readonly string[]> {
  const found = await client.get(resources.configMap, inventoryConfigMap);
  const data = asMap(found?.["data"]) as Record<string, string>;
  return [...decodeInventory([{ name: "inventory", data }]).inventory.keys()].sort();
}

test("Flux is installed from the artifact, by digest, whole, and the inventory names exactly its objects", async () => {
  await applyFleet(hub, "flux", "install-1", [fluxLayer()]);
  const fleet = await fleetReady(hub, "flux");
  assert.equal(fleet.status?.summary, "1/1");
  const wanted = parseManifests(fluxText, "flux");
  const member = (await memberOf(hub, "flux", "install-1")) as FleetMember;
  assert.equal(member.status?.objects, wanted.length);
  assert.equal(member.status?.layers?.[0]?.revision, fluxVersion);
  const revision = await hub.get(resources.fleetRevision, {
    namespace,
    name: member.spec.revision,
  });
  assert.match(JSON.stringify(revision?.["spec"]), /"digest":"sha256:[a-f0-9]{64}"/);
  assert.equal((await inventoryKeys(workload)).length, wanted.length);
  const found = await workload.get(resources.deployment, {
    namespace: "flux-system",
    name: "source-controller",
  });
  assert.match(JSON.stringify(found?.["spec"]), /ghcr\.io\/fluxcd\/source-controller:v/);
});

test("a pass that finds nothing to do writes nothing", async () => {
  const version = async () => [
    (await workload.get(resources.configMap, inventoryConfigMap))?.metadata.resourceVersion,
    (
      await workload.get(resources.deployment, {
        namespace: "flux-system",
        name: "source-controller",
      })
    )?.metadata.resourceVersion,
    (await workload.list(resources.crd, { metadataOnly: true })).items
      .map((o) => o.metadata.resourceVersion)
      .join(),
  ];
  const member = await memberHas(hub, "flux", "install-1", "ReconciliationSucceeded");
  const before = await version();
  await hub.mergePatch(resources.fleetMember, member.metadata, {
    metadata: { annotations: { "reconcile.fluxcd.io/requestedAt": "now-1" } },
  });
  await until(
    async () =>
      (await memberOf(hub, "flux", "install-1"))?.status?.lastHandledReconcileAt === "now-1",
    { deadlineMs: 20_000, what: "the request to be handled" },
  );
  assert.deepEqual(await version(), before);
});

test("components, image relocation and the pull secret follow the Fleet", async () => {
  const data = { ".dockerconfigjson": Buffer.from('{"auths":{}}').toString("base64") };
  await hub.apply(
    resources.secret,
    {
      apiVersion: "v1",
      kind: "Secret",
      type: "kubernetes.io/dockerconfigjson",
      metadata: { namespace, name: "pull" },
      data,
    },
    { manager: "test" },
  );
  await applyFleet(hub, "flux", "install-1", [
    fluxLayer({
      components: ["source-controller", "kustomize-controller"],
      registry: "mirror.example/flux",
      imagePullSecret: "pull",
    }),
  ]);
  await until(
    async () =>
      (await workload.get(resources.secret, { namespace: "flux-system", name: "pull" })) !==
      undefined,
    { deadlineMs: 30_000, what: "the pull secret" },
  );
  await fleetReady(hub, "flux");
  const controller = await workload.get(resources.deployment, {
    namespace: "flux-system",
    name: "source-controller",
  });
  assert.match(
    JSON.stringify(controller?.["spec"]),
    /mirror\.example\/flux\/source-controller:v.*"imagePullSecrets":\[\{"name":"pull"\}\]|"imagePullSecrets":\[\{"name":"pull"\}\].*mirror/s,
  );
  // The flux layer leaves objects behind by default: the controller that is no longer listed is released.
  const helm = await workload.get(resources.deployment, {
    namespace: "flux-system",
    name: "helm-controller",
  });
  assert.equal(helm?.metadata.labels?.["capitan.dev/owner"], undefined);
});

const fluxObject = (group: string, kind: string, plural: string): Resource => ({
  group: `${group}.toolkit.fluxcd.io`,
  version: "v1",
  kind,
  plural,
  namespaced: true,
});
const ociRepository = fluxObject("source", "OCIRepository", "ocirepositories");
const gitRepository = fluxObject("source", "GitRepository", "gitrepositories");
const kustomization = fluxObject("kustomize", "Kustomization", "kustomizations");
const fluxSystem = { namespace: "flux-system", name: "flux-system" };

test("sync: the cluster's own Flux is told what to pull, pinned by the hub or by tag, with its Secret; Lockdown holds", async () => {
  const { client } = await newCluster(hub, "install-sync");
  const url = `oci://${registry}/sync/config`;
  const first = await pushFiles(`${url}:stable`, { "a.yaml": JSON.stringify(configMap("a")) });
  const data = { ".dockerconfigjson": Buffer.from('{"auths":{}}').toString("base64") };
  const type = "kubernetes.io/dockerconfigjson";
  const metadata = { namespace, name: "sync-pull" };
  const secret = { apiVersion: "v1", kind: "Secret", type, metadata, data };
  await hub.apply(resources.secret, secret, { manager: "test" });
  const oci = { url, ref: { tag: "stable" }, secretRef: { name: "sync-pull" }, insecure: true };
  const apply = (sync: object) =>
    applyFleet(hub, "sync", "install-sync", [
      // Nobody acts on the source here, so that it never gets ready.
      {
        ...fluxLayer({ tenancy: "Lockdown", sync: { path: "./clusters/a", ...sync } }),
        wait: false,
      },
    ]);
  const specOf = async (resource: Resource) => (await client.get(resource, fluxSystem))?.["spec"];
  await apply({ oci });
  await fleetReady(hub, "sync");
  assert.deepEqual(await specOf(ociRepository), {
    insecure: true,
    interval: "10m",
    provider: "generic",
    ref: { digest: first },
    secretRef: { name: "sync-pull" },
    timeout: "60s",
    url,
  });
  assert.deepEqual(await specOf(kustomization), {
    force: false,
    interval: "10m",
    path: "./clusters/a",
    prune: true,
    serviceAccountName: "kustomize-controller",
    sourceRef: { kind: "OCIRepository", name: "flux-system" },
  });
  const planted = await client.get(resources.secret, { ...fluxSystem, name: "sync-pull" });
  assert.deepEqual([planted?.["type"], planted?.["data"]], [type, data]);
  const controller = await client.get(resources.deployment, {
    ...fluxSystem,
    name: "kustomize-controller",
  });
  assert.match(
    JSON.stringify(controller?.["spec"]),
    /--no-cross-namespace-refs=true","--no-remote-bases=true","--default-service-account=default/,
  );
  // The tag moves: so do the clusters, when the Fleet looks again.
  const second = await pushFiles(`${url}:stable`, { "a.yaml": JSON.stringify(configMap("b")) });
  assert.notEqual(second, first);
  await capitan(["reconcile", "fleet", "sync"]);
  await until(async () => JSON.stringify(await specOf(ociRepository)).includes(second), {
    deadlineMs: 30_000,
    what: "the new digest",
  });
  await apply({ oci, follow: "Tag" });
  await until(async () => JSON.stringify(await specOf(ociRepository)).includes('"tag":"stable"'), {
    deadlineMs: 30_000,
    what: "the tag",
  });
  await apply({ git: { url: "https://git.example/fleet" }, follow: "Tag" });
  await until(async () => (await specOf(gitRepository)) !== undefined, {
    deadlineMs: 30_000,
    what: "the Git source",
  });
  await client.close();
});

test("a layer waits for the one it depends on; removing it deletes what it created", async () => {
  const { client } = await newCluster(hub, "install-2");
  const layers = [
    inline("second", [configMap("second")], { dependsOn: ["first"] }),
    inline("first", [deployment("first"), configMap("first")]),
  ];
  await applyFleet(hub, "ordered", "install-2", layers);
  await fleetReady(hub, "ordered");
  const made = await client.get(resources.configMap, { namespace: "default", name: "second" });
  assert.ok(made !== undefined);
  await applyFleet(hub, "ordered", "install-2", layers.slice(1));
  await until(
    async () =>
      (await client.get(resources.configMap, { namespace: "default", name: "second" })) ===
      undefined,
    { deadlineMs: 30_000, what: "second to be pruned" },
  );
  await fleetReady(hub, "ordered");
  assert.deepEqual(await inventoryKeys(client), [
    "/ConfigMap/default/first",
    "apps/Deployment/default/first",
  ]);
  // Server-side apply cannot empty a list of its own: it takes the list away, which is refused.
  const emptied = applyFleet(hub, "ordered", "install-2", []);
  await assert.rejects(emptied, /spec\.layers: Required value/);
  const fleet = { namespace, name: "ordered" };
  await hub.mergePatch(resources.fleet, fleet, { spec: { layers: [] } });
  await until(async () => (await inventoryKeys(client)).length === 0, {
    deadlineMs: 30_000,
    what: "everything to be pruned",
  });
  assert.equal((await fleetReady(hub, "ordered")).status?.summary, "1/1");
  await client.close();
});

test("what changes in the cluster meanwhile is put back by the next pass, and only that", async () => {
  const { client } = await newCluster(hub, "install-3");
  await applyFleet(hub, "drift", "install-3", [
    inline("l", [configMap("a", { k: "v" }), configMap("b", { k: "v" })]),
  ]);
  await fleetReady(hub, "drift");
  const b = (await client.get(resources.configMap, { namespace: "default", name: "b" }))?.metadata
    .resourceVersion;
  await client.mergePatch(
    resources.configMap,
    { namespace: "default", name: "a" },
    { data: { k: "changed" } },
  );
  const member = await memberHas(hub, "drift", "install-3", "ReconciliationSucceeded");
  await hub.mergePatch(resources.fleetMember, member.metadata, {
    metadata: { annotations: { "reconcile.fluxcd.io/requestedAt": "1" } },
  });
  await until(
    async () =>
      asMap((await client.get(resources.configMap, { namespace: "default", name: "a" }))?.["data"])[
        "k"
      ] === "v",
    { deadlineMs: 20_000, what: "a to be repaired" },
  );
  assert.equal(
    (await client.get(resources.configMap, { namespace: "default", name: "b" }))?.metadata
      .resourceVersion,
    b,
  );
  await client.close();
});

test("a cluster that leaves the selector is withdrawn from, and its member goes", async () => {
  const { client, name } = await newCluster(hub, "install-4");
  await client.apply(resources.configMap, configMap("before", { theirs: "x" }) as KubeObject, {
    manager: "kubectl",
  });
  await applyFleet(hub, "leave", "install-4", [
    inline("l", [configMap("ours"), configMap("before", { ours: "y" })]),
  ]);
  await fleetReady(hub, "leave");
  await hub.mergePatch(resources.cluster, name, { metadata: { labels: { cluster: "other" } } });
  await until(async () => (await memberOf(hub, "leave", "install-4")) === undefined, {
    deadlineMs: 30_000,
    what: "the member to go",
  });
  assert.equal(
    await client.get(resources.configMap, { namespace: "default", name: "ours" }),
    undefined,
  );
  const before = await client.get(resources.configMap, { namespace: "default", name: "before" });
  assert.equal(asMap(before?.["data"])["theirs"], "x");
  assert.equal(before?.metadata.labels?.["capitan.dev/owner"], undefined);
  await client.close();
});

test("deleting a Fleet withdraws it first; deleting a member only makes the Fleet write it again", async () => {
  const { client } = await newCluster(hub, "install-5");
  await applyFleet(hub, "bye", "install-5", [inline("l", [configMap("ours")])]);
  await fleetReady(hub, "bye");
  const member = (await memberOf(hub, "bye", "install-5")) as FleetMember;
  assert.deepEqual(member.metadata.finalizers ?? [], []);
  await deleteNow(hub, resources.fleetMember, { namespace, name: member.metadata.name });
  const again = await until(
    async () =>
      (await memberOf(hub, "bye", "install-5"))?.metadata.uid !== member.metadata.uid
        ? memberOf(hub, "bye", "install-5")
        : undefined,
    { deadlineMs: 20_000, what: "the member to be written again" },
  );
  assert.equal(again.metadata.name, member.metadata.name);
  assert.ok(
    (await client.get(resources.configMap, { namespace: "default", name: "ours" })) !== undefined,
  );
  await fleetReady(hub, "bye");
  await deleteNow(hub, resources.fleet, { namespace, name: "bye" });
  await until(async () => (await fleetOf(hub, "bye")) === undefined, {
    deadlineMs: 30_000,
    what: "the Fleet to go",
  });
  assert.equal(
    await client.get(resources.configMap, { namespace: "default", name: "ours" }),
    undefined,
  );
  await client.close();
});

test("an unreachable cluster is Unreachable, does not delay others, and is taken up again when it is back", async () => {
  const lab = await sharedLab();
  const { client: dead } = await newCluster(hub, "frozen-1", { labels: { cluster: "frozen" } });
  const { client: live } = await newCluster(hub, "frozen-2", { labels: { cluster: "frozen" } });
  await applyFleet(hub, "frozen", "frozen", [inline("l", [configMap("v1")])]);
  await fleetReady(hub, "frozen");
  await signal(lab.dir, "apiserver-frozen-1", "SIGSTOP");
  try {
    await applyFleet(hub, "frozen", "frozen", [inline("l", [configMap("v2")])]);
    await until(
      async () =>
        (await live.get(resources.configMap, { namespace: "default", name: "v2" })) !== undefined,
      { deadlineMs: 5_000, what: "the healthy cluster to be updated" },
    );
    const member = await memberHas(hub, "frozen", "frozen-1", "Unreachable", 90_000);
    assert.equal(member.status?.objects, 1);
  } finally {
    await signal(lab.dir, "apiserver-frozen-1", "SIGCONT");
  }
  await fleetReady(hub, "frozen");
  assert.ok(
    (await dead.get(resources.configMap, { namespace: "default", name: "v2" })) !== undefined,
  );
  await dead.close();
  await live.close();
});

test("a Cluster that is deleted is let go at once, its member goes with it, the Fleet stays Ready", async () => {
  const { client, name } = await newCluster(hub, "gone-1");
  await applyFleet(hub, "gone", "gone-1", [inline("l", [configMap("a")])]);
  await fleetReady(hub, "gone");
  await client.close();
  await deleteCluster(hub, name);
  await until(async () => (await memberOf(hub, "gone", "gone-1")) === undefined, {
    deadlineMs: 60_000,
    what: "the member to be collected",
  });
  await until(
    async () => asString(asMap((await fleetOf(hub, "gone"))?.status)["summary"]) === "0/0",
    { deadlineMs: 20_000, what: "the Fleet to notice" },
  );
});

test("the stand-in off: HealthTimeout names the Deployment; on again, the member recovers by itself", async () => {
  const { client, name } = await newCluster(hub, "sick-1", {
    labels: { cluster: "sick-1" },
    annotations: { [standInAnnotation]: "off" },
  });
  await applyFleet(hub, "sick", "sick-1", [inline("l", [deployment("slow")], { timeout: "2s" })]);
  await memberHas(hub, "sick", "sick-1", "HealthTimeout");
  const { stdout } = await capitan(["describe", "member", "sick-1"]);
  assert.match(
    stdout,
    /Cause +HealthTimeout: layer l: Deployment\/default\/slow: 0 of 1 replicas exist, after 2 s/,
  );
  await hub.mergePatch(resources.cluster, name, {
    metadata: { annotations: { [standInAnnotation]: "100ms" } },
  });
  await fleetReady(hub, "sick");
  await client.close();
});

test("the CLI lists Fleets and members, as tables and as JSON", async () => {
  const fleets = await capitan(["get", "fleets"]);
  assert.match(fleets.stdout, /^NAMESPACE +NAME +READY +REVISION +AGE +STATUS\n/);
  assert.match(fleets.stdout, /\nfleet +flux +1\/1 +flux-[0-9a-f]{8} /);
  const members = await capitan(["get", "members", "-n", namespace, "-o", "json"]);
  const parsed = JSON.parse(members.stdout) as readonly FleetMember[];
  assert.ok(parsed.some(({ spec }) => spec.clusterRef.name === "install-1"));
  const nothing = await capitan(["describe", "member", "nosuch"]);
  assert.deepEqual([nothing.code, nothing.stdout], [1, ""]);
  assert.match(nothing.stderr, /NotFound: there is no FleetMember or cluster named nosuch/);
  assert.equal((await capitan(["get"])).code, 2);
});
