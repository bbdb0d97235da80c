import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyInventory, type Inventory } from "../inventory/index.ts";
import { idOf, keyOf, stageOf, type KubeObject } from "../object/index.ts";
import {
  learnApplied,
  learnEstablished,
  learnHealth,
  learnRemoved,
  learnStored,
  step,
} from "./index.ts";
import type { ApplyReply, DesiredObject, Facts, LayerPlan, Live, RemovalReply } from "./index.ts";

/** A cluster of one process: what server-side apply, delete and the inventory do, and how often. */
class World {
  readonly objects = new Map<string, Live & { readonly content: string }>();
  readonly creates = new Map<string, number>();
  readonly deletes = new Map<string, number>();
  inventory: Inventory = emptyInventory;
  writes = 0;
  #uid = 0;
  readonly #crashAfter: number;

  constructor(crashAfter = Number.POSITIVE_INFINITY) {
    this.#crashAfter = crashAfter;
  }

  /** The same cluster, with a controller that does not crash any more. */
  restarted(): World {
    const next = new World();
    for (const [key, live] of this.objects) next.objects.set(key, live);
    for (const [key, n] of this.creates) next.creates.set(key, n);
    for (const [key, n] of this.deletes) next.deletes.set(key, n);
    next.inventory = this.inventory;
    next.#uid = this.#uid;
    return next;
  }

  #write(): void {
    this.writes += 1;
    if (this.writes > this.#crashAfter) throw new Crash();
  }

  store(inventory: Inventory): void {
    this.#write();
    this.inventory = inventory;
  }

  apply({ key, digest }: DesiredObject): ApplyReply {
    this.#write();
    const found = this.objects.get(key);
    const own = `own-${digest}`;
    const created = found === undefined;
    if (created) this.creates.set(key, (this.creates.get(key) ?? 0) + 1);
    const base = found ?? {
      uid: `u${this.#uid++}`,
      createdByUs: true,
      generation: 1,
      deleting: false,
    };
    const live = { ...base, own, owner: "me", content: digest };
    this.objects.set(key, live);
    return { live, created };
  }

  remove(key: string): RemovalReply {
    if (this.objects.get(key)?.owner !== "me") return "gone";
    this.#write();
    this.deletes.set(key, (this.deletes.get(key) ?? 0) + 1);
    this.objects.delete(key);
    return "gone";
  }

  release(key: string): RemovalReply {
    const found = this.objects.get(key);
    if (found?.owner !== "me") return "gone";
    this.#write();
    this.objects.set(key, { ...found, owner: undefined });
    return "gone";
  }
}

class Crash extends Error {}

function object(apiVersion: string, kind: string, name: string): KubeObject {
  return { apiVersion, kind, metadata: { name, namespace: kind === "Namespace" ? "" : "n" } };
}

function desired(
  layer: string,
  content: string,
  ...objects: readonly KubeObject[]
): readonly DesiredObject[] {
  return objects.map((o) => {
    const id = idOf(o);
    return {
      key: keyOf(id),
      id,
      stage: stageOf(o),
      layer,
      object: o,
      digest: `${content}-${keyOf(id)}`,
    };
  });
}

function layer(
  name: string,
  objects: readonly DesiredObject[],
  more: Partial<LayerPlan> = {},
): LayerPlan {
  return { name, dependsOn: [], wait: false, timeoutMs: 1000, policy: "Delete", objects, ...more };
}

const crd = object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "things.example.com");
const thing = object("example.com/v1", "Thing", "t");
const [a, b, c] = ["a", "b", "c"].map((name) => object("v1", "ConfigMap", name)) as [
  KubeObject,
  KubeObject,
  KubeObject,
];
const deployment = object("apps/v1", "Deployment", "d");

const v1 = [
  layer("base", desired("base", "1", crd, a, b, thing)),
  layer("app", desired("app", "1", deployment, c), { dependsOn: ["base"], wait: true }),
];
const v2 = [
  layer("base", desired("base", "2", crd, a, thing)),
  layer("app", desired("app", "1", deployment, c, b), { dependsOn: ["base"], wait: true }),
];

