import assert from "node:assert/strict";
import { test } from "node:test";
import type { Live } from "../drift/index.ts";
import { emptyInventory, type Entry, type Inventory } from "../inventory/index.ts";
import { idOf, keyOf, stageOf, type KubeObject } from "../object/index.ts";
import {
  learnApplied,
  learnDisarmed,
  learnEstablished,
  learnHealth,
  learnInspected,
  learnRemoved,
  learnStored,
  startFacts,
  step,
} from "./index.ts";
import type { ApplyReply, DesiredObject, Facts, LayerPlan, RemovalReply, Step } from "./index.ts";

/** Where a controller dies: in its n-th step that writes, after this subset of the batch. */
type CrashPoint = { readonly batch: number; readonly subset: number };
class Crash extends Error {}

type Member = { readonly owner: string; readonly layers: readonly LayerPlan[] };

/** A cluster of one process: what server-side apply, delete and the inventory do, and how often. */
class World {
  readonly objects = new Map<string, Live & { readonly content: string }>();
  readonly creates = new Map<string, number>();
  readonly deletes = new Map<string, number>();
  /** By owner: what the inventory's header holds, and what the hub remembers. */
  readonly sequences = new Map<string, number>();
  readonly remembered = new Map<string, number>();
  inventory: Inventory = emptyInventory;
  /** Whether an approval that is asked for is given. */
  mayAsk = true;
  /** Objects of each batch of writes so far; an inventory is a batch of one. */
  batches: number[] = [];
  #uid = 0;
  #version = 0;
  #crash: CrashPoint | undefined;

  /** The same cluster, with a controller that dies at this point, or lives. */
  copy(crash?: CrashPoint): World {
    const next = new World();
    for (const name of ["objects", "creates", "deletes", "sequences", "remembered"] as const) {
      for (const [key, value] of this[name]) next[name].set(key, value as never);
    }
    next.inventory = this.inventory;
    next.mayAsk = this.mayAsk;
    next.#uid = this.#uid;
    next.#version = this.#version;
    next.#crash = crash;
    return next;
  }

  /** Performs one batch, or the part of it before the crash. */
  batch<T>(items: readonly T[], write: (item: T) => void): void {
    const index = this.batches.length;
    this.batches.push(items.length);
    const subset = this.#crash?.batch === index ? this.#crash.subset : undefined;
    items.forEach((item, i) => {
      if (subset === undefined || (subset >> i) % 2 === 1) write(item);
    });
    if (subset !== undefined) throw new Crash();
  }

  apply({ key, digest }: DesiredObject, owner: string): ApplyReply {
    const found = this.objects.get(key);
    if (found === undefined) count(this.creates, key);
    const changed = found?.content !== `${owner} ${digest}`;
    const version = changed ? String(this.#version++).padStart(6, "0") : found.version;
    const live: Live = {
      uid: found?.uid ?? `u${this.#uid++}`,
      version,
      own: `own-${owner}-${digest}`,
      main: "",
      meta: "",
      owner,
      generation: 1,
      deleting: false,
      shared: false,
      tellsStatus: true,
      established: true,
      createdByUs: found?.createdByUs ?? true,
    };
    this.objects.set(key, { ...live, content: `${owner} ${digest}` });
    return { live, created: found === undefined };
  }

  remove(key: string, owner: string): RemovalReply {
    if (this.objects.get(key)?.owner === owner) {
      count(this.deletes, key);
      this.objects.delete(key);
    }
    return "gone";
  }

  release(key: string, owner: string): RemovalReply {
    const found = this.objects.get(key);
    if (found?.owner === owner) this.objects.set(key, { ...found, owner: undefined });
    return "gone";
  }
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

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
    const digest = `${content}-${keyOf(id)}`;
    const facts = { key: keyOf(id), id, stage: stageOf(o), layer, object: o };
    return { ...facts, digest, mode: "Always" };
  });
}

