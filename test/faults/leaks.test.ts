import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { LabFile } from "../../hack/lab/state.ts";
import { conditionOf } from "../../pkg/api/index.ts";
import { asMap } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { pushFiles } from "../harness/artifacts.ts";
import {
  applyFleet,
  capitan,
  configMap,
  fleetOf,
  fleetReady,
  inline,
  memberOf,
  namespace,
  newCluster,
  resources,
  sharedHub,
  sharedLab,
  until,
} from "../harness/index.ts";

const plain = "leaks-1";
const megabyte = 1024 * 1024;

let lab: LabFile;
let hub: KubeClient;
let workload: KubeClient;

before(async () => {
  lab = await sharedLab();
  hub = await sharedHub();
  workload = (await newCluster(hub, plain)).client;
});
after(async () => {
  await workload.close();
  await hub.close();
});

const inDefault = (name: string) => ({ namespace: "default", name });
const valueOf = async (name: string) =>
  asMap((await workload.get(resources.configMap, inDefault(name)))?.["data"])["k"];
const becomes = (name: string, value: string) =>
  until(async () => (await valueOf(name)) === value, {
    deadlineMs: 20_000,
    what: `ConfigMap ${name} to be ${value}`,
  });

/** Waits until the member is not Ready because of something that its message names. */
function saysOf(fleet: string, words: RegExp): Promise<unknown> {
  return until(
    async () => {
      const ready = conditionOf((await memberOf(hub, fleet, plain))?.status?.conditions, "Ready");
      const said = `${ready?.reason ?? "no condition"}: ${ready?.message ?? ""}`;
      if (ready?.status === "True" || !words.test(said)) throw new Error(`it says ${said}`);
      return true;
    },
    { deadlineMs: 60_000, what: `the member of ${fleet} to say ${words.source}`, everyMs: 100 },
  );
}

/** Text that does not compress, so that no artifact looks like a bomb. */
const noise = (bytes: number) =>
  randomBytes(Math.ceil(bytes * 0.75))
    .toString("base64")
    .slice(0, bytes);

/** A layer whose object is in an artifact: what is too big for a Fleet. */
async function artifactLayer(name: string, object: object): Promise<object> {
  const url = `oci://${lab.registry}/leaks/${name}`;
  await pushFiles(`${url}:v1`, { "a.json": JSON.stringify(object) });
  return { name, oci: { url, insecure: true, ref: { tag: "v1" } } };
}

test("C8 a cache directory that cannot be written: what was pulled stays in use, new artifacts are applied, a warning is logged", async () => {
  const url = `oci://${lab.registry}/leaks/cached`;
  const push = (v: string) =>
    pushFiles(`${url}:${v}`, { "a.json": JSON.stringify(configMap("cached", { k: v })) });
  const fleet = (tag: string) =>
    applyFleet(hub, "leaks-cached", plain, [
      { name: "l", oci: { url, insecure: true, ref: { tag } } },
    ]);
  const dir = join(lab.dir, "artifacts");
  const log = join(lab.dir, "log", "controller.log");
  await push("v1");
  await fleet("v1");
  await fleetReady(hub, "leaks-cached");
  const logged = (await readFile(log, "utf8")).length;
  await rename(dir, `${dir}.away`);
  await writeFile(dir, "a file, not a directory");
  try {
    await workload.mergePatch(resources.configMap, inDefault("cached"), { data: { k: "drift" } });
    await becomes("cached", "v1");
    await fleet("nosuch");
    const told = async () =>
      conditionOf((await fleetOf(hub, "leaks-cached"))?.status?.conditions, "Ready")?.reason;
    await until(async () => (await told()) === "ArtifactNotFound", {
      deadlineMs: 30_000,
      what: "the Fleet to say that there is no such tag",
    });
    assert.equal(await valueOf("cached"), "v1");
    await push("v2");
    await fleet("v2");
    await becomes("cached", "v2");
    await fleetReady(hub, "leaks-cached");
    const lines = (await readFile(log, "utf8")).slice(logged).split("\n");
    const warned = lines.filter((line) => line.includes('"warn"') && /cache/i.test(line));
    assert.ok(warned.length >= 1 && warned.length <= 20, `${warned.length} warnings`);
  } finally {
    await rm(dir, { force: true });
    await rename(`${dir}.away`, dir);
  }
  const digest = await push("v3");
  await fleet("v3");
  await becomes("cached", "v3");
  await fleetReady(hub, "leaks-cached");
  assert.match(digest, /^sha256:/);
});

