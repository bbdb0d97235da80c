import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { ManagedField, ObjectMeta } from "../object/index.ts";
import {
  atVersion,
  Attempts,
  compareFootprints,
  cureOf,
  footprintOf,
  holdReason,
  keptByOthers,
  liveOf,
  lostPaths,
  managedElsewhere,
  Mirror,
  onlyAtVersion,
  takeOver,
  thiefOf,
  withoutNobody,
  type Live,
} from "./index.ts";

const mine = (fieldsV1: object, more: object = {}): ManagedField => ({
  manager: "capitan",
  operation: "Apply",
  apiVersion: "v1",
  time: "t",
  fieldsType: "FieldsV1",
  fieldsV1: fieldsV1 as never,
  ...more,
});
const theirs = (manager: string, fieldsV1: object, more: object = {}): ManagedField =>
  mine(fieldsV1, { manager, operation: "Update", ...more });
const meta = (managedFields: readonly ManagedField[], more: object = {}): ObjectMeta => ({
  name: "a",
  uid: "u",
  resourceVersion: "5",
  managedFields,
  ...more,
});
const data = (...keys: readonly string[]) => ({
  "f:data": Object.fromEntries(keys.map((key) => [`f:${key}`, {}])),
});

test("a footprint tells status writes from others, and our metadata by value", () => {
  const base = footprintOf(meta([mine(data("k"))], { generation: 1 }));
  const compare = (managedFields: readonly ManagedField[], more: object = {}) =>
    compareFootprints(
      base,
      footprintOf(meta(managedFields, { generation: 1, resourceVersion: "6", ...more })),
    );
  const status = theirs("kubelet", { "f:status": {} }, { subresource: "status" });
  assert.equal(compare([mine(data("k"))], { resourceVersion: "5" }), "same");
  assert.equal(compare([mine(data("k")), status]), "status");
  assert.equal(compare([mine(data("k"))], { generation: 2 }), "verify");
  assert.equal(compare([mine(data("k")), theirs("x", data("z"))]), "verify");
  assert.equal(
    compare([mine(data("k"))], { resourceVersion: "4" }),
    "verify",
    "a restored cluster",
  );
  assert.equal(compare([mine(data("k"))], { generation: undefined }), "verify", "no generation");
  assert.equal(compare([mine({})]), "repair");
  assert.equal(compare([mine(data("k"), { time: "later" })]), "repair", "somebody under our name");
  assert.equal(compare([mine(data("k"))], { uid: "other" }), "repair");
  const labelled = { "f:metadata": { "f:labels": { "f:a": {} } } };
  const of = (a: string, b: string) =>
    footprintOf(meta([mine(labelled)], { labels: { a, b } })).meta;
  assert.notEqual(of("1", "x"), of("2", "x"));
  assert.equal(of("1", "x"), of("1", "y"), "somebody else's label is not ours");
});

test("who took a field, and which, is told from the metadata before and after the repair", () => {
  const before = meta([mine(data("b")), theirs("helm", data("a"))]);
  const after = meta([mine(data("a", "b"))]);
  assert.deepEqual(thiefOf(before, after), { manager: "helm", field: ".data.a" });
  assert.equal(thiefOf(after, after), undefined);
  const container = (more: object) => ({
    "f:spec": { "f:containers": { 'k:{"name":"app"}': { ".": {}, "f:name": {}, ...more } } },
  });
  assert.deepEqual(
    thiefOf(
      meta([mine(container({})), theirs("kubectl-set", container({ "f:image": {} }))]),
      meta([mine(container({ "f:image": {} }))]),
    ),
    { manager: "kubectl-set", field: ".spec.containers[name=app].image" },
  );
});

