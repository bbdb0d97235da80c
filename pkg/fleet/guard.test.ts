import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fleet, FleetMember } from "../api/index.ts";
import {
  guardActions,
  isLeaving,
  recentlyLeft,
  removalWaitsFor,
  type MemberAction,
} from "./index.ts";
import type { ClusterFacts } from "../cluster/index.ts";

const now = new Date("2026-01-01T12:00:00Z");
const fleet = (approval?: string, status: object = {}): Fleet => ({
  apiVersion: "capitan.dev/v1alpha1",
  kind: "Fleet",
  metadata: {
    namespace: "n",
    name: "f",
    generation: 2,
    ...(approval === undefined ? {} : { annotations: { "capitan.dev/approve-removal": approval } }),
  },
  spec: {
    clusterSelector: {},
    suspend: false,
    interval: "10m",
    deletionPolicy: "Delete",
    layers: [],
  },
  status: {
    observedGeneration: 2,
    ...status,
  },
});
const cluster = (name: string) => ({
  namespace: "n",
  name,
  uid: name,
  labels: {},
  paused: false,
  deleting: false,
  controlPlaneInitialized: true,
  context: {} as ClusterFacts["context"],
});
const member = (name: string, revision = "r1"): FleetMember => ({
  apiVersion: "capitan.dev/v1alpha1",
  kind: "FleetMember",
  metadata: {
    namespace: "n",
    name: `m-${name}`,
  },
  spec: {
    fleetRef: {
      namespace: "n",
      name: "f",
    },
    clusterRef: { name },
    revision,
    state: "Present",
  },
});
const write = (name: string, more: object): MemberAction => ({
  kind: "write",
  name: `m-${name}`,
  cluster: cluster(name),
  spec: {
    ...member(name).spec,
    ...more,
  },
});
const names = ["a", "b", "c", "d", "e"];
const members = names.map((name) => member(name));
const approvalIn = (message = "") => /approve-removal=(\w+)/.exec(message)?.[1];

test("more than three clusters that leave within an hour need approval of exactly these", () => {
  const leave = (count: number) => names.slice(0, count).map((n) => write(n, { state: "Removed" }));
  const guard = (count: number, f = fleet()) =>
    guardActions({ fleet: f, members, actions: leave(count), dropped: () => [], now });
  assert.equal(guard(3).problem, undefined);
  assert.equal(guard(3).actions.length, 3);
  const held = guard(4);
  assert.equal(held.actions.length, 0);
  assert.equal(held.problem?.code, "RemovalNeedsApproval");
  assert.match(held.problem?.message ?? "", /4 clusters would leave \(a, b, c and 1 more\)/);
  const approval = approvalIn(held.problem?.message);
  assert.equal(guard(4, fleet(approval)).actions.length, 4);
  assert.equal(guard(5, fleet(approval)).actions.length, 0, "another set");
  const left = { left: [{ cluster: "x", time: "2026-01-01T11:30:00Z" }] };
  assert.equal(guard(3, fleet(undefined, left)).actions.length, 0, "one left half an hour ago");
  const long = { left: [{ cluster: "x", time: "2026-01-01T10:30:00Z" }] };
  assert.equal(guard(3, fleet(undefined, long)).actions.length, 3);
});

test("what somebody withdraws from cluster by cluster is not counted", () => {
  const actions = names.map((name) => {
    const action = write(name, { state: "Removed" });
    const until = { withdrawnUntil: new Date(now.getTime() + 1).toISOString() };
    return { ...action, cluster: { ...cluster(name), ...until } } as MemberAction;
  });
  const guarded = guardActions({ fleet: fleet(), members, actions, dropped: () => [], now });
  assert.deepEqual(guarded, { actions, problem: undefined });
  assert.ok(!actions.some((action) => isLeaving(action, members, now)));
});

