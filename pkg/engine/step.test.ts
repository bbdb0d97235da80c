import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyInventory, withEntries, type Entry } from "../inventory/index.ts";
import { idOf, keyOf, stageOf, type Health, type KubeObject } from "../object/index.ts";
import { step, type DesiredObject, type Facts, type LayerPlan, type Live } from "./index.ts";

function want(apiVersion: string, kind: string, name: string, layer = "l"): DesiredObject {
  const object: KubeObject = { apiVersion, kind, metadata: { name } };
  const id = idOf(object);
  return { key: keyOf(id), id, stage: stageOf(object), layer, object, digest: "d" };
}

const entryOf = ({ key }: DesiredObject, more: Partial<Entry> = {}): Entry => ({
  key,
  version: "v1",
  owner: "me",
  layer: "l",
  policy: "Delete",
  want: "d",
  own: "o",
  uid: "u",
  created: true,
  ...more,
});
const live = (more: Partial<Live> = {}): Live => ({
  uid: "u",
  own: "o",
  owner: "me",
  deleting: false,
  generation: 1,
  createdByUs: true,
  established: true,
  ...more,
});
const layer = (objects: readonly DesiredObject[], more: Partial<LayerPlan> = {}): LayerPlan => ({
  name: "l",
  dependsOn: [],
  wait: true,
  timeoutMs: 5000,
  policy: "Delete",
  objects,
  ...more,
});

function facts(
  layers: readonly LayerPlan[],
  more: Partial<Facts> = {},
  entries: readonly Entry[] = [],
): Facts {
  const inventory = withEntries(emptyInventory, entries);
  return {
    owner: "me",
    cluster: "n/c",
    layers,
    stored: inventory,
    inventory,
    live: new Map(),
    problems: new Map(),
    held: new Set(),
    approval: undefined,
    nowMs: 10_000,
    appliedSinceMs: new Map(),
    ...more,
  };
}

const map = want("v1", "ConfigMap", "a");
const deployment = want("apps/v1", "Deployment", "d");
const namespace = want("v1", "Namespace", "n");
const health = (state: Health["state"]): Health => ({ state, message: "m" });

function rest(f: Facts) {
  const next = step(f);
  assert.equal(next.kind, "rest", `not ${next.kind}`);
  return next;
}

test("first everything that is to be applied is written down", () => {
  const next = step(facts([layer([map, deployment])]));
  assert.equal(next.kind, "store");
});

test("then the first stage is applied, and only it", () => {
  const next = step(
    facts([layer([namespace, map])], {}, [
      entryOf(namespace, { want: "" }),
      entryOf(map, { want: "" }),
    ]),
  );
  assert.deepEqual(next.kind === "apply" && next.objects.map((o) => o.key), [namespace.key]);
});

test("later stages wait until Namespaces are Active", () => {
  const f = facts(
    [layer([namespace, map])],
    { live: new Map([[namespace.key, live({ established: undefined })]]) },
    [entryOf(namespace), entryOf(map, { want: "" })],
  );
  assert.deepEqual(step(f), { kind: "establish", keys: [namespace.key] });
});

const settledDeployment = (h: Health | undefined) => ({
  live: new Map([[deployment.key, live({ health: h })]]),
});

test("health is looked at when everything is applied", () => {
  assert.deepEqual(
    step(facts([layer([deployment])], settledDeployment(undefined), [entryOf(deployment)])),
    { kind: "look", keys: [deployment.key] },
  );
});

test("HealthTimeout names the object and what it lacks, after the timeout and not before", () => {
  const waiting = rest(
    facts([layer([deployment])], settledDeployment(health("InProgress")), [entryOf(deployment)]),
  ).layers[0];
  assert.equal(waiting?.state, "Waiting");
  assert.equal(waiting?.remainingMs, 5000);
  const late = {
    ...settledDeployment(health("InProgress")),
    appliedSinceMs: new Map([["l", 4_000]]),
  };
  const failed = rest(facts([layer([deployment])], late, [entryOf(deployment)])).layers[0];
  assert.equal(failed?.state, "Failed");
  assert.deepEqual(failed?.problem, {
    code: "HealthTimeout",
    message: "Deployment/d: m, after 5 s",
  });
});

