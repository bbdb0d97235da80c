import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fleet, FleetMember, FleetMemberSpec } from "../api/index.ts";
import type { ClusterFacts } from "../cluster/index.ts";
import { fleetStatus, memberStatus } from "./index.ts";

const fleet = (more: object = {}, metadata: object = {}): Fleet => ({
  apiVersion: "capitan.dev/v1alpha1",
  kind: "Fleet",
  metadata: { namespace: "fleet", name: "platform", generation: 3, ...metadata },
  spec: {
    clusterSelector: { matchLabels: { env: "prod" } },
    suspend: false,
    interval: "10m",
    deletionPolicy: "Delete",
    layers: [],
    ...more,
  },
});
const cluster = (name: string, more: Partial<ClusterFacts> = {}): ClusterFacts => ({
  namespace: "fleet",
  name,
  uid: name,
  labels: { env: "prod" },
  paused: false,
  deleting: false,
  controlPlaneInitialized: true,
  context: {} as ClusterFacts["context"],
  ...more,
});
const member = (
  name: string,
  spec: Partial<FleetMemberSpec> = {},
  status: object = {},
): FleetMember => ({
  apiVersion: "capitan.dev/v1alpha1",
  kind: "FleetMember",
  metadata: { namespace: "fleet", name: `m-${name}`, generation: 1 },
  spec: {
    fleetRef: { namespace: "fleet", name: "platform" },
    clusterRef: { name },
    revision: "r1",
    state: "Present",
    ...spec,
  },
  status: { observedGeneration: 1, ...status },
});
const ready = {
  currentRevision: "r1",
  conditions: [
    {
      type: "Ready",
      status: "True" as const,
      reason: "R",
      message: "fine",
      lastTransitionTime: "t",
    },
  ],
};
const outcome = (more: object) => ({
  clusters: [cluster("a"), cluster("b")],
  members: [] as FleetMember[],
  revision: "r1",
  problem: undefined,
  resolvedTime: undefined,
  elsewhere: 0,
  ...more,
});
const readyOf = (status: {
  conditions?:
    | readonly { type: string; status: string; reason: string; message: string }[]
    | undefined;
}) => status.conditions?.find((c) => c.type === "Ready");
const types = (status: { conditions?: readonly { type: string }[] | undefined }) =>
  status.conditions?.map((c) => c.type);

test("a Fleet is Ready only when every matched cluster has a member that runs the revision", () => {
  const none = fleetStatus(fleet(), outcome({}), "t");
  assert.equal(readyOf(none)?.status, "Unknown");
  const one = fleetStatus(fleet(), outcome({ members: [member("a", {}, ready)] }), "t");
  assert.deepEqual([one.summary, readyOf(one)?.status], ["1/2", "Unknown"]);
  const both = fleetStatus(
    fleet(),
    outcome({ members: [member("a", {}, ready), member("b", {}, ready)] }),
    "t",
  );
  assert.deepEqual(
    [both.summary, readyOf(both)?.status, both.currentRevision, types(both)],
    ["2/2", "True", "r1", ["Ready"]],
  );
  const stale = fleetStatus(
    fleet(),
    outcome({
      members: [member("a", {}, ready), member("b", {}, { ...ready, observedGeneration: 0 })],
    }),
    "t",
  );
  assert.equal(stale.summary, "1/2");
});

test("no cluster is True with reason NoClusters, and says where there are some", () => {
  const status = fleetStatus(fleet(), outcome({ clusters: [], elsewhere: 7 }), "t");
  assert.deepEqual([readyOf(status)?.status, readyOf(status)?.reason], ["True", "NoClusters"]);
  assert.match(readyOf(status)?.message ?? "", /7 Clusters in other namespaces/);
});

test("a Fleet that cannot be resolved says why, and is stalled when only a change can help", () => {
  const never = fleetStatus(
    fleet(),
    outcome({ problem: { code: "ManifestInvalid", message: "x" } }),
    "t",
  );
  assert.deepEqual(types(never), ["Ready", "Stalled"]);
  const again = fleetStatus(
    fleet(),
    outcome({ problem: { code: "RegistryUnreachable", message: "x" } }),
    "t",
  );
  assert.deepEqual(types(again), ["Ready", "Reconciling"]);
  assert.equal(again.observedGeneration, 3);
});

test("the time of a condition moves only with its status", () => {
  const first = fleetStatus(fleet(), outcome({}), "t1");
  const second = fleetStatus(
    { ...fleet(), status: first },
    outcome({ members: [member("a", {}, ready)] }),
    "t2",
  );
  assert.equal(second.conditions?.[0]?.lastTransitionTime, "t1");
});

const verdict = (more: object) => ({
  name: "flux",
  state: "Ready" as const,
  objects: 3,
  applied: true,
  ...more,
});

test("a member names the cause, not those who wait for it", () => {
  const layers = [
    verdict({
      name: "b",
      state: "Pending",
      problem: { code: "DependencyNotReady", message: "waits for layer a" },
    }),
    verdict({
      name: "a",
      state: "Failed",
      problem: { code: "HealthTimeout", message: "Deployment/x: m" },
    }),
  ];
  const status = memberStatus(member("a"), { layers }, "t");
  assert.deepEqual(
    [readyOf(status)?.reason, readyOf(status)?.message],
    ["HealthTimeout", "layer a: Deployment/x: m"],
  );
  assert.equal(status.currentRevision, undefined);
});

test("a member that waits is Unknown and Reconciling; one that is done is only Ready", () => {
  const waiting = memberStatus(
    member("a"),
    { layers: [verdict({ state: "Waiting", problem: { code: "HealthTimeout", message: "m" } })] },
    "t",
  );
  assert.deepEqual(
    [readyOf(waiting)?.status, readyOf(waiting)?.reason, types(waiting)],
    ["Unknown", "Progressing", ["Ready", "Reconciling"]],
  );
  const done = memberStatus(
    member("a"),
    { layers: [verdict({})], inventory: { objects: 3, digest: "d" } },
    "t",
  );
  assert.deepEqual(
    [readyOf(done)?.status, types(done), done.currentRevision, done.state, done.objects],
    ["True", ["Ready"], "r1", "Present", 3],
  );
});

test("an unreachable cluster keeps what was known of it", () => {
  const status = memberStatus(
    member("a", {}, { ...ready, objects: 3 }),
    { problem: { code: "Unreachable", message: "x" }, layers: [] },
    "t",
  );
  assert.deepEqual(
    [readyOf(status)?.reason, status.objects, status.currentRevision],
    ["Unreachable", 3, "r1"],
  );
});

test("withdrawal is reported only when nothing is left", () => {
  const removed = member("a", { state: "Removed" });
  assert.equal(memberStatus(removed, { layers: [] }, "t").state, "Removed");
  const blocked = memberStatus(
    removed,
    { layers: [], removal: { code: "RemovalNeedsApproval", message: "x" } },
    "t",
  );
  assert.deepEqual([blocked.state, readyOf(blocked)?.reason], [undefined, "RemovalNeedsApproval"]);
});
