import assert from "node:assert/strict";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { percentile, rounded } from "../../hack/bench/statistics.ts";
import { acts, declared, repairTimes } from "../../hack/drift.ts";
import { fluxManifests, fluxVersion } from "../../hack/flux-manifests.ts";
import { clientOf } from "../../hack/lab/apiserver.ts";
import { startController } from "../../hack/lab/controller.ts";
import { startLab, stopLab } from "../../hack/lab/lab.ts";
import { silent } from "../../hack/lab/progress.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { inventoryName, inventoryNamespace } from "../../pkg/inventory/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { idOf, keyOf, labels, ownershipOf } from "../../pkg/object/index.ts";
import { pushFiles } from "../harness/artifacts.ts";
import {
  auditOf,
  inventoryOf,
  isLease,
  requestsSince,
  writesSince,
  type Audit,
  type AuditEntry,
  type Mark,
} from "./harness/index.ts";
import {
  applyFleet,
  configMap,
  fleetReady,
  inline,
  memberOf,
  newCluster,
  resources,
  until,
} from "../harness/index.ts";

/** Whole hubs are counted here, so nobody else may write to this one. */
let lab: LabFile;
let hub: KubeClient;
const quietMs = 60_000;

before(async () => {
  const dir = await mkdtemp(join(tmpdir(), "capitan-quiet-"));
  lab = await startLab({ dir, progress: silent, audit: true });
  hub = await clientOf(lab.hubKubeconfig);
  await startController(lab);
});
after(async () => {
  await hub.close();
  await stopLab(lab.dir);
});

test("200 repairs of each kind of drift: every one is put back (p50 and p99 are printed)", async (t) => {
  const { client } = await newCluster(hub, "drifting");
  const data = { k: declared };
  const names = (kind: string) =>
    Array.from({ length: 200 }, (_, i) => `${kind.toLowerCase()}-${i}`);
  const layer = (kind: string, half: 0 | 1) =>
    inline(
      `${kind.toLowerCase()}-${half}`,
      names(kind)
        .slice(half * 100, half * 100 + 100)
        .map((name) => ({
          ...configMap(name),
          ...(kind === "Secret" ? { kind, data: undefined, stringData: data } : { data }),
        })),
    );
  const layers = (["ConfigMap", "Secret"] as const).flatMap((kind) => [
    layer(kind, 0),
    layer(kind, 1),
  ]);
  await applyFleet(hub, "drifting", "drifting", layers);
  await fleetReady(hub, "drifting");
  const audits = [auditOf(lab.dir, "hub"), auditOf(lab.dir, "drifting")] as const;
  const [hubMark = 0, mark = 0] = await settled(audits);
  const startedMs = performance.now();
  for (const act of acts) {
    const times = await repairTimes(client, act, "default", names(act.resource.kind));
    assert.equal(times.length, 200);
    const ms = (p: number) => rounded(percentile(times, p), 1);
    t.diagnostic(`${act.name}: p50 ${ms(50)} ms, p99 ${ms(99)} ms`);
  }
  const [last] = acts.slice(-1);
  assert.ok(last !== undefined);
  const lastMs = Date.now();
  await repairTimes(client, last, "default", names(last.resource.kind).slice(0, 1));
  await until(async () => (await appliedMs("drifting")) >= lastMs, {
    deadlineMs: 5_000,
    what: "the status to tell of the last repair",
  });
  await until(() => isWrittenDown(client), {
    deadlineMs: 5_000,
    what: "the inventory to say what the API server says",
  });
  const seconds = (performance.now() - startedMs) / 1_000;
  const asked = await requestsSince(audits[0], hubMark);
  const told = asked.filter(({ subresource }) => subresource === "status");
  t.diagnostic(`${told.length} statuses in ${Math.round(seconds)} s`);
  assert.ok(told.length <= seconds + 1, "a cluster that drifts waits for the hub");
  const ofFleets = asked.filter(({ resource }) => /^fleet(s|revisions)$/.test(resource));
  assert.ok(ofFleets.length < 10, "Fleets are asked to decide about repairs");
  const written = (await requestsSince(audits[1], mark)).filter(isShard).length;
  const deletions = acts.filter(({ name }) => name === "object deleted").length * 200;
  t.diagnostic(`${written} writes of the inventory's four parts, ${deletions} of deleted objects`);
  assert.ok(written <= deletions + 4 * (seconds + 1), "the inventory is written for each repair");
  const member = await memberOf(hub, "drifting", "drifting");
  assert.equal(member?.status?.conditions?.[0]?.status, "True");
  await client.close();
});

const isShard = ({ verb, namespace, name }: AuditEntry) =>
  verb === "update" && namespace === inventoryNamespace && name !== inventoryName;

