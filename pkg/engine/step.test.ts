import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyInventory, withEntries, type Entry } from "../inventory/index.ts";
import { idOf, keyOf, stageOf, type Health, type KubeObject } from "../object/index.ts";
import { Attempts, type Live } from "../drift/index.ts";
import {
  learnApplied,
  noteAttempts,
  step,
  type DesiredObject,
  type Facts,
  type LayerPlan,
} from "./index.ts";

function want(apiVersion: string, kind: string, name: string, layer = "l"): DesiredObject {
  const object: KubeObject = { apiVersion, kind, metadata: { name } };
  const id = idOf(object);
  return { key: keyOf(id), id, stage: stageOf(object), layer, object, digest: "d", mode: "Always" };
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
  seen: { version: "1", generation: 1, main: "m", meta: "" },
  ...more,
});
const live = (more: Partial<Live> = {}): Live => ({
  uid: "u",
  own: "o",
  owner: "me",
  deleting: false,
  version: "1",
  generation: 1,
  main: "m",
  meta: "",
  tellsStatus: true,
  shared: false,
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
  adopt: false,
  isFlux: false,
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
    self: undefined,
    withdraws: false,
    layers,
    fleets: new Map(),
    stored: inventory,
    inventory,
    live: new Map(),
    problems: new Map(),
    held: new Map(),
    sequence: 7,
    fence: "raised",
    isAnnounced: false,
    disarmed: false,
    removalWaits: undefined,
    triesFirst: false,
    prunesMany: false,
    pauses: new Map(),
    thieves: new Map(),
    unverified: new Set<string>(),
    claims: new Map(),
    inspected: new Map(
      layers.flatMap((l) =>
        l.objects.map(
          (o) =>
            [
              o.key,
              {
                exists: false,
                ours: false,
              },
            ] as const,
        ),
      ),
    ),
    approval: undefined,
    nowMs: 1e4,
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

test("what comes after the barrier is one batch, up to a stage that cannot be finished", () => {
  const hook = want("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "h");
  const objects = [namespace, map, deployment, hook];
  const known = [
    entryOf(namespace),
    ...[map, deployment, hook].map((o) => entryOf(o, { want: "" })),
  ];
  const applied = (more: Partial<Facts>) => {
    const found = new Map([[namespace.key, live()], ...(more.live ?? [])]);
    const next = step(facts([layer(objects)], { ...more, live: found }, known));
    return next.kind === "apply" ? next.objects.map((o) => o.key) : next.kind;
  };
  assert.deepEqual(applied({}), [map.key, deployment.key, hook.key]);
  const refused = new Map([[deployment.key, { code: "ApplyFailed", message: "m" } as const]]);
  assert.deepEqual(applied({ problems: refused }), [map.key]);
  const going = new Map([[map.key, live({ deleting: true })]]);
  assert.deepEqual(applied({ live: going }), "rest");
});

test("an object of a batch that was not tried is neither applied nor repaired", () => {
  const attempts = new Attempts();
  const before = facts(
    [],
    {},
    [map, deployment].map((o) => entryOf(o)),
  );
  const refused = new Map([[map.key, { code: "ApplyFailed", message: "m" } as const]]);
  const stopped = { ...before, problems: refused };
  const none = { applied: 0, repaired: 0 };
  assert.deepEqual(noteAttempts(attempts, [map, deployment], before, stopped), none);
  const done = { ...before, live: new Map([[deployment.key, live({ version: "2" })]]) };
  const one = { applied: 1, repaired: 1 };
  assert.deepEqual(noteAttempts(attempts, [map, deployment], before, done), one);
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
  const f = facts([layer([map, deployment])], other, [entryOf(map, { want: "" })]);
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
  const { removal } = rest({
    ...leftover(map),
    held: new Map([[map.key, "is being deleted since t: finalizers x"]]),
  });
  assert.deepEqual(removal, {
    code: "RemovalBlocked",
    message: "ConfigMap/a is being deleted since t: finalizers x",
  });
});

test("an object that is being deleted by somebody is not applied onto", () => {
  const f = facts([layer([map])], { live: new Map([[map.key, live({ deleting: true })]]) }, [
    entryOf(map),
  ]);
  assert.equal(rest(f).layers[0]?.problem?.code, "RemovalBlocked");
});

test("before each batch the sequence number is raised, with all that is known written down", () => {
  const f = facts([layer([map])], { fence: "none" }, [entryOf(map, { want: "" })]);
  const next = step(f);
  assert.deepEqual(next.kind === "store" && [next.sequence, next.inventory], [8, f.inventory]);
  assert.equal(step({ ...f, fence: "raised" }).kind, "apply");
});

test("before a repair the header is looked at, and no number is taken", () => {
  const taken = { live: new Map([[map.key, live({ own: "less" })]]) };
  const f = facts([layer([map])], { ...taken, fence: "none" }, [entryOf(map)]);
  assert.deepEqual(step(f), { kind: "confirm" });
  assert.equal(step({ ...f, fence: "confirmed" }).kind, "apply");
  const deleted = { ...f, live: new Map() };
  assert.deepEqual(step(deleted), { kind: "confirm" });
});

test("what this pass applies after its first batch was announced with it: the header is looked at", () => {
  const announced = {
    fence: "none",
    isAnnounced: true,
    live: new Map([[map.key, live()]]),
  } as const;
  const f = facts([layer([map, deployment])], announced, [
    entryOf(map),
    entryOf(deployment, { want: "" }),
  ]);
  assert.deepEqual(step(f), { kind: "confirm" });
  const next = step({ ...f, fence: "confirmed" });
  assert.deepEqual(next.kind === "apply" && next.objects, [deployment]);
});

test("what was announced does not let a batch remove, or take what another Fleet has", () => {
  const handedOver = { live: new Map([[map.key, live({ owner: "another" })]]) };
  for (const f of [
    facts([layer([map])], handedOver, [entryOf(map, { want: "" })]),
    facts([layer([])], {}, [entryOf(map)]),
  ]) {
    const next = step({ ...f, fence: "confirmed", isAnnounced: true });
    assert.deepEqual(next.kind === "store" && next.sequence, f.sequence + 1);
  }
});

test("what is new takes a number, also after a look at the header", () => {
  const changed = entryOf(map, { want: "before" });
  const handedOver = { live: new Map([[map.key, live({ owner: "another" })]]) };
  for (const f of [
    facts([layer([map])], {}, [changed]),
    facts([layer([map, deployment])], { live: new Map() }, [
      entryOf(map),
      entryOf(deployment, { want: "" }),
    ]),
    facts([layer([map])], handedOver, [entryOf(map)]),
    facts([layer([])], {}, [entryOf(map)]),
    facts([layer([map])], { live: new Map(), sequence: 0 }, [entryOf(map)]),
  ]) {
    const next = step({ ...f, fence: "confirmed" });
    assert.deepEqual(next.kind === "store" && next.sequence, f.sequence + 1);
  }
});

test("what is there already is looked at before anything is written down", () => {
  const f = facts([layer([map])], { inspected: new Map() });
  assert.equal(step(f).kind, "inspect");
});

const inspected = (more: object) => ({
  inspected: new Map([[map.key, { exists: true, ours: false, ...more }]]),
});

test("what something else manages is left alone until the layer says adopt", () => {
  const helm = inspected({ managedBy: "Helm release x" });
  const refused = rest(facts([layer([map])], helm)).layers[0]?.problem;
  assert.equal(refused?.code, "ManagedElsewhere");
  assert.match(refused?.message ?? "", /ConfigMap\/a is managed by Helm release x.*adopt: true/);
  assert.equal(step(facts([layer([map], { adopt: true })], helm)).kind, "store");
  assert.equal(step(facts([layer([map])], inspected({}))).kind, "store");
  assert.equal(
    step(facts([layer([map])], inspected({ managedBy: "x", ours: true }))).kind,
    "store",
  );
});

test("a Deployment of a Flux that is not ours is FluxManagedElsewhere, whoever made it", () => {
  const found = { inspected: new Map([[deployment.key, { exists: true, ours: false }]]) };
  const verdict = rest(facts([layer([deployment], { isFlux: true })], found)).layers[0];
  assert.equal(verdict?.problem?.code, "FluxManagedElsewhere");
});

test("IfNotPresent creates what is missing and then leaves it alone; Ignore never touches, and lets go", () => {
  const once = { ...map, mode: "IfNotPresent" } as const;
  assert.equal(step(facts([layer([once])])).kind, "store");
  assert.equal(rest(facts([layer([once])], inspected({}))).layers[0]?.state, "Ready");
  const changed = { live: new Map([[map.key, live({ own: "other" })]]) };
  assert.equal(rest(facts([layer([once])], changed, [entryOf(map)])).layers[0]?.state, "Ready");
  const never = { ...map, mode: "Ignore" } as const;
  assert.equal(rest(facts([layer([never])])).layers[0]?.state, "Ready");
  assert.equal(step(facts([layer([never])], changed, [entryOf(map)])).kind, "release");
});

test("what was deleted while it rested is applied again, unless somebody keeps deleting it", () => {
  const pause = { untilMs: 12_000, isFight: false, times: 0 };
  for (const [object, entries] of [
    [map, []],
    [namespace, [entryOf(map, { want: "" })]],
  ] as const) {
    const resting = (isFight: boolean) => {
      const pauses = new Map([[object.key, { ...pause, isFight }]]);
      const layers = [layer(object === map ? [map] : [namespace, map])];
      return step(facts(layers, { pauses }, [entryOf(object), ...entries]));
    };
    const next = resting(false);
    assert.deepEqual(next.kind === "apply" && next.objects.map((o) => o.key), [object.key]);
  }
  const fought = { pauses: new Map([[map.key, { ...pause, isFight: true }]]) };
  const verdict = rest(facts([layer([map])], fought, [entryOf(map)])).layers[0];
  assert.equal(verdict?.problem?.code, "FieldConflict");
});

test("an object is known as made by us when only an earlier look tells, since its reply was lost", () => {
  const { want: _, created: __, seen: ___, ...bare } = entryOf(map);
  const found = { live: new Map([[map.key, live()]]) };
  const reply = { live: live({ createdByUs: false, version: "2" }), created: false };
  const learned = (f: Facts) =>
    learnApplied(f, [map], new Map([[map.key, reply]])).inventory.get(map.key)?.created;
  assert.equal(learned(facts([layer([map])], found, [bare])), true);
  const other = { live: new Map([[map.key, live({ uid: "former" })]]) };
  assert.equal(learned(facts([layer([map])], other, [bare])), false);
});

test("somebody else's object that is left alone holds nothing up: neither the barrier nor the look at health", () => {
  const there = { exists: true, ours: false };
  for (const mode of ["IfNotPresent", "Ignore"] as const) {
    const [theirs, running] = [namespace, deployment].map((o) => ({ ...o, mode }));
    assert.ok(theirs !== undefined && running !== undefined);
    const inspections = new Map([theirs, running].map((o) => [o.key, there]));
    const f = facts([layer([theirs, map, running])], { inspected: inspections }, [
      entryOf(map, { want: "" }),
    ]);
    const next = step(f);
    assert.deepEqual(next.kind === "apply" && next.objects.map((o) => o.key), [map.key]);
    const applied = { ...f, live: new Map([[map.key, live()]]) };
    const settled = { inventory: withEntries(emptyInventory, [entryOf(map)]) };
    const done = { ...applied, ...settled, stored: settled.inventory };
    assert.equal(rest(done).layers[0]?.state, "Ready");
  }
});

const drifted = (more: Partial<Live>, other: Partial<Facts> = {}) =>
  facts([layer([map])], { live: new Map([[map.key, live(more)]]), ...other }, [entryOf(map)]);

test("what a write shows of itself decides: nothing for status, one apply for the rest", () => {
  assert.equal(step(drifted({ version: "2" })).kind, "rest", "only the version: status");
  for (const more of [
    { own: "x" },
    { uid: "x" },
    { own: "" },
    { version: "2", main: "x" },
    { version: "2", generation: 2 },
    { version: "2", meta: "x" },
    { version: "2", tellsStatus: false },
    { version: "0" },
  ] as const)
    assert.equal(step(drifted(more)).kind, "apply", JSON.stringify(more));
});

test("a fight rests for a while and is named; a verified object only rests", () => {
  const thieves = new Map([[map.key, { manager: "helm", field: ".data.k" }]]);
  const pause = { untilMs: 12_000, isFight: true, times: 6 };
  const fight = rest(drifted({ own: "x" }, { thieves, pauses: new Map([[map.key, pause]]) }));
  assert.equal(fight.layers[0]?.problem?.code, "FieldConflict");
  assert.match(
    fight.layers[0]?.problem?.message ?? "",
    /ConfigMap\/a \.data\.k was taken by manager helm again after 6 repairs; next try in 2 s/,
  );
  const over = { pauses: new Map([[map.key, { ...pause, untilMs: 9_000 }]]) };
  assert.equal(step(drifted({ own: "x" }, over)).kind, "apply");
  const quiet = { pauses: new Map([[map.key, { untilMs: 12_000, isFight: false, times: 0 }]]) };
  const verified = rest(drifted({ version: "2", main: "x" }, quiet));
  assert.equal(verified.layers[0]?.state, "Ready");
});

test("an object that another member wants is handed to it, not deleted", () => {
  const next = step({ ...leftover(map), claims: new Map([[map.key, "them"]]) });
  assert.ok(next.kind === "store");
  assert.equal(next.inventory.get(map.key)?.owner, "them");
});

test("nothing is removed while it is not known what another Fleet wants", () => {
  const { removal } = rest({ ...leftover(map), removalWaits: "Fleet x is not resolved" });
  assert.deepEqual(removal, { code: "RemovalBlocked", message: "Fleet x is not resolved" });
});

const many = (count: number, gone: number) => {
  const objects = Array.from({ length: count }, (_, i) => want("v1", "ConfigMap", `c${i}`));
  const entries = objects.map((o) => entryOf(o));
  const found = new Map(objects.map((o) => [o.key, live()]));
  return facts([layer(objects.slice(gone), { wait: false })], { live: found }, entries);
};

test("deleting more than half of ten or more objects needs approval", () => {
  assert.equal(step(many(30, 16)).kind, "rest");
  assert.match(
    rest(many(30, 16)).removal?.message ?? "",
    /most of its objects \(16 of 30 objects\)/,
  );
  assert.equal(step(many(30, 15)).kind, "delete");
  assert.equal(step(many(9, 9)).kind, "delete");
});

test("Flux goes in the order of flux uninstall: controllers, disarm, its objects, definitions, the rest", () => {
  const crd = want(
    "apiextensions.k8s.io/v1",
    "CustomResourceDefinition",
    "buckets.source.toolkit.fluxcd.io",
  );
  const bucket = want("source.toolkit.fluxcd.io/v1", "Bucket", "b");
  const entries = [crd, bucket, deployment, map, namespace].map((o) =>
    entryOf(o, { approved: true }),
  );
  const after = (gone: readonly DesiredObject[], more: Partial<Facts> = {}) => {
    const left = entries.filter((e) => !gone.some((o) => o.key === e.key));
    const next = step(facts([], more, left));
    return next.kind === "delete" ? next.entries.map((e) => e.key) : next.kind;
  };
  assert.deepEqual(after([]), [deployment.key]);
  assert.equal(after([deployment]), "disarm");
  const disarmed = { disarmed: true };
  assert.deepEqual(after([deployment], disarmed), [bucket.key]);
  assert.deepEqual(after([deployment, bucket], disarmed), [crd.key]);
  assert.deepEqual(after([deployment, bucket, crd]), [map.key]);
  const asked = rest(
    facts(
      [],
      {},
      entries.map(({ approved: _, ...e }) => e),
    ),
  ).removal;
  assert.match(asked?.message ?? "", /would withdraw Flux and delete /);
});

test("a layer that waits for another starts nothing new, and repairs what it has applied", () => {
  const other = want("v1", "ConfigMap", "b");
  const second = layer([map, other], { name: "l2", dependsOn: ["l"], wait: false });
  const f = facts(
    [layer([deployment]), second],
    {
      live: new Map([
        [deployment.key, live({ health: health("InProgress") })],
        [map.key, live({ own: "x" })],
      ]),
    },
    [entryOf(deployment), entryOf(map, { layer: "l2" }), entryOf(other, { layer: "l2", want: "" })],
  );
  const next = step(f);
  assert.deepEqual(next.kind === "apply" && next.objects.map((o) => o.key), [map.key]);
});

const key = (group: string, kind: string, name: string) => `${group}/${kind}/n/${name}`;
const born = [
  key("cluster.x-k8s.io", "Cluster", "c"),
  key("infrastructure.example.com", "Machine", "c"),
  key("", "Secret", "c-age-1"),
  key("", "ConfigMap", "c"),
];
const hubEntry = (of: string, more: Partial<Entry> = {}): Entry => ({
  key: of,
  version: "v1",
  owner: "me",
  layer: "l",
  policy: "Delete",
  created: true,
  uid: `uid of ${of}`,
  ...more,
});
const approvalOf = (of: string) => ({ key: of, uid: `uid of ${of}` });
const [bornCluster = "", , bornIdentity = ""] = born;
const settledMap = {
  ...layer([map]),
  name: "l",
};
const onHub = (entries: readonly Entry[], more: Partial<Facts> = {}) =>
  facts([settledMap], { live: new Map([[map.key, live()]]), ...more }, [entryOf(map), ...entries]);
const approving = (...keys: readonly string[]) => ({
  layers: [{ ...settledMap, approvals: keys.map(approvalOf) }],
});
const going = (f: Facts) => {
  const next = step(f);
  return next.kind === "delete" || next.kind === "release"
    ? `${next.kind} ${next.entries.map((entry) => entry.key).join(" ")}`
    : next.kind === "rest"
      ? `${next.removal?.code ?? ""}: ${next.removal?.message ?? ""}`
      : next.kind;
};

test("what its files approve is written down first, then the Cluster goes, alone", () => {
  const entries = born.map((of) => hubEntry(of));
  assert.equal(going(onHub(entries, approving(bornCluster))), "store");
  const written = entries.map((e) => (e.key === bornCluster ? { ...e, approved: true } : e));
  assert.equal(going(onHub(written, approving(bornCluster))), `delete ${bornCluster}`);
  const held = { held: new Map([[bornCluster, "waits for a finalizer"]]) };
  assert.match(going(onHub(written, { ...approving(bornCluster), ...held })), /^RemovalBlocked/);
});

test("an approval counts for one uid, in the inventory and in the cluster", () => {
  const asked = /^RemovalNeedsApproval: would delete Cluster\/n\/c /;
  assert.match(going(onHub([hubEntry(bornCluster)])), asked);
  const other = { layers: [{ ...settledMap, approvals: [{ key: bornCluster, uid: "x" }] }] };
  assert.match(going(onHub([hubEntry(bornCluster)], other)), asked);
  const anew = new Map([
    [map.key, live()],
    [bornCluster, live({ uid: "made anew" })],
  ]);
  const f = onHub([hubEntry(bornCluster)], { ...approving(bornCluster), live: anew });
  assert.match(going(f), asked);
});

test("an age identity stays as long as its Cluster, unless it is named itself", () => {
  const stays = { ...hubEntry(bornCluster), owner: "somebody else" };
  const spared = /^RemovalBlocked: Secret\/n\/c-age-1 is an age identity of a Cluster that stays/;
  assert.match(going(onHub([stays, hubEntry(bornIdentity)])), spared);
  const named = hubEntry(bornIdentity, { approved: true });
  assert.equal(going(onHub([stays, named])), `delete ${bornIdentity}`);
});

test("whether a Cluster that no layer brought is there is looked at before its age identity goes", () => {
  const looked = step(onHub([hubEntry(bornIdentity)]));
  assert.deepEqual(looked, { kind: "seek", keys: [bornCluster] });
  const seen = (exists: boolean) => ({
    inspected: new Map([[bornCluster, { exists, ours: false }]]),
  });
  assert.equal(going(onHub([hubEntry(bornIdentity)], seen(false))), `delete ${bornIdentity}`);
  const spared = /^RemovalBlocked: Secret\/n\/c-age-1 is an age identity of a Cluster that stays/;
  assert.match(going(onHub([hubEntry(bornIdentity)], seen(true))), spared);
  const named = { ...seen(true), ...approving(bornIdentity) };
  assert.equal(going(onHub([hubEntry(bornIdentity)], named)), "store");
  const left = hubEntry(bornIdentity, { policy: "Orphan" });
  assert.equal(going(onHub([left], seen(true))), `release ${bornIdentity}`);
});

test("with the Fleet itself no age identity of a Cluster that stays is deleted: it is let go", () => {
  const seen = { inspected: new Map([[bornCluster, { exists: true, ours: false }]]) };
  assert.equal(going(facts([], seen, [hubEntry(bornIdentity)])), `release ${bornIdentity}`);
});

test("with a Cluster that is left alone its identity is let go, and before it", () => {
  const adopted = hubEntry(bornCluster, { created: false });
  const f = onHub([adopted, hubEntry(bornIdentity)]);
  assert.equal(going(f), `release ${bornIdentity}`);
  const stuck = new Map([[bornIdentity, { code: "RemovalBlocked" as const, message: "m" }]]);
  assert.match(going({ ...f, problems: stuck }), /^RemovalBlocked: Secret/);
});

test("the Fleet that delivers is not removed by what it delivers; when it goes itself, it is let go", () => {
  const self = key("capitan.dev", "Fleet", "f");
  assert.match(
    going(onHub([hubEntry(self)], { self })),
    /^RemovalBlocked: Fleet\/n\/f is the Fleet/,
  );
  assert.equal(going(facts([], { self }, [hubEntry(self)])), `release ${self}`);
  assert.match(going(onHub([hubEntry(self)])), /^RemovalNeedsApproval: would delete Fleet/);
});

test("what Capitan is made of is never deleted, on the hub itself", () => {
  const own = [
    "apps/Deployment/capitan-system/capitan-controller",
    "/Namespace//capitan-system",
    "rbac.authorization.k8s.io/ClusterRole//capitan-controller",
    "apiextensions.k8s.io/CustomResourceDefinition//fleets.capitan.dev",
  ];
  const f = onHub(
    own.map((of) => hubEntry(of)),
    { self: "s" },
  );
  assert.equal(going(f), `release ${own.join(" ")}`);
});

test("what is withdrawn goes although it was to be left behind, and is not counted", () => {
  const many = Array.from({ length: 12 }, (_, i) =>
    hubEntry(key("", "ConfigMap", `m${i}`), { policy: "Orphan" }),
  );
  assert.match(going(facts([], { withdraws: true }, many)), /^delete /);
  assert.match(going(facts([], {}, many)), /^release /);
  const adopted = [hubEntry(key("", "ConfigMap", "m"), { created: false })];
  assert.match(going(facts([], { withdraws: true }, adopted)), /^release /);
  assert.match(
    going(facts([], { withdraws: true }, [hubEntry("/Namespace//n")])),
    /^RemovalNeedsApproval/,
  );
});
