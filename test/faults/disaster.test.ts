import assert from "node:assert/strict";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { clientOf } from "../../hack/lab/apiserver.ts";
import { applyInstall, startController } from "../../hack/lab/controller.ts";
import { copyHubEtcd, restoreHubEtcd } from "../../hack/lab/faults.ts";
import { startLab, stopLab } from "../../hack/lab/lab.ts";
import { moveClusters } from "../../hack/lab/move.ts";
import { kill, pidOf, stop } from "../../hack/lab/processes.ts";
import { silent } from "../../hack/lab/progress.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { annotations } from "../../pkg/object/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { auditOf, writesSince } from "./harness/index.ts";
import {
  applyFleet,
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
  until,
} from "../harness/index.ts";

/** These tests take hubs away, so they have laboratories of their own. */
let first: LabFile;
let second: LabFile;
const clients: KubeClient[] = [];

async function hubOf(lab: LabFile): Promise<KubeClient> {
  const client = await clientOf(lab.hubKubeconfig);
  clients.push(client);
  return client;
}

before(async () => {
  const dir = await mkdtemp(join(tmpdir(), "capitan-disaster-"));
  first = await startLab({ dir: join(dir, "1"), progress: silent, audit: true, hubEtcd: "own" });
  await startController(first);
});
after(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await stopLab(second?.dir ?? first.dir);
  await stopLab(first.dir);
});

const layers = () => [
  inline("base", [configMap("a", { k: "v" }), configMap("b")]),
  inline("app", [deployment("app")], { dependsOn: ["base"] }),
];
/** Names and uids of everything of ours, so that nothing can have been made anew. */
async function uids(client: KubeClient): Promise<readonly string[]> {
  const lists = await Promise.all(
    [resources.configMap, resources.deployment].map((resource) =>
      client.list(resource, { labelSelector: "capitan.dev/owner", metadataOnly: true }),
    ),
  );
  return lists.flatMap(({ items }) =>
    items.map(({ metadata }) => `${metadata.name} ${metadata.uid ?? ""}`),
  );
}

test("a hub that is wiped and set up again finds its members and takes over, without a write on the cluster", async () => {
  const hub = await hubOf(first);
  const { client } = await newCluster(hub, "wiped");
  clients.push(client);
  const copy = await copyHubEtcd(first);
  await applyFleet(hub, "wiped", "wiped", layers());
  await fleetReady(hub, "wiped");
  const before = await uids(client);
  const sequence = (await memberOf(hub, "wiped", "wiped"))?.metadata.annotations?.[
    annotations.sequence
  ];
  await stop(first.dir, "controller");
  await restoreHubEtcd(first, copy);
  const again = await hubOf(first);
  assert.equal(await memberOf(again, "wiped", "wiped"), undefined);
  const mark = await auditOf(first.dir, "wiped").mark();
  await startController(first);
  await applyFleet(again, "wiped", "wiped", layers());
  await fleetReady(again, "wiped");
  const member = await memberOf(again, "wiped", "wiped");
  assert.equal(member?.metadata.annotations?.[annotations.sequence], sequence);
  assert.equal(member?.status?.objects, 3);
  assert.deepEqual(await uids(client), before);
  assert.deepEqual(await writesSince(auditOf(first.dir, "wiped"), mark), []);
  // It does not only look: drift is repaired again.
  await client.mergePatch(
    resources.configMap,
    { namespace: "default", name: "a" },
    { data: { k: "x" } },
  );
  await until(
    async () =>
      JSON.stringify(
        await client.get(resources.configMap, { namespace: "default", name: "a" }),
      ).includes('"k":"v"'),
    { deadlineMs: 20_000, what: "a to be repaired" },
  );
});