const canaries = {
  number: "918273645501928374",
  base64: "canary-not-base64!-7f3a9",
  typed: "canary-in-a-map-51c20",
  frozen: "canary-frozen-before-90d1e",
  changed: "canary-frozen-after-44b7c",
  large: "canary-too-large-c83f6",
};
const secret = (name: string, more: object) => ({
  apiVersion: "v1",
  kind: "Secret",
  metadata: inDefault(name),
  ...more,
});
const base64 = (text: string) => Buffer.from(text).toString("base64");

/** Everything that people and other programs can read of Capitan, as one text for each place. */
async function published(): Promise<readonly (readonly [place: string, text: string])[]> {
  const members = await hub.list(resources.fleetMember, { namespace });
  const fleets = await hub.list(resources.fleet, { namespace });
  const statuses = [...members.items, ...fleets.items].map(({ metadata, ...object }) => [
    metadata.name,
    metadata.annotations,
    object["status"],
  ]);
  const events = await hub.list(resources.event, { namespace });
  const inventories = await workload.list(resources.configMap, { namespace: "capitan-system" });
  const metrics = await fetch(`http://127.0.0.1:${lab.ports.controllerMetrics}/metrics`);
  const { stdout, stderr } = await capitan(["describe", "member", plain]);
  return [
    ["status", JSON.stringify(statuses)],
    ["events", JSON.stringify(events.items)],
    ["inventory", JSON.stringify(inventories.items)],
    ["log", await readFile(join(lab.dir, "log", "controller.log"), "utf8")],
    ["metrics", await metrics.text()],
    ["describe", stdout + stderr],
  ];
}

test("L2 an API server that quotes Secrets in its refusals: no value reaches status, events, log, metrics or the CLI", async () => {
  const large = secret("l2-large", { data: { k: base64(canaries.large + noise(1.2 * megabyte)) } });
  const layers: Readonly<Record<string, object>> = {
    number: inline("l", [secret("l2-number", { stringData: { pw: 918273645501928374n } })]),
    base64: inline("l", [secret("l2-base64", { data: { pw: canaries.base64 } })]),
    typed: inline("l", [secret("l2-typed", { data: { pw: { x: canaries.typed } } })]),
    large: await artifactLayer("l2-large", large),
  };
  for (const [name, layer] of Object.entries(layers)) {
    await applyFleet(hub, `leaks-l2-${name}`, plain, [layer]);
    await saysOf(
      `leaks-l2-${name}`,
      new RegExp(`Secret/default/l2-${name}: (HTTP [45]\\d\\d|.* is not a string)`),
    );
  }
  const frozen = (value: string) => [
    inline("l", [secret("l2-frozen", { immutable: true, data: { k: base64(value) } })]),
  ];
  await applyFleet(hub, "leaks-l2-frozen", plain, frozen(canaries.frozen));
  await fleetReady(hub, "leaks-l2-frozen");
  await applyFleet(hub, "leaks-l2-frozen", plain, frozen(canaries.changed));
  await saysOf("leaks-l2-frozen", /Secret\/default\/l2-frozen: HTTP 422/);
  for (const [place, text] of await published()) {
    assert.ok(text.length > 100, `${place} is empty`);
    for (const canary of Object.values(canaries)) {
      const forms = [
        canary,
        base64(canary),
        base64(canary).slice(0, 16),
        encodeURIComponent(canary),
      ];
      for (const form of forms) assert.ok(!text.includes(form), `${place} has ${form}`);
    }
  }
});