function layer(
  name: string,
  objects: readonly DesiredObject[],
  more: Partial<LayerPlan> = {},
): LayerPlan {
  const base = { dependsOn: [], wait: false, timeoutMs: 1000, policy: "Delete" } as const;
  return { ...base, name, adopt: false, isFlux: false, objects, ...more };
}

const crd = object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "things.example.com");
const thing = object("example.com/v1", "Thing", "t");
const [a, b, c] = ["a", "b", "c"].map((name) => object("v1", "ConfigMap", name)) as [
  KubeObject,
  KubeObject,
  KubeObject,
];
const deployment = object("apps/v1", "Deployment", "d");
const fluxCrd = object(
  "apiextensions.k8s.io/v1",
  "CustomResourceDefinition",
  "kustomizations.kustomize.toolkit.fluxcd.io",
);

const v1 = [
  layer("base", desired("base", "1", crd, a, b, thing)),
  layer("app", desired("app", "1", deployment, c), { dependsOn: ["base"], wait: true }),
];
const v2 = [
  layer("base", desired("base", "2", crd, a, thing)),
  layer("app", desired("app", "1", deployment, c, b), { dependsOn: ["base"], wait: true }),
];
const flux = [layer("flux", desired("flux", "1", fluxCrd, deployment, a, c))];

/** All members once more and once more, as the queue lives them, until nothing is left to do. Approves what is asked. */
function live(world: World, members: readonly Member[]): void {
  for (let rounds = 0; rounds < 5; rounds++) {
    const before = world.batches.length;
    for (const member of members) pass(world, member, members);
    if (world.batches.length === before) return;
  }
  assert.fail("does not come to rest");
}

function pass(world: World, member: Member, members: readonly Member[]): void {
  let facts = factsOf(world, member, members);
  for (let steps = 0; steps < 100; steps++) {
    const next = step(facts);
    if (next.kind === "rest") {
      const approval = /approve-removal=(\w+)/.exec(next.removal?.message ?? "")?.[1];
      if (approval === undefined || approval === facts.approval) return;
      if (!world.mayAsk) assert.fail(`asks for approval of ${next.removal?.message ?? ""}`);
      facts = { ...facts, approval };
    } else facts = perform(next, facts, world);
    assertRecorded(world);
  }
  assert.fail("does not come to rest");
}

function factsOf(world: World, { owner, layers }: Member, members: readonly Member[]): Facts {
  const others = members.filter((m) => m.owner !== owner);
  const claims = others.flatMap((m) =>
    m.layers.flatMap((l) => l.objects.map((o) => [o.key, m.owner] as const)),
  );
  const sequence = world.sequences.get(owner);
  const pins = new Map([...world.sequences].map(([name, n]) => [name, pin(n)]));
  return startFacts({
    owner,
    layers,
    cluster: "n/c",
    self: undefined,
    withdraws: false,
    clusterId: "id",
    approval: undefined,
    nowMs: 0,
    ledger: {
      header:
        sequence === undefined
          ? undefined
          : {
              cluster: "id",
              pins,
            },
      inventory: world.inventory,
    },
    live: new Map([...world.objects].filter(([, found]) => found.owner !== undefined)),
    unlisted: new Map(),
    appliedSinceMs: new Map(),
    pauses: new Map(),
    thieves: new Map(),
    unverified: new Set(),
    refused: new Map(),
    held: new Map(),
    removalWaits: undefined,
    triesFirst: false,
    searched: false,
    leavesBehind: () => false,
    claims: new Map(claims),
    remembered: world.remembered.get(owner),
  });
}

const pin = (sequence: number) => ({ sequence, revision: "", fleet: "" });