test("U7 the hub's etcd is rolled back by 100 revisions: nothing is pruned, and the hub says that it is behind", async () => {
  const hub = await hubOf(first);
  const { client } = await newCluster(hub, "rolled");
  clients.push(client);
  await applyFleet(hub, "rolled", "rolled", layers());
  await fleetReady(hub, "rolled");
  const copy = await copyHubEtcd(first);
  const more = [...layers(), inline("late", [configMap("late-1"), configMap("late-2")])];
  await applyFleet(hub, "rolled", "rolled", more);
  await fleetReady(hub, "rolled");
  const noise = { namespace, name: "noise" };
  for (let i = 0; i < 100; i++)
    await hub.apply(
      resources.configMap,
      { apiVersion: "v1", kind: "ConfigMap", metadata: noise, data: { i: String(i) } },
      { manager: "test" },
    );
  const before = await uids(client);
  const mark = await auditOf(first.dir, "rolled").mark();
  await restoreHubEtcd(first, copy);
  const again = await hubOf(first);
  // The controller was not restarted: it must notice by itself that its hub went back in time.
  await until(async () => (await pidOf(first.dir, "controller")) !== undefined, {
    deadlineMs: 5_000,
    what: "the controller to run",
  }).catch(() => startController(first));
  await memberHas(again, "rolled", "rolled", "AnotherHub", 90_000);
  assert.deepEqual(await uids(client), before);
  assert.deepEqual(await writesSince(auditOf(first.dir, "rolled"), mark), []);
});

test("C7 the controller is killed around the finalizer of a Fleet: nothing of it is left behind, and nothing holds it", async () => {
  const hub = await hubOf(first);
  const { client } = await newCluster(hub, "finalized");
  clients.push(client);
  const name = { namespace, name: "finalized" };
  for (const killed of ["before", "while", "after"] as const) {
    await applyFleet(hub, name.name, "finalized", layers());
    await fleetReady(hub, name.name);
    if (killed === "before") await kill(first.dir, "controller");
    await deleteNow(hub, resources.fleet, name);
    if (killed === "while") await kill(first.dir, "controller");
    if (killed === "after") {
      await until(async () => (await uids(client)).length < 3, {
        deadlineMs: 20_000,
        what: "the withdrawal to begin",
        everyMs: 2,
      });
      await kill(first.dir, "controller");
    }
    await stop(first.dir, "controller");
    await startController(first);
    await until(async () => (await hub.get(resources.fleet, name)) === undefined, {
      deadlineMs: 60_000,
      what: `the Fleet to go, killed ${killed}`,
    });
    assert.deepEqual(await uids(client), []);
  }
  // A Fleet that comes and goes while nobody looks is held by nobody.
  await stop(first.dir, "controller");
  await applyFleet(hub, name.name, "finalized", layers());
  await deleteNow(hub, resources.fleet, name);
  assert.equal(await hub.get(resources.fleet, name), undefined);
  await startController(first);
});

test("clusterctl move brings Fleets and members to another hub, without a write on the cluster", async () => {
  const hub = await hubOf(first);
  second = await startLab({ dir: join(first.dir, "..", "2"), progress: silent, audit: true });
  const target = await hubOf(second);
  await applyInstall(target);
  await startController(second);
  // What the tests before have left would move too.
  for (const name of ["wiped", "rolled"]) {
    const fleet = await hub.get(resources.fleet, { namespace, name });
    if (fleet === undefined) continue;
    await hub.mergePatch(resources.fleet, fleet.metadata, { spec: { deletionPolicy: "Orphan" } });
  }
  const { client } = await newCluster(hub, "moved");
  clients.push(client);
  await applyFleet(hub, "moved", "moved", layers());
  await fleetReady(hub, "moved");
  const before = await uids(client);
  const sequence = (await memberOf(hub, "moved", "moved"))?.metadata.annotations?.[
    annotations.sequence
  ];
  const mark = await auditOf(first.dir, "moved").mark();
  await moveClusters(first, second, namespace);
  await fleetReady(target, "moved", 90_000);
  const member = await memberOf(target, "moved", "moved");
  assert.equal(member?.metadata.annotations?.[annotations.sequence], sequence);
  assert.equal(await memberOf(hub, "moved", "moved"), undefined);
  assert.deepEqual(await uids(client), before);
  assert.deepEqual(await writesSince(auditOf(first.dir, "moved"), mark), []);
  // The new hub works on it: a layer goes, and only it.
  await applyFleet(target, "moved", "moved", layers().slice(0, 1));
  await until(
    async () =>
      (await client.get(resources.deployment, { namespace: "default", name: "app" })) === undefined,
    { deadlineMs: 30_000, what: "the layer to go" },
  );
});