/** Whether the inventory has what the API server says of every owned object: a restart would then apply none. */
async function isWrittenDown(client: KubeClient): Promise<boolean> {
  const inventory = await inventoryOf(client);
  const options = { labelSelector: labels.owner, metadataOnly: true };
  const lists = await Promise.all(
    [resources.configMap, resources.secret].map((kind) => client.list(kind, options)),
  );
  const found = lists.flatMap(({ items }) => items);
  assert.equal(found.length, inventory.size);
  return found.every((object) => {
    const entry = inventory.get(keyOf(idOf(object)));
    return entry?.uid === object.metadata.uid && entry?.own === ownershipOf(object.metadata);
  });
}

/** When the status of the Fleet's one member says that something was last applied. */
async function appliedMs(name: string): Promise<number> {
  const member = await memberOf(hub, name, name);
  return Date.parse(member?.status?.lastAppliedTime ?? "");
}

test("ten thousand objects in one member: applied, exact, repaired, and a restart writes nothing", async (t) => {
  const count = 10_000;
  const file = Array.from({ length: count }, (_, i) =>
    JSON.stringify(configMap(`n${i}`, { k: "v" })),
  );
  const url = `oci://${lab.registry}/many`;
  await pushFiles(url, { "all.yaml": file.join("\n---\n") });
  const { client } = await newCluster(hub, "many");
  const oci = { name: "l", oci: { url, insecure: true } };
  const startedMs = performance.now();
  await applyFleet(hub, "many", "many", [oci]);
  await fleetReady(hub, "many", 230_000);
  t.diagnostic(`${count} objects in ${Math.round(performance.now() - startedMs)} ms`);
  const owned = await client.list(resources.configMap, {
    namespace: "default",
    labelSelector: "capitan.dev/owner",
    metadataOnly: true,
  });
  assert.equal(owned.items.length, count);
  assert.equal((await memberOf(hub, "many", "many"))?.status?.objects, count);
  const [act] = acts.slice(1);
  assert.ok(act !== undefined);
  const undone = { ...act, isUndone: (now: object) => JSON.stringify(now).includes('"k":"v"') };
  const times = await repairTimes(client, undone, "default", ["n17", "n4711", "n9999"]);
  t.diagnostic(`repaired in ${times.map((ms) => Math.round(ms)).join(", ")} ms`);
  await client.close();
});

test("nothing changed for a minute: not one write, on the hub and on the clusters, Events and status included", async (t) => {
  await pushFiles(`oci://${lab.registry}/flux:${fluxVersion}`, {
    "gotk-components.yaml": (await fluxManifests()).text,
  });
  const artifact = { url: `oci://${lab.registry}/flux`, insecure: true };
  const { client } = await newCluster(hub, "quiet");
  await applyFleet(hub, "quiet", "quiet", [{ name: "flux", flux: { version: "2", artifact } }]);
  await fleetReady(hub, "quiet");
  await passOver("quiet");
  const audits = ["hub", "quiet", "many", "drifting"].map((name) => auditOf(lab.dir, name));
  const since = await settled(audits);
  await new Promise((resolve) => setTimeout(resolve, quietMs));
  for (const [i, audit] of audits.entries())
    assert.deepEqual(await writesSince(audit, since[i] ?? 0), []);
  // A pass that found nothing to do must not start another one.
  const onQuiet = await requestsSince(auditOf(lab.dir, "quiet"), since[1] ?? 0);
  assert.deepEqual(
    onQuiet.filter(({ verb }) => verb === "list"),
    [],
  );
  // The log shows what the controller does: its watches and its Lease at least.
  const [onHub] = audits;
  assert.ok(onHub !== undefined);
  const requests = await requestsSince(onHub, since[0] ?? 0);
  assert.ok(requests.some(isLease));
  t.diagnostic(`observed for ${quietMs / 1000} s`);
  await client.close();
});

/** Asks for a pass over the cluster of a Fleet of the same name, and waits until it was made. */
async function passOver(name: string): Promise<void> {
  const member = await memberOf(hub, name, name);
  assert.ok(member !== undefined);
  const requestedAt = "quiet";
  const annotations = { "reconcile.fluxcd.io/requestedAt": requestedAt };
  await hub.mergePatch(resources.fleetMember, member.metadata, { metadata: { annotations } });
  const handled = async () => (await memberOf(hub, name, name))?.status?.lastHandledReconcileAt;
  await until(async () => (await handled()) === requestedAt, {
    deadlineMs: 30_000,
    what: `a pass over ${name}`,
  });
}

/** Where the logs end once the last writes of getting Ready are done: five seconds without one. */
async function settled(audits: readonly Audit[]): Promise<readonly Mark[]> {
  let marks = await Promise.all(audits.map((audit) => audit.mark()));
  let sinceMs = performance.now();
  await until(
    async () => {
      const written = await Promise.all(audits.map((a, i) => writesSince(a, marks[i] ?? 0)));
      if (written.flat().length > 0) {
        marks = await Promise.all(audits.map((audit) => audit.mark()));
        sinceMs = performance.now();
      }
      return performance.now() - sinceMs > 5_000;
    },
    { deadlineMs: 60_000, what: "the last writes", everyMs: 200 },
  );
  return marks;
}