function perform(next: Exclude<Step, { kind: "rest" }>, facts: Facts, world: World): Facts {
  const { owner } = facts;
  const replies = new Map<string, never>();
  const reply = <T>(items: readonly T[], write: (item: T) => [string, unknown]) => {
    world.batch(items, (item) => replies.set(...(write(item) as [string, never])));
    return replies;
  };
  switch (next.kind) {
    case "inspect":
      return learnInspected(
        facts,
        new Map(
          next.objects.map(({ key }) => [key, { exists: world.objects.has(key), ours: false }]),
        ),
      );
    case "seek":
      return learnInspected(
        facts,
        new Map(next.keys.map((key) => [key, { exists: world.objects.has(key), ours: false }])),
      );
    case "store":
      if (next.sequence > facts.sequence) world.remembered.set(owner, next.sequence);
      world.batch([next], () => {
        world.inventory = next.inventory;
        world.sequences.set(owner, next.sequence);
      });
      return learnStored(facts, next.inventory, next.sequence);
    case "confirm":
      return { ...facts, fence: "confirmed" };
    case "apply":
      assertFenced(facts, world, next.objects);
      return learnApplied(
        facts,
        next.objects,
        reply(next.objects, (o) => [o.key, world.apply(o, owner)]),
      );
    case "establish":
      return learnEstablished(facts, new Map(next.keys.map((key) => [key, true])));
    case "look":
      return learnHealth(
        facts,
        new Map(next.keys.map((key) => [key, { state: "Current", message: "" }])),
      );
    case "release":
      assertFenced(facts, world);
      return learnRemoved(
        facts,
        reply(next.entries, ({ key }) => [key, world.release(key, owner)]),
      );
    case "delete":
      assertFenced(facts, world);
      assertClusterFirst(facts, next.entries, world);
      return learnRemoved(
        facts,
        reply(next.entries, ({ key }) => [key, world.remove(key, owner)]),
      );
    case "disarm":
      assert.ok(!world.objects.has(keyOf(idOf(deployment))), "Flux's controllers are gone first");
      return learnDisarmed(facts, undefined);
  }
}

/**
 * Every batch comes right after the sequence number was raised, or, if the batch only applies what this pass has
 * announced or what was there before just like this, after a look at it.
 */
function assertFenced(facts: Facts, world: World, batch: readonly DesiredObject[] = []): void {
  assert.notEqual(facts.fence, "none");
  const isNew = ({ key, digest }: DesiredObject) =>
    facts.isAnnounced ? !facts.stored.has(key) : facts.stored.get(key)?.want !== digest;
  const isTaken = ({ key }: DesiredObject) =>
    (world.objects.get(key)?.owner ?? facts.owner) !== facts.owner;
  const isMore = batch.length === 0 || batch.some((o) => isNew(o) || isTaken(o));
  if (isMore) assert.equal(facts.fence, "raised");
  // Who died between the hub and the header has left a number that is not in the header yet.
  if (facts.fence === "raised" || facts.isAnnounced)
    assert.equal(world.sequences.get(facts.owner), facts.sequence);
}

/** While a Cluster is on its way out, nothing else of its member goes. */
function assertClusterFirst({ layers }: Facts, entries: readonly Entry[], world: World): void {
  const isCluster = (key: string) => key.startsWith("cluster.x-k8s.io/Cluster/");
  const wanted = new Set(layers.flatMap(({ objects }) => objects.map(({ key }) => key)));
  const leaving = [...world.objects.keys()].filter((key) => isCluster(key) && !wanted.has(key));
  if (leaving.length > 0) assert.ok(entries.every(({ key }) => isCluster(key)));
}

/** I2, one way: whatever carries our mark is in the inventory, at every moment. */
function assertRecorded(world: World): void {
  const lost = [...world.objects].filter(
    ([key, found]) => found.owner !== undefined && found.own !== "" && !world.inventory.has(key),
  );
  assert.deepEqual(
    lost.map(([key]) => key),
    [],
  );
}

