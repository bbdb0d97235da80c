import assert from "node:assert/strict";
import { test } from "node:test";
import type { Live } from "../drift/index.ts";
import { emptyInventory, withEntries, type Entry } from "../inventory/index.ts";
import { idOf, keyOf, stageOf } from "../object/index.ts";
import { claimsBy, placeLayers, startFacts, step, type LayerPlan } from "./index.ts";

type Start = Parameters<typeof startFacts>[0];

const key = "/ConfigMap/default/a";
const entry: Entry = {
  key,
  version: "v1",
  owner: "me",
  layer: "left",
  policy: "Delete",
  want: "d",
  own: "o",
  uid: "u",
  created: true,
  seen: { version: "1", main: "m", meta: "" },
};
const live: Live = {
  uid: "u",
  own: "o",
  owner: "me",
  deleting: false,
  version: "1",
  generation: undefined,
  main: "m",
  meta: "",
  tellsStatus: true,
  shared: false,
  createdByUs: true,
};
const base: Omit<LayerPlan, "objects"> = {
  name: "l",
  dependsOn: [],
  wait: true,
  timeoutMs: 5000,
  policy: "Delete",
  adopt: false,
  isFlux: false,
};

function start(more: Partial<Start>, entries: readonly Entry[] = [entry]) {
  const pin = { sequence: 1, revision: "r", fleet: "n/f" };
  return startFacts({
    owner: "me",
    cluster: "n/c",
    self: undefined,
    withdraws: false,
    clusterId: "id",
    approval: undefined,
    nowMs: 0,
    ledger: {
      header: { cluster: "id", pins: new Map([["me", pin]]) },
      inventory: withEntries(emptyInventory, entries),
    },
    live: new Map([[key, live]]),
    layers: [],
    unlisted: new Map(),
    appliedSinceMs: new Map(),
    pauses: new Map(),
    thieves: new Map(),
    unverified: new Set(),
    claims: new Map(),
    removalWaits: undefined,
    triesFirst: false,
    leavesBehind: () => false,
    remembered: 1,
    refused: new Map(),
    held: new Map(),
    searched: false,
    ...more,
  });
}

/** What is done to the objects that are left over, once the sequence number is raised. */
function removalOf(more: Partial<Start>, entries?: readonly Entry[]) {
  return step({ ...start(more, entries), fence: "raised" });
}

test("a layer that leaves is deleted, or left behind when its Fleet says so by then, on whatever way", () => {
  assert.equal(removalOf({}).kind, "delete");
  assert.equal(removalOf({ leavesBehind: () => true }).kind, "release");
  assert.equal(removalOf({ layers: undefined }).kind, "delete");
  assert.equal(removalOf({ layers: undefined, leavesBehind: () => true }).kind, "release");
});

test("objects that no entry names any more are left behind when their layer may have been one that does that", () => {
  const strays = (leaves: boolean) =>
    removalOf({ searched: true, leavesBehind: (layer) => layer === "" && leaves }, []).kind;
  assert.equal(strays(false), "delete");
  assert.equal(strays(true), "release");
});

test("A4 an object that the whole inventory does not name is not ours, whatever its label and its fields say", () => {
  const next = step(start({}, []));
  assert.ok(next.kind === "rest" && next.removal === undefined);
});

test("what is on its way out is not deleted again, unless it is another object by now", () => {
  const held = new Map([[key, "is being deleted: finalizers x"]]);
  const going = { ...live, deleting: true };
  const rest = removalOf({ held, live: new Map([[key, going]]) });
  assert.match((rest.kind === "rest" && rest.removal?.message) || "", /finalizers x/);
  assert.equal(removalOf({ held, live: new Map([[key, { ...going, uid: "w" }]]) }).kind, "delete");
  assert.equal(removalOf({ held, live: new Map() }).kind, "delete");
});

test("a layer that cannot be placed keeps its claim on the objects that move to it", () => {
  const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a" } };
  const unknown = { apiVersion: "x.example/v1", kind: "Nosuch", metadata: { name: "b" } };
  const secretKey = new Uint8Array(32);
  const scopes = new Map([["v1/ConfigMap", { namespaced: true }]]);
  const layers = placeLayers(
    [{ ...base, objects: [object, unknown] }],
    { owner: "other", secretKey, isHub: false },
    scopes,
  );
  assert.deepEqual(layers[0]?.objects, []);
  const claims = claimsBy([{ owner: "other", layers }]);
  assert.equal(claims.get(key), "other");
  const next = removalOf({ claims });
  assert.equal(next.kind === "store" && next.handsOver, true);
});

test("a Flux that only loses a component is not disarmed; one that leaves is", () => {
  const crd = "apiextensions.k8s.io/CustomResourceDefinition//images.image.toolkit.fluxcd.io";
  const left = { ...entry, key: crd, approved: true };
  const kept = {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "source-controller" },
  };
  const id = idOf(kept);
  const desired = {
    key: keyOf(id),
    id,
    stage: stageOf(kept),
    layer: "l",
    object: kept,
    digest: "d",
    mode: "Always",
  } as const;
  const stays = { ...entry, key: desired.key, layer: "l" };
  const flux = { ...base, isFlux: true, wait: false, objects: [desired] };
  const there = new Map([
    [crd, live],
    [desired.key, { ...live, health: { state: "Current", message: "" } as const }],
  ]);
  assert.equal(removalOf({ layers: [flux], live: there }, [left, stays]).kind, "delete");
  assert.equal(removalOf({ live: new Map([[crd, live]]) }, [left]).kind, "disarm");
});
