import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fleet, FleetMember } from "../api/index.ts";
import { overviewOf } from "./index.ts";

function conditions(status: string, reason: string) {
  return [{ type: "Ready", status, reason, message: "", lastTransitionTime: "" }];
}

function member(cluster: string, status: string, reason: string, observedGeneration = 1) {
  return {
    metadata: { namespace: "fleet", name: `m-${cluster}`, generation: 1 },
    spec: { fleetRef: { namespace: "fleet", name: "f" }, clusterRef: { name: cluster } },
    status: { observedGeneration, conditions: conditions(status, reason) },
  } as unknown as FleetMember;
}

function fleet(name: string, status: string, reason: string, clusters?: object) {
  return {
    metadata: { namespace: "fleet", name, generation: 1 },
    status: { observedGeneration: 1, clusters, conditions: conditions(status, reason) },
  } as unknown as Fleet;
}

test("a cluster is ready when all of its members are, about their newest specs", () => {
  const { clusters, members } = overviewOf(
    [],
    [
      member("a", "True", "ReconciliationSucceeded"),
      member("a", "False", "Unreachable"),
      member("b", "True", "ReconciliationSucceeded"),
      member("c", "True", "ReconciliationSucceeded", 0),
      { ...member("d", "True", "x"), status: { observedGeneration: -1 } },
    ],
  );
  assert.deepEqual(Object.fromEntries(clusters), {
    "fleet/a": false,
    "fleet/b": true,
    "fleet/c": false,
    "fleet/d": false,
  });
  assert.deepEqual(Object.fromEntries(members), {
    ReconciliationSucceeded: 3,
    Unreachable: 1,
    Progressing: 1,
  });
});

test("Fleets are counted as their statuses say, and approvals are what somebody must give", () => {
  const counts = { matched: 3, ready: 2, updating: 0, failed: 1 };
  const overview = overviewOf(
    [
      fleet("x", "True", "ReconciliationSucceeded", counts),
      fleet("y", "False", "RemovalNeedsApproval"),
    ],
    [member("a", "False", "RemovalNeedsApproval"), member("b", "False", "RemovalNeedsApproval")],
  );
  assert.deepEqual(overview.fleets, [
    { namespace: "fleet", name: "x", ready: true, clusters: counts },
    {
      namespace: "fleet",
      name: "y",
      ready: false,
      clusters: { matched: 0, ready: 0, updating: 0, failed: 0 },
    },
  ]);
  assert.deepEqual(overview.approvals, { Fleet: 1, FleetMember: 2 });
});

test("a status that no schema would let in counts as one that says nothing", () => {
  const poisoned = { status: { conditions: "none", clusters: 7 } };
  const odd = member("b", "False", "NeverHeardOf");
  const overview = overviewOf(
    [{ ...fleet("x", "True", "x"), ...poisoned } as unknown as Fleet],
    [{ ...member("a", "True", "x"), ...poisoned } as unknown as FleetMember, odd],
  );
  assert.deepEqual(Object.fromEntries(overview.members), { Progressing: 1, Other: 1 });
  assert.equal(overview.fleets[0]?.ready, false);
});