test("what stands beside our fields is taken over so that the next apply removes it, and nothing else is", () => {
  const ports = (...keys: readonly string[]) => ({
    "f:spec": {
      "f:ports": Object.fromEntries(keys.map((key) => [key, { ".": {}, "f:port": {} }])),
    },
  });
  const other = { ...ports('k:{"port":81}'), ...data("foreign") };
  const now = meta([mine({ "f:spec": {} }), theirs("kubectl", other)]);
  const lost = lostPaths(ports('k:{"port":80}'), now);
  assert.equal(lost.length, 2);
  const taken = takeOver(now, lost, true);
  const entry = (manager: string) => taken?.find((e) => e.manager === manager)?.fieldsV1;
  assert.deepEqual(entry("kubectl"), data("foreign"));
  assert.match(JSON.stringify(entry("capitan")), /"k:\{\\"port\\":81\}"/);
  assert.equal(takeOver(meta([mine(data("a"))]), ["f:data\0f:a"], true), undefined);
});

test("a field that a hostile server calls __proto__ changes no prototype, and stays a field", () => {
  const hostile = JSON.parse('{"__proto__":{"polluted":{}},"f:data":{"f:a":{}}}') as object;
  const now = meta([mine(data("b")), theirs("x", hostile)]);
  const taken = takeOver(now, ["f:data\0f:a"], false);
  assert.equal(({} as Record<string, unknown>)["polluted"], undefined);
  const left = JSON.stringify(taken?.find(({ manager }) => manager === "x")?.fieldsV1);
  assert.equal(left, '{"__proto__":{"polluted":{}}}');
});

test("what we drop and others keep is found, and taken from everybody but another applier", () => {
  const before = meta([mine(data("a", "b")), theirs("before-first-apply", data("a", "b", "z"))]);
  const after = meta([mine(data("b")), theirs("before-first-apply", data("a", "b", "z"))]);
  const kept = keptByOthers(before, after);
  assert.deepEqual(kept, ["f:data\0f:a"]);
  const taken = takeOver(after, kept, false);
  assert.deepEqual(taken?.find((e) => e.manager === "capitan")?.fieldsV1, data("b", "a"));
  assert.deepEqual(taken?.[0]?.fieldsV1, data("b", "z"));
  const applied = meta([mine(data("b")), theirs("flux", data("a"), { operation: "Apply" })]);
  assert.equal(takeOver(applied, kept, false), undefined);
});

test("entries that block every apply are mended, and nobody's entry is dropped", () => {
  const entries = [
    mine(data("a"), { apiVersion: "x/v1" }),
    theirs("y", data("b"), { apiVersion: "x/v0" }),
  ];
  assert.equal(atVersion(meta(entries), "x/v1", (v) => v === "x/v0")?.[1]?.apiVersion, "x/v1");
  assert.equal(
    atVersion(meta(entries), "x/v1", () => false),
    undefined,
  );
  assert.equal(onlyAtVersion(meta(entries), "x/v1")?.length, 1);
  assert.equal(withoutNobody(meta([mine({}), theirs("before-first-apply", {})]))?.length, 1);
  assert.equal(withoutNobody(meta([mine({})])), undefined);
});

test("taking over loses no path: what others had is theirs or ours afterwards", () => {
  const keys = fc.uniqueArray(fc.constantFrom("a", "b", "c", "d", "e"), { maxLength: 5 });
  fc.assert(
    fc.property(keys, keys, keys, (own, other, paths) => {
      const now = meta([mine(data(...own)), theirs("x", data(...other))]);
      const taken = takeOver(
        now,
        paths.map((key) => `f:data\0f:${key}`),
        false,
      );
      const all = (entries: readonly ManagedField[]) =>
        [
          ...new Set(entries.flatMap((e) => Object.keys((e.fieldsV1?.["f:data"] as object) ?? {}))),
        ].sort();
      assert.deepEqual(all(taken ?? now.managedFields ?? []), all(now.managedFields ?? []));
    }),
  );
});