function assertExact(world: World, members: readonly Member[]): void {
  const wanted = members.flatMap((m) =>
    m.layers.flatMap((l) => l.objects.map((o) => [o.key, `${m.owner} ${o.digest}`] as const)),
  );
  const ours = [...world.objects].filter(([, found]) => found.owner !== undefined);
  assert.deepEqual(new Map(ours.map(([key, { content }]) => [key, content])), new Map(wanted));
  assert.deepEqual(
    [...world.inventory].map(([key, { owner }]) => `${key} ${owner}`).sort(),
    members
      .flatMap((m) => m.layers.flatMap((l) => l.objects.map((o) => `${o.key} ${m.owner}`)))
      .sort(),
  );
}

const me = (layers: readonly LayerPlan[]): Member => ({ owner: "me", layers });
const you = (layers: readonly LayerPlan[]): Member => ({ owner: "you", layers });

const stories: readonly (readonly [
  name: string,
  before: readonly Member[],
  after: readonly Member[],
])[] = [
  ["install", [], [me(v1)]],
  [
    "upgrade, with an object dropped, one moved to another layer and all of a layer changed",
    [me(v1)],
    [me(v2)],
  ],
  ["removal of a layer", [me(v1)], [me(v1.slice(0, 1))]],
  ["uninstall", [me(v1)], [me([])]],
  ["uninstall of Flux", [me(flux)], [me([])]],
  [
    "move of a layer to another Fleet",
    [me(v1), you([])],
    [me(v1.slice(0, 1)), you([layer("app", desired("app", "1", deployment, c))])],
  ],
  ["a Fleet under another name", [me(v1)], [me([]), you(v1)]],
];

for (const [name, before, after] of stories) {
  test(`C1 C2 C3 C4 C5 ${name}: crash in every batch after every subset of it, twice in a row, and come to the same end`, () => {
    const start = new World();
    live(start, before);
    survives(start, after);
  });
}

const cluster = object("cluster.x-k8s.io/v1beta2", "Cluster", "c");
const machine = object("infrastructure.example.com/v1", "Machine", "c");
const identity = object("v1", "Secret", "c-age-1");
const born = [layer("l", desired("l", "1", identity, cluster, machine, a))];

test("C1 C2 C3 C4 C5 a Cluster whose removal its files approve: it goes first and alone, whenever the controller dies, and nobody is asked", () => {
  const start = new World();
  live(start, [me(born)]);
  start.mayAsk = false;
  const uid = start.objects.get(keyOf(idOf(cluster)))?.uid ?? "";
  const approvals = [{ key: keyOf(idOf(cluster)), uid }];
  survives(start, [me([layer("l", desired("l", "1", a), { approvals })])]);
});

test("a Cluster whose removal is approved under another uid stays, with its identity and its machines", () => {
  const start = new World();
  live(start, [me(born)]);
  start.mayAsk = false;
  const approvals = [{ key: keyOf(idOf(cluster)), uid: "another" }];
  const after = [me([layer("l", desired("l", "1", a), { approvals })])];
  assert.throws(() => live(start, after), /asks for approval of .*Cluster\/n\/c/);
  assert.deepEqual(start.deletes, new Map());
});

/** Crashes wherever it can on the way to this end, and compares with an undisturbed run. */
function survives(start: World, after: readonly Member[]): void {
  start.batches = [];
  const reference = start.copy();
  live(reference, after);
  assertExact(reference, after);
  const points = pointsOf(reference.batches);
  assert.ok(points.length >= 2, "the story writes something");
  for (const point of points) {
    const once = crashed(start, point, after);
    for (const again of [undefined, ...pointsOf(reference.batches.slice(0, 2))]) {
      const world = again === undefined ? once.copy() : crashed(once, again, after).copy();
      live(world, after);
      assertExact(world, after);
      const where = `after a crash in batch ${point.batch}, subset ${point.subset.toString(2)}`;
      assert.deepEqual(world.creates, reference.creates, `creates ${where}`);
      assert.deepEqual(world.deletes, reference.deletes, `deletes ${where}`);
    }
  }
}