test("a revision that deletes something on more than three clusters needs approval; one that only adds does not", () => {
  const update = names.map((name) => write(name, { revision: "r2" }));
  const guard = (dropped: readonly string[], f = fleet(), actions = update) =>
    guardActions({ fleet: f, members, actions, dropped: () => dropped, now });
  assert.equal(guard([]).actions.length, 5);
  const held = guard(["/ConfigMap/default/a"]);
  assert.equal(held.actions.length, 0);
  assert.match(
    held.problem?.message ?? "",
    /would delete 1 objects \(\/ConfigMap\/default\/a\) on 5 clusters/,
  );
  const approval = approvalIn(held.problem?.message);
  assert.equal(guard(["/ConfigMap/default/a"], fleet(approval)).actions.length, 5);
  assert.equal(guard(["/ConfigMap/default/b"], fleet(approval)).actions.length, 0);
  assert.equal(guard(["x"], fleet(), update.slice(0, 3)).actions.length, 3);
  assert.equal(guard(["x"], fleet(), [write("new", { revision: "r2" })]).actions.length, 1);
});

test("an approval to leave is for these members: when they come back it is worth nothing", () => {
  const names = ["a", "b", "c", "d"];
  const leaving = names.map((name) => write(name, { state: "Removed" }));
  const members = (time: string) =>
    names.map((name) => {
      const one = member(name);
      return { ...one, metadata: { ...one.metadata, uid: `${name}${time}` } };
    });
  const guarded = (time: string, approval?: string) =>
    guardActions({
      fleet: fleet(approval),
      members: members(time),
      actions: leaving,
      dropped: () => [],
      now,
    });
  const asked = /approve-removal=(\w+)/.exec(guarded("1").problem?.message ?? "")?.[1];
  assert.ok(asked !== undefined);
  assert.equal(guarded("1", asked).problem, undefined);
  assert.notEqual(guarded("2", asked).problem, undefined);
});

test("who left within the hour is remembered, and no longer", () => {
  const f = fleet(undefined, {
    left: [
      { cluster: "old", time: "2026-01-01T10:00:00Z" },
      { cluster: "x", time: "2026-01-01T11:59:00Z" },
    ],
  });
  assert.deepEqual(
    recentlyLeft(f, now, ["y"]).map((one) => one.cluster),
    ["x", "y"],
  );
});

test("nothing is removed while another Fleet that selects the cluster is not resolved", () => {
  const own = { namespace: "n", name: "own" };
  const waits = (status: object, members: readonly FleetMember[] = [member("a", "r2")]) =>
    removalWaitsFor(cluster("a"), own, { fleets: [fleet(undefined, status)], members, now });
  const resolved = { resolvedGeneration: 2, updateRevision: "r2" };
  const why = /until Fleet n\/f/;
  assert.equal(waits(resolved), undefined);
  assert.match(waits({ ...resolved, resolvedGeneration: 1 }) ?? "", why);
  assert.match(waits(resolved, [member("a", "r1")]) ?? "", why);
  assert.match(waits(resolved, []) ?? "", why);
  const itself = { namespace: "n", name: "f" };
  const alone = { fleets: [fleet()], members: [], now };
  assert.equal(removalWaitsFor(cluster("a"), itself, alone), undefined);
});

test("a Fleet that could not be resolved for more than an hour holds no removal", () => {
  const waits = (minutes: number, status = "False", observedGeneration = 2) => {
    const lastTransitionTime = new Date(now.getTime() - minutes * 60_000).toISOString();
    const conditions = [{ type: "Ready", status, reason: "RefInvalid", lastTransitionTime }];
    const fleets = [fleet(undefined, { observedGeneration, conditions })];
    const neighbours = { fleets, members: [], now };
    return removalWaitsFor(cluster("a"), { namespace: "n", name: "own" }, neighbours);
  };
  assert.notEqual(waits(59), undefined);
  assert.equal(waits(61), undefined);
  assert.notEqual(waits(61, "True"), undefined);
  assert.notEqual(waits(61, "False", 1), undefined, "nobody has looked at what it says now");
});