/** One member's life on the world, as the shim lives it; approves whatever is asked. */
function run(world: World, layers: readonly LayerPlan[]): void {
  const owned = [...world.objects].filter(([, live]) => live.owner !== undefined);
  const live = new Map(
    owned.map(([key, { content: _, ...found }]) => [key, { ...found, established: true }]),
  );
  let facts: Facts = {
    owner: "me",
    cluster: "n/c",
    layers,
    stored: world.inventory,
    inventory: world.inventory,
    live,
    problems: new Map(),
    held: new Set(),
    approval: undefined,
    nowMs: 0,
    appliedSinceMs: new Map(),
  };
  for (let steps = 0; steps < 100; steps++) {
    const next = step(facts);
    switch (next.kind) {
      case "rest": {
        const approval = /approve-removal=(\w+)/.exec(next.removal?.message ?? "")?.[1];
        if (approval === undefined || approval === facts.approval) return;
        facts = { ...facts, approval };
        break;
      }
      case "store":
        world.store(next.inventory);
        facts = learnStored(facts, next.inventory);
        break;
      case "apply":
        facts = learnApplied(
          facts,
          next.objects,
          new Map(next.objects.map((o) => [o.key, world.apply(o)])),
        );
        break;
      case "establish":
        facts = learnEstablished(facts, new Map(next.keys.map((key) => [key, true])));
        break;
      case "look":
        facts = learnHealth(
          facts,
          new Map(next.keys.map((key) => [key, { state: "Current", message: "" }])),
        );
        break;
      case "release":
        facts = learnRemoved(
          facts,
          new Map(next.entries.map(({ key }) => [key, world.release(key)])),
        );
        break;
      case "delete":
        facts = learnRemoved(
          facts,
          new Map(next.entries.map(({ key }) => [key, world.remove(key)])),
        );
        break;
    }
    assertRecorded(world);
  }
  assert.fail("does not come to rest");
}

/** I2, one way: whatever carries our mark is in the inventory, at every moment. */
function assertRecorded(world: World): void {
  const lost = [...world.objects].filter(
    ([key, live]) => live.owner === "me" && !world.inventory.has(key),
  );
  assert.deepEqual(
    lost.map(([key]) => key),
    [],
  );
}

function assertExact(world: World, layers: readonly LayerPlan[]): void {
  const wanted = layers.flatMap((l) => l.objects);
  const ours = [...world.objects].filter(([, live]) => live.owner === "me");
  assert.deepEqual(
    new Map(ours.map(([key, { content }]) => [key, content])),
    new Map(wanted.map((o) => [o.key, o.digest])),
  );
  assert.deepEqual([...world.inventory.keys()].sort(), wanted.map((o) => o.key).sort());
}

const stories: readonly (readonly [
  name: string,
  before: readonly LayerPlan[],
  after: readonly LayerPlan[],
])[] = [
  ["install", [], v1],
  [
    "upgrade, with an object dropped, one moved to another layer and all of a layer changed",
    v1,
    v2,
  ],
  ["removal of a layer", v1, v1.slice(0, 1)],
  ["uninstall", v1, []],
];

for (const [name, before, after] of stories) {
  test(`C1 C3 C4 ${name}: crash after every write, twice in a row, and come to the same end`, () => {
    const reference = new World();
    run(reference, before);
    const writesBefore = reference.writes;
    run(reference, after);
    assertExact(reference, after);
    const total = reference.writes - writesBefore;
    assert.ok(total >= 2, "the story writes something");
    for (let n = 0; n < total; n++) {
      for (let again = 0; again <= 2; again++) {
        const start = new World();
        run(start, before);
        let world = crashing(start, n, after);
        if (again > 0) world = crashing(world, again - 1, after);
        run(world, after);
        assertExact(world, after);
        assert.deepEqual(world.creates, reference.creates, `creates after a crash at write ${n}`);
        assert.deepEqual(world.deletes, reference.deletes, `deletes after a crash at write ${n}`);
      }
    }
  });
}

/** The world after a controller that crashed after its n-th write. */
function crashing(from: World, n: number, layers: readonly LayerPlan[]): World {
  const world = new World(n);
  Object.assign(world, { inventory: from.inventory });
  for (const [key, live] of from.objects) world.objects.set(key, live);
  for (const [key, count] of from.creates) world.creates.set(key, count);
  for (const [key, count] of from.deletes) world.deletes.set(key, count);
  try {
    run(world, layers);
  } catch (error) {
    if (!(error instanceof Crash)) throw error;
  }
  assertRecorded(world);
  return world.restarted();
}

test("nothing is written when nothing changed", () => {
  const world = new World();
  run(world, v1);
  const { writes } = world;
  run(world, v1);
  assert.equal(world.writes, writes);
});

test("an object that was there before is adopted, and released instead of deleted", () => {
  const world = new World();
  const key = keyOf(idOf(a));
  world.objects.set(key, {
    uid: "old",
    own: "",
    owner: undefined,
    deleting: false,
    generation: 1,
    createdByUs: false,
    content: "theirs",
  });
  run(world, v1);
  assert.equal(world.inventory.get(key)?.created, false);
  run(world, []);
  assert.equal(world.objects.get(key)?.owner, undefined);
  assert.ok(world.objects.has(key));
  assert.equal(world.objects.size, 1);
});

test("drift of one object re-applies that object only", () => {
  const world = new World();
  run(world, v1);
  const key = keyOf(idOf(b));
  world.objects.set(key, {
    ...(world.objects.get(key) as Live & { content: string }),
    own: "changed",
    content: "theirs",
  });
  const { writes } = world;
  run(world, v1);
  assert.equal(world.writes - writes, 1);
  assertExact(world, v1);
});