const cures: readonly (readonly [number, string, ReturnType<typeof cureOf>])[] = [
  [422, 'spec.ports[1].name: Duplicate value: "web"', "takeOver"],
  [422, "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type", "takeOver"],
  [
    422,
    "env[0].valueFrom: Invalid value: may not be specified when `value` is not empty",
    "takeOver",
  ],
  [500, "request to convert CR to an invalid group/version: example.com/v1beta1", "reversion"],
  [500, "failed to prune fields: …", "prune"],
  [422, "roleRef: Invalid value: cannot change roleRef", "recreate"],
  [422, "spec.selector: field is immutable", undefined],
  [500, "failed to create typed patch object", undefined],
  [500, "etcdserver: request is too large", undefined],
  [409, "Duplicate value", undefined],
];
test("the cure is known by status and message, and only where one worked", () => {
  for (const [status, text, cure] of cures) assert.equal(cureOf(status, text), cure, text);
});

test("what other tools manage is known by their marks, unless it was ours before", () => {
  const by = (more: object, managedFields: readonly ManagedField[] = []) =>
    managedElsewhere(meta(managedFields, more));
  assert.equal(by({}), undefined);
  assert.equal(
    by({ labels: { "kustomize.toolkit.fluxcd.io/name": "apps" } }),
    "Flux Kustomization apps",
  );
  assert.equal(by({ annotations: { "meta.helm.sh/release-name": "r" } }), "Helm release r");
  assert.equal(
    by({ ownerReferences: [{ controller: true, kind: "Redis", name: "r" }] }),
    "Redis r",
  );
  assert.equal(by({ ownerReferences: [{ kind: "Redis", name: "r" }] }), undefined);
  assert.equal(by({}, [theirs("kustomize-controller", {})]), "Flux's kustomize-controller");
  assert.equal(by({ annotations: { "meta.helm.sh/release-name": "r" } }, [mine({})]), undefined);
});

test("what holds an object that is to go is said in words", () => {
  const object = (more: object, metadata: object = {}) => ({
    apiVersion: "v1",
    kind: "Namespace",
    metadata: {
      name: "n",
      deletionTimestamp: "T",
      ...metadata,
    },
    ...more,
  });
  assert.equal(holdReason(object({})), "is being deleted since T");
  assert.equal(
    holdReason(object({ spec: { finalizers: ["kubernetes"] } }, { finalizers: ["a/b"] })),
    "is being deleted since T: finalizers a/b, kubernetes",
  );
  const conditions = [
    {
      type: "NamespaceContentRemaining",
      status: "True",
      message: "pods. has 2 resource instances",
    },
    { type: "NamespaceFinalizersRemaining", status: "False", message: "no" },
  ];
  assert.equal(
    holdReason(object({ status: { conditions } })),
    "is being deleted since T: pods. has 2 resource instances",
  );
});

test("five repairs in a row are drift, more are a fight with growing pauses; a quiet minute ends the row", () => {
  const attempts = new Attempts();
  for (let i = 0; i < 5; i++) attempts.note("k", true, i);
  assert.equal(attempts.pause("k", 5), undefined);
  assert.equal(attempts.isContested("k", 5), true);
  attempts.note("k", true, 10);
  assert.deepEqual(attempts.pause("k", 10), { untilMs: 2_010, isFight: true, times: 6 });
  attempts.note("k", true, 2_010);
  assert.equal(attempts.pause("k", 2_010)?.untilMs, 6_010);
  for (let i = 0; i < 30; i++) attempts.note("k", true, 10_000);
  assert.equal(attempts.pause("k", 10_000)?.untilMs, 310_000);
  assert.equal(attempts.pause("k", 10_000 + 600_001), undefined);
  const quiet = new Attempts();
  for (let i = 0; i < 5; i++) quiet.note("k", true, i);
  quiet.note("k", true, 70_000);
  assert.equal(quiet.pause("k", 70_000), undefined);
});

