// Twenty Clusters of Cluster API's own in-memory provider: real machines, control planes and kubeconfigs
// of the kubeadm providers. Their API servers know no server-side apply, so the Fleet has no layers: it
// is about who is a member and who is not, from the first Cluster to the last.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test, type TestContext } from "node:test";
import { clientOf } from "../../hack/lab/apiserver.ts";
import { clusterInitialized } from "../../hack/lab/clusters.ts";
import { startController } from "../../hack/lab/controller.ts";
import { createInMemoryCluster, startInMemoryProvider } from "../../hack/lab/in-memory.ts";
import { startLab, stopLab } from "../../hack/lab/lab.ts";
import { pidOf, recorded, relaunch } from "../../hack/lab/processes.ts";
import { progress } from "../../hack/lab/progress.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { conditionOf, type Fleet, type FleetMember } from "../../pkg/api/index.ts";
import type { Resource } from "../../pkg/object/index.ts";
import { Discovery, type KubeClient } from "../../pkg/kube/index.ts";
import { deleteNow, fleetOf, namespace, resources, until } from "../harness/index.ts";
import { objectsOfTemplate } from "../harness/templates.ts";

const count = 20;
/** So many come up side by side: Cluster API, which works hardest then, leaves something for others. */
const atOnce = 10;
const comeUpMs = 400_000;
const goMs = 400_000;
const settleMs = 180_000;
const timeout = 900_000;

let lab: LabFile;
let hub: KubeClient;
before(async () => {
  const dir = process.env["CAPITAN_HEAVY_LAB"];
  assert.ok(dir, "no directory: run this file with npm test -- FILE");
  lab = await startLab({ dir, progress });
  hub = await clientOf(lab.hubKubeconfig);
  await startInMemoryProvider(lab, hub, progress);
  await startController(lab);
});
after(async () => {
  await hub.close();
  await stopLab(lab.dir);
});

const names = Array.from({ length: count }, (_, i) => `memory-${String(i + 1).padStart(2, "0")}`);
/** Half of them are in production. */
const envOf = (name: string) => (names.indexOf(name) % 2 === 0 ? "prod" : "dev");

async function membersOf(fleet: string): Promise<ReadonlyMap<string, FleetMember>> {
  const { items } = await hub.list(resources.fleetMember, { namespace });
  const members = items as unknown as readonly FleetMember[];
  const ours = members.filter(({ spec }) => spec.fleetRef.name === fleet);
  return new Map(ours.map((member) => [member.spec.clusterRef.name, member]));
}

const isReady = ({ metadata, status }: FleetMember | Fleet) =>
  conditionOf(status?.conditions, "Ready")?.status === "True" &&
  status?.observedGeneration === metadata.generation;

/** Waits until exactly these clusters are members, all Ready, and the Fleet says so. */
async function hasMembers(fleet: string, clusters: readonly string[], deadlineMs: number) {
  const what = `Fleet ${fleet} to have ${clusters.length} Ready members`;
  const told = `${clusters.length}/${clusters.length}`;
  await until(
    async () => {
      await controllerRuns();
      const members = await membersOf(fleet);
      const ready = clusters.filter((name) => {
        const member = members.get(name);
        return member !== undefined && isReady(member);
      });
      const found = await fleetOf(hub, fleet);
      const facts = `${members.size} members, ${ready.length} Ready, ${found?.status?.summary ?? ""}`;
      const done = members.size === clusters.length && ready.length === clusters.length;
      if (done && found !== undefined && isReady(found) && found.status?.summary === told)
        return true;
      throw new Error(facts);
    },
    { deadlineMs, what, everyMs: 250 },
  );
}

async function applyEmptyFleet(name: string, matchLabels: Readonly<Record<string, string>>) {
  const spec = { clusterSelector: { matchLabels }, layers: [] };
  const metadata = { namespace, name };
  const object = { apiVersion: "capitan.dev/v1alpha1", kind: "Fleet", metadata, spec };
  await hub.apply(resources.fleet, object, { manager: "test" });
}

/** Makes the clusters, some at a time. */
async function bringUp(): Promise<void> {
  for (let i = 0; i < count; i += atOnce) {
    const batch = names.slice(i, i + atOnce);
    for (const name of batch) await create(name);
    await Promise.all(batch.map((name) => clusterInitialized(hub, { namespace, name }, comeUpMs)));
    await controllerRuns();
  }
}

/** A webhook that answers too late on a busy machine is asked again. */
async function create(name: string): Promise<void> {
  const attempt = async () => {
    await createInMemoryCluster(hub, name, { env: envOf(name) });
    return true;
  };
  await until(attempt, { deadlineMs: settleMs, what: `Cluster ${name} to be accepted` });
}

let restarts = 0;
/** A controller that loses its Lease on a busy machine ends; in a cluster it would be started again. */
async function controllerRuns(): Promise<void> {
  if ((await pidOf(lab.dir, "controller")) !== undefined) return;
  restarts += 1;
  await relaunch(lab.dir, "controller");
}

