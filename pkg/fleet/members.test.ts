import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fleet, FleetMember, FleetMemberSpec } from "../api/index.ts";
import { memberName, revisionName } from "./names.ts";
import { deletionPolicyOf, fleetStatus, memberStatus, planMembers } from "./index.ts";
import { managementCluster, managementFacts, type ClusterFacts } from "../cluster/index.ts";

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
const removed = (observedGeneration: number) => ({
  state: "Removed",
  conditions: [
    {
      type: "Ready",
      status: "True",
      reason: "Removed",
      message: "",
      lastTransitionTime: "t",
      observedGeneration,
    },
  ],
});
const now = new Date("2026-08-01T12:00:00Z");
const away = (name: string, withdrawnUntil = "2026-08-01T12:00:01Z") =>
  cluster(name, { withdrawnUntil });
const hubFleet = fleet({ clusterSelector: undefined, target: "Management" });
const plan = (
  clusters: readonly ClusterFacts[],
  members: readonly FleetMember[],
  revision: string | null = "r1",
  f = fleet(),
) => planMembers({ fleet: f, clusters, members, revision: revision ?? undefined, now });
const kinds = (actions: ReturnType<typeof plan>) =>
  actions.map((a) =>
    a.kind === "write"
      ? `${a.cluster.name}:${a.spec.state}:${a.spec.revision}`
      : `delete ${a.cluster}${a.confirmClusterGone ? " if gone" : ""}`,
  );

const cases: readonly (readonly [
  name: string,
  got: () => ReturnType<typeof plan>,
  want: readonly string[],
])[] = [
  ["a selected cluster gets a member", () => plan([cluster("a")], []), ["a:Present:r1"]],
  ["others get none", () => plan([cluster("a", { labels: {} })], []), []],
  ["nobody gets one before there is a revision", () => plan([cluster("a")], [], null), []],
  [
    "a paused cluster gets none, so that clusterctl move can bring it",
    () => plan([cluster("a", { paused: true })], []),
    [],
  ],
  ["a cluster being deleted gets none", () => plan([cluster("a", { deleting: true })], []), []],
  ["a settled member is not written", () => plan([cluster("a")], [member("a")]), []],
  [
    "a new revision pins every member",
    () => plan([cluster("a"), cluster("b")], [member("a"), member("b")], "r2"),
    ["a:Present:r2", "b:Present:r2"],
  ],
  [
    "a cluster that is no longer selected is withdrawn, at its own revision",
    () => plan([cluster("a", { labels: {} })], [member("a")], "r2"),
    ["a:Removed:r1"],
  ],
  [
    "its member stays until it has reported",
    () => plan([cluster("a", { labels: {} })], [member("a", { state: "Removed" })]),
    [],
  ],
  [
    "a report about an older generation does not count",
    () => plan([cluster("a", { labels: {} })], [member("a", { state: "Removed" }, removed(0))]),
    [],
  ],
  [
    "then it goes",
    () => plan([cluster("a", { labels: {} })], [member("a", { state: "Removed" }, removed(1))]),
    ["delete a"],
  ],
  [
    "selected again before that, it comes back",
    () => plan([cluster("a")], [member("a", { state: "Removed" })]),
    ["a:Present:r1"],
  ],
  [
    "from a cluster that is withdrawn every member withdraws, however often it is looked at",
    () =>
      plan(
        [away("a"), away("b"), away("c")],
        [member("a"), member("b", { state: "Removed" }, removed(1))],
        "r2",
      ),
    ["a:Removed:r1"],
  ],
  [
    "a withdrawal that has run out counts no more",
    () =>
      plan([away("a", "2026-08-01T11:59:59Z")], [member("a", { state: "Removed" }, removed(1))]),
    ["a:Present:r1"],
  ],
  [
    "a withdrawal until nobody knows when is none",
    () => plan([away("a", "soon")], [member("a")]),
    [],
  ],
  [
    "a Fleet for the hub itself has its member there, whatever the Clusters are called",
    () => plan([cluster("management"), managementFacts("fleet")], [], "r1", hubFleet),
    ["management:Present:r1"],
  ],
  [
    "one that was for Clusters withdraws from them",
    () => plan([cluster("a"), managementFacts("fleet")], [member("a")], "r1", hubFleet),
    ["a:Removed:r1", "management:Present:r1"],
  ],
  [
    "a Fleet for Clusters is never on the hub itself",
    () => plan([managementFacts("fleet")], [], "r1", fleet({ clusterSelector: {} })),
    [],
  ],
  [
    "a member whose cluster is not in the cache goes only when a read confirms it",
    () => plan([], [member("a")]),
    ["delete a if gone"],
  ],
  [
    "a cluster being deleted is left alone",
    () => plan([cluster("a", { deleting: true })], [member("a")], "r2"),
    [],
  ],
  [
    "a deleted Fleet withdraws everywhere",
    () => plan([cluster("a")], [member("a")], undefined, fleet({}, { deletionTimestamp: "t" })),
    ["a:Removed:r1"],
  ],
  [
    "but does not wait for a cluster that is being deleted",
    () =>
      plan(
        [cluster("a", { deleting: true })],
        [member("a")],
        undefined,
        fleet({}, { deletionTimestamp: "t" }),
      ),
    ["delete a"],
  ],
];
for (const [name, got, want] of cases) test(name, () => assert.deepEqual(kinds(got()), want));

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

test("names are stable, distinct and fit into a label", () => {
  const long = "x".repeat(80);
  const f = { namespace: "fleet", name: long };
  const on = (name: string) => ({ namespace: "n", name });
  assert.equal(memberName(f, on("a")).length, 63);
  assert.notEqual(memberName(f, on("a")), memberName(f, on("b")));
  assert.notEqual(
    memberName({ ...f, name: "a-b" }, on("c")),
    memberName({ ...f, name: "a" }, on("b-c")),
  );
  assert.notEqual(memberName(f, managementCluster), memberName(f, on("management")));
  assert.equal(
    revisionName("f", { fleetRef: { name: "f" }, layers: [] }),
    revisionName("f", { layers: [], fleetRef: { name: "f" } }),
  );
});

test("leaving: the layer's word, else Orphan for Flux, else the Fleet's", () => {
  const layer = (name: string, more: object) => ({ name, wait: true, timeout: "5m", ...more });
  const flux = { version: "2", artifact: { url: "oci://a/b" } };
  const layers = [
    layer("own", { inline: [], deletionPolicy: "Orphan" }),
    layer("flux", { flux }),
    layer("flux-deleted", { flux, deletionPolicy: "Delete" }),
    layer("plain", { inline: [] }),
  ];
  const { spec } = fleet({ layers });
  const names = ["own", "flux", "flux-deleted", "plain", "not there any more"];
  const policies = names.map((name) => deletionPolicyOf(spec, name));
  assert.deepEqual(policies, ["Orphan", "Orphan", "Delete", "Delete", "Delete"]);
});