test("verifications that find nothing come with growing pauses, the first two at once", () => {
  const attempts = new Attempts();
  attempts.note("k", false, 0);
  assert.equal(attempts.pause("k", 0), undefined);
  attempts.note("k", false, 1);
  assert.deepEqual(attempts.pause("k", 1), { untilMs: 251, isFight: false, times: 0 });
  for (let i = 0; i < 20; i++) attempts.note("k", false, 1);
  assert.equal(attempts.pause("k", 1)?.untilMs, 60_001);
  assert.equal(attempts.pause("k", 60_002), undefined);
});

const live = (version: string, more: Partial<Live> = {}): Live => ({
  ...liveOf({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: meta([mine({ "f:spec": {} })], {
      resourceVersion: version,
      generation: 1,
    }),
  }),
  ...more,
});
const watched = { gone: false, listed: false };
const told = (version: string, more: Partial<Live> = {}) => {
  const now = live(version, more);
  return { uid: now.uid, version, read: () => now };
};

test("the mirror holds an object's events while its apply is in flight, and forgets those that the reply answers", () => {
  const mirror = new Mirror();
  mirror.begin("k");
  assert.equal(mirror.see("k", told("7"), watched), false);
  assert.equal(mirror.end("k", live("7")), false, "our own event is no news");
  mirror.begin("k");
  mirror.see("k", told("9", { own: "x" }), watched);
  assert.equal(mirror.end("k", live("8")), true, "somebody wrote after our apply");
  assert.equal(mirror.get("k")?.version, "9");
});

test("health is remembered for the version at which it was seen, until anything is written", () => {
  const mirror = new Mirror();
  const current = { state: "Current", message: "" } as const;
  mirror.see("k", told("5"), watched);
  mirror.noteHealth("k", "4", current);
  assert.equal(mirror.get("k")?.health, undefined, "seen at a version that is over");
  mirror.noteHealth("k", "5", current);
  mirror.see("k", told("5"), { gone: false, listed: true });
  assert.equal(mirror.get("k")?.health, current, "a new list that tells the same");
  mirror.see("k", told("6"), watched);
  assert.equal(mirror.get("k")?.health, undefined, "a write of status");
  mirror.noteHealth("k", "6", current);
  mirror.begin("k");
  mirror.end("k", live("7"));
  assert.equal(mirror.get("k")?.health, undefined, "our own apply");
});

test("the mirror tells news from status writes, repeats and what is over", () => {
  const mirror = new Mirror();
  assert.equal(mirror.see("k", told("5"), watched), true);
  assert.equal(mirror.see("k", told("5"), watched), false, "U3 a repeated event");
  assert.equal(mirror.see("k", told("4", { own: "x" }), watched), false, "U3 an older event");
  assert.equal(mirror.see("k", told("6"), watched), false, "a write of status");
  assert.equal(mirror.see("k", told("7", { deleting: true }), watched), true);
  assert.equal(mirror.see("k", told("8", { uid: "new" }), watched), true);
  assert.equal(
    mirror.see("k", told("9"), { gone: true, listed: false }),
    false,
    "the end of the former one",
  );
  assert.equal(mirror.see("k", told("9", { uid: "new" }), { gone: true, listed: false }), true);
  assert.equal(mirror.get("k"), undefined);
});

test("U7 a new list may go back in time, as after a restore; a watch may not", () => {
  const mirror = new Mirror();
  mirror.see("k", told("50"), watched);
  assert.equal(mirror.see("k", told("9", { own: "x" }), { gone: false, listed: true }), true);
  assert.equal(mirror.get("k")?.version, "9");
});

test("the mirror keeps our fields as they were before somebody took some, until the next apply", () => {
  const mirror = new Mirror();
  mirror.see("k", told("5"), watched);
  const before = mirror.fieldsBefore("k");
  mirror.see("k", told("6", { own: "x", fields: "{}" }), watched);
  assert.equal(mirror.fieldsBefore("k"), before);
  mirror.begin("k");
  mirror.end("k", live("7", { fields: '{"f:a":{}}' }));
  assert.equal(mirror.fieldsBefore("k"), '{"f:a":{}}');
});