test("HealthFailed does not wait for the timeout", () => {
  const failed = rest(
    facts([layer([deployment])], settledDeployment(health("Failed")), [entryOf(deployment)]),
  ).layers[0];
  assert.deepEqual([failed?.state, failed?.problem?.code], ["Failed", "HealthFailed"]);
});

test("a layer without wait is ready when it is applied", () => {
  assert.equal(
    rest(
      facts([layer([deployment], { wait: false })], settledDeployment(undefined), [
        entryOf(deployment),
      ]),
    ).layers[0]?.state,
    "Ready",
  );
});

test("a layer waits for those it depends on, and says for which", () => {
  const second = layer([map], { name: "second", dependsOn: ["l"] });
  const f = facts([layer([deployment]), second], settledDeployment(health("InProgress")), [
    entryOf(deployment),
    entryOf(map, { want: "", layer: "second" }),
  ]);
  assert.deepEqual(rest(f).layers[1]?.problem, {
    code: "DependencyNotReady",
    message: "waits for layer l",
  });
});

test("a broken layer does not hold one that does not depend on it", () => {
  const broken = layer([], { name: "broken", problem: { code: "UnknownKind", message: "x" } });
  const next = step(facts([broken, layer([map])], {}, [entryOf(map, { want: "" })]));
  assert.equal(next.kind, "apply");
});

test("an object of another Fleet stops the whole layer before anything is written", () => {
  const other = { live: new Map([[deployment.key, live({ owner: "them" })]]) };
  const f = facts([layer([map, deployment])], other, [
    entryOf(map, { want: "" }),
    entryOf(deployment, { want: "" }),
  ]);
  assert.equal(rest(f).layers[0]?.problem?.code, "OwnedByAnotherFleet");
});

const leftover = (of: DesiredObject, more: Partial<Entry> = {}) =>
  facts([], { live: new Map([[of.key, live()]]) }, [entryOf(of, more)]);

test("what is left over is deleted when we created it, and released when not", () => {
  assert.equal(step(leftover(map)).kind, "delete");
  assert.equal(step(leftover(map, { created: false })).kind, "release");
  assert.equal(step(leftover(map, { policy: "Orphan" })).kind, "release");
});

test("nothing is removed while a layer is not applied", () => {
  const broken = layer([], { problem: { code: "UnknownKind", message: "x" } });
  assert.equal(step(facts([broken], {}, [entryOf(map)])).kind, "rest");
});

for (const kept of ["default", "kube-system", "kube-public", "kube-node-lease"]) {
  test(`Namespace ${kept} is never deleted`, () =>
    assert.equal(step(leftover(want("v1", "Namespace", kept))).kind, "release"));
}

for (const [apiVersion, kind] of [
  ["v1", "Namespace"],
  ["apiextensions.k8s.io/v1", "CustomResourceDefinition"],
  ["v1", "PersistentVolumeClaim"],
] as const) {
  test(`deleting a ${kind} needs approval of exactly this set`, () => {
    const object = want(apiVersion, kind, "x");
    const problem = rest(leftover(object)).removal;
    assert.equal(problem?.code, "RemovalNeedsApproval");
    const approval = /approve-removal=(\w+)$/.exec(problem?.message ?? "")?.[1];
    const approved = step({ ...leftover(object), approval });
    assert.ok(approved.kind === "store");
    const { inventory } = approved;
    assert.equal(step({ ...leftover(object), inventory, stored: inventory }).kind, "delete");
    assert.equal(step({ ...leftover(object), approval: "0123456789abcdef" }).kind, "rest");
    const two = facts([], {}, [entryOf(object), entryOf(want(apiVersion, kind, "y"))]);
    assert.equal(step({ ...two, approval }).kind, "rest");
    assert.equal(step({ ...leftover(object), cluster: "n/other", approval }).kind, "rest");
  });
}

test("an object that stays, held by a finalizer, is named and stays in the inventory", () => {
  const { removal } = rest({ ...leftover(map), held: new Set([map.key]) });
  assert.deepEqual(removal, {
    code: "RemovalBlocked",
    message: "ConfigMap/a is held by a finalizer, or changes all the time",
  });
});

test("an object that is being deleted by somebody is not applied onto", () => {
  const f = facts([layer([map])], { live: new Map([[map.key, live({ deleting: true })]]) }, [
    entryOf(map),
  ]);
  assert.equal(rest(f).layers[0]?.problem?.code, "RemovalBlocked");
});