/** Says what something took, in the report of the test. */
async function timed<T>(t: TestContext, what: string, work: Promise<T>): Promise<T> {
  const started = performance.now();
  const result = await work;
  t.diagnostic(`${what}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
  return result;
}

async function countOf(resource: Resource, beginning = ""): Promise<number> {
  const { items } = await hub.list(resource, { namespace, metadataOnly: true });
  return items.filter(({ metadata }) => metadata.name.startsWith(beginning)).length;
}

/** What the processes of Cluster API need now. */
async function reportMemory(t: TestContext): Promise<void> {
  for (const name of await recorded(lab.dir)) {
    const pid = await pidOf(lab.dir, name);
    const status = await readFile(`/proc/${pid ?? 0}/status`, "utf8").catch(() => "");
    const kib = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0);
    t.diagnostic(`${name}: ${Math.round(kib / 1024)} MiB`);
  }
}

test("twenty clusters come up and are Ready members", { timeout }, async (t) => {
  await applyEmptyFleet("everything", {});
  await applyEmptyFleet("production", { env: "prod" });
  await timed(t, `${count} control planes initialized`, bringUp());
  await timed(t, "then all members Ready", hasMembers("everything", names, settleMs));
  const production = names.filter((name) => envOf(name) === "prod");
  await timed(t, "then those of production", hasMembers("production", production, settleMs));
  const ids = [...(await membersOf("everything")).values()].map(({ status }) => status?.clusterID);
  assert.equal(new Set(ids).size, count);
  assert.equal(await countOf(resources.machine), count);
  await reportMemory(t);
});

test("a label takes a cluster in and out of a Fleet", { timeout }, async (t) => {
  const relabel = async (name: string, env: string) =>
    hub.mergePatch(resources.cluster, { namespace, name }, { metadata: { labels: { env } } });
  const [first = "", second = ""] = names;
  const production = names.filter((name) => envOf(name) === "prod");
  await Promise.all([relabel(first, "dev"), relabel(second, "prod")]);
  const after = production.map((name) => (name === first ? second : name));
  await timed(t, "one in, one out", hasMembers("production", after, settleMs));
  assert.equal((await membersOf("everything")).size, count);
});

test("deleted clusters take everything of theirs along", { timeout }, async (t) => {
  const [survivor = "", ...rest] = names;
  await Promise.all(rest.map((name) => deleteNow(hub, resources.cluster, { namespace, name })));
  const gone = until(async () => (await countOf(resources.cluster)) === 1, {
    deadlineMs: goMs,
    what: `${rest.length} Clusters to be gone`,
    everyMs: 250,
  });
  await timed(t, `${rest.length} clusters deleted`, gone);
  await timed(t, "one member left", hasMembers("everything", [survivor], settleMs));
  await hasMembers("production", [], settleMs);
  // Secrets and templates have an owner; the garbage collector takes them.
  for (const name of rest) {
    const left = async () => (await countOf(resources.secret, name)) === 0;
    await until(left, { deadlineMs: settleMs, what: `the Secrets of ${name} to be gone` });
  }
  assert.equal(await countOf(resources.machine), 1);
  assert.equal(await countOf(resources.fleetMember), 1);
});

test("the providers' webhooks accept templates/docker.yaml", { timeout }, async () => {
  const cluster = { namespace, name: "in-docker" };
  const objects = await objectsOfTemplate("docker", cluster, { controlPlanes: 3 });
  const discovery = new Discovery(hub);
  for (const object of objects) {
    const resource = await discovery.find(object.apiVersion, object.kind);
    assert.ok(resource, object.kind);
    // Nobody here has Docker: the Cluster itself is not stored.
    const options = { manager: "test", dryRun: object.kind === "Cluster" };
    // A Cluster is refused until its class has been looked at.
    await until(() => hub.apply(resource, object, options), {
      deadlineMs: 30_000,
      what: `${object.kind} to be accepted`,
    });
    if (object.kind !== "Cluster") continue;
    const { topology } = object["spec"] as { topology: object };
    const spec = { topology: { ...topology, version: "1.36" } };
    await assert.rejects(hub.apply(resource, { ...object, spec }, options), /version/);
  }
});

test("the last cluster and the Fleets go, and nothing of ours is left", { timeout }, async (t) => {
  const [survivor = ""] = names;
  await deleteNow(hub, resources.fleet, { namespace, name: "production" });
  await deleteNow(hub, resources.cluster, { namespace, name: survivor });
  await hasMembers("everything", [], goMs);
  assert.equal((await fleetOf(hub, "everything"))?.status?.conditions?.[0]?.reason, "NoClusters");
  await deleteNow(hub, resources.fleet, { namespace, name: "everything" });
  for (const resource of [resources.fleet, resources.fleetMember, resources.fleetRevision])
    await until(async () => (await countOf(resource)) === 0, {
      deadlineMs: settleMs,
      what: `${resource.plural} to be gone`,
    });
  t.diagnostic(`the controller was started again ${restarts} times`);
});
