import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fleet, FleetMember, FleetMemberSpec } from "../api/index.ts";
import { memberName, revisionName } from "./names.ts";
import { deletionPolicyOf, planMembers } from "./index.ts";
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