/** Every batch, with every subset of it that may have been done. */
function pointsOf(batches: readonly number[]): readonly CrashPoint[] {
  return batches.flatMap((size, batch) =>
    Array.from({ length: 2 ** size }, (_, subset) => ({ batch, subset })),
  );
}

/** The world that a controller leaves behind which died at this point. */
function crashed(from: World, point: CrashPoint, members: readonly Member[]): World {
  const world = from.copy(point);
  try {
    live(world, members);
  } catch (error) {
    if (!(error instanceof Crash)) throw error;
  }
  assertRecorded(world);
  return world.copy();
}

test("moving a layer to another Fleet, or renaming one, deletes and creates nothing (addon-controller#1949)", () => {
  for (const [name, before, after] of stories.slice(-2)) {
    const world = new World();
    live(world, before);
    const uids = [...world.objects].map(([key, { uid }]) => `${key} ${uid}`).sort();
    live(world, after);
    assert.deepEqual(world.deletes, new Map(), name);
    assert.deepEqual([...world.objects].map(([key, { uid }]) => `${key} ${uid}`).sort(), uids);
  }
});

test("a pass that is cut off again and again goes on where it was", () => {
  const many = (name: string) =>
    Array.from({ length: 50 }, (_, i) => object("v1", "ConfigMap", `${name}-${i}`));
  const names = ["l1", "l2", "l3", "l4", "l5", "l6"];
  const members = [me(names.map((name) => layer(name, desired(name, "1", ...many(name)))))];
  let world = new World();
  for (const _ of names) world = crashed(world, { batch: 3, subset: 0 }, members);
  assertExact(world, members);
  world.batches = [];
  live(world, members);
  assert.deepEqual(world.batches, [], "everything was written down");
});

test("nothing is written when nothing changed", () => {
  const world = new World();
  live(world, [me(v1)]);
  world.batches = [];
  live(world, [me(v1)]);
  assert.deepEqual(world.batches, []);
});

test("a writer that was paused meanwhile is fenced off", () => {
  const world = new World();
  live(world, [me(v1)]);
  const old = new Map(world.remembered);
  live(world, [me(v2)]);
  world.remembered.clear();
  for (const [owner, sequence] of old) world.remembered.set(owner, sequence);
  assert.throws(() => live(world, [me(v1)]), /another hub has written/);
});

test("an inventory that was deleted is rebuilt from the objects with our label and our fields", () => {
  const world = new World();
  live(world, [me(v1)]);
  const copy = { ...world.objects.get(keyOf(idOf(a))), own: "", uid: "copy" } as never;
  world.objects.set("/ConfigMap/n/copy", copy);
  world.inventory = emptyInventory;
  world.sequences.clear();
  const { creates, deletes } = world.copy();
  live(world, [me(v1.slice(0, 1))]);
  assert.deepEqual(world.creates, creates);
  assert.deepEqual(
    [...world.deletes.keys()].sort(),
    [keyOf(idOf(c)), keyOf(idOf(deployment))].sort(),
  );
  assert.deepEqual(deletes, new Map());
  assert.ok(world.objects.has("/ConfigMap/n/copy"), "a copy that somebody made is not ours");
});

test("an object that was there before is adopted, and released instead of deleted", () => {
  const world = new World();
  const key = keyOf(idOf(a));
  world.objects.set(key, {
    uid: "old",
    version: "1",
    own: "",
    main: "",
    meta: "",
    owner: undefined,
    generation: 1,
    deleting: false,
    shared: false,
    tellsStatus: true,
    established: true,
    createdByUs: false,
    content: "",
  });
  live(world, [me(v1)]);
  assert.equal(world.inventory.get(key)?.created, false);
  live(world, [me([])]);
  assert.equal(world.objects.get(key)?.owner, undefined);
  assert.ok(world.objects.has(key));
  assert.ok(!world.deletes.has(key));
});
