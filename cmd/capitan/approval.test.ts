import assert from "node:assert/strict";
import { test } from "node:test";
import type { Condition, Fleet, FleetMember } from "../../pkg/api/index.ts";
import { fleetStanding, memberStanding } from "./approval.ts";

const digest = "0123456789abcdef";
const approved = { name: "it", digest };
const asking = (which: string) =>
  condition("False", "RemovalNeedsApproval", `would…: capitan.dev/approve-removal=${which}`);
const succeeded = condition("True", "ReconciliationSucceeded", "5 objects");

function condition(status: Condition["status"], reason: string, message: string): Condition {
  const lastTransitionTime = "2026-01-01T00:00:00Z";
  return { type: "Ready", status, reason, message, lastTransitionTime, observedGeneration: 1 };
}

const stalled = (ready: Condition): readonly Condition[] => [
  ready,
  { ...ready, type: "Stalled", status: "True" },
];

type Of = {
  readonly uid?: string;
  readonly generation?: number;
  readonly seen?: number;
  readonly state?: FleetMember["spec"]["state"];
};

function member(
  name: string,
  conditions: readonly Condition[],
  { uid = "u", generation = 1, seen = generation, state = "Present" }: Of = {},
): FleetMember {
  return {
    metadata: { namespace: "fleet", name, uid, generation },
    spec: {
      fleetRef: { namespace: "fleet", name: "f" },
      clusterRef: { name },
      revision: "r",
      state,
    },
    status: { observedGeneration: seen, currentRevision: "r", conditions },
  } as unknown as FleetMember;
}

const fleet = (...conditions: readonly Condition[]) =>
  ({ metadata: { name: "f" }, status: { conditions } }) as unknown as Fleet;

const notLooked = { waitsFor: "the controller has not looked at it yet" };

test("a member is done when it is ready or gone, and not as long as it asks or something is left", () => {
  const of = (...conditions: readonly Condition[]) =>
    memberStanding(approved, member("a", conditions));
  const blocked = condition("False", "RemovalBlocked", "ConfigMap/a is still there");
  assert.deepEqual(of(asking(digest)), notLooked);
  assert.deepEqual(of(...stalled(asking(digest))), notLooked);
  assert.deepEqual(of(blocked), { waitsFor: "RemovalBlocked: ConfigMap/a is still there" });
  assert.deepEqual(of(succeeded), { done: "is Ready: 5 objects" });
  assert.deepEqual(memberStanding(approved, undefined), { done: "is gone" });
});

test("another approval that is asked for by now, and what only a person can mend, end the waiting", () => {
  const other = [asking("f".repeat(16))];
  const says = /it asks for another approval by now, f{16}: the set has changed/;
  assert.throws(() => memberStanding(approved, member("a", other)), says);
  assert.throws(() => fleetStanding(approved, fleet(...other), { before: [], now: [] }), says);
  const wrong = stalled(condition("False", "KeyRetired", "generation 1"));
  assert.throws(() => memberStanding(approved, member("a", wrong)), /it: generation 1/);
});

test("a Fleet is done when the members that it has changed since are ready or gone", () => {
  const [leaving, moved, same] = [
    member("leaving", [succeeded]),
    member("moved", [succeeded]),
    // What was in trouble before and is not concerned is not waited for.
    member("same", [condition("False", "Unreachable", "no route")]),
  ];
  const before = [leaving, moved, same];
  const standing = (...now: readonly FleetMember[]) =>
    fleetStanding(approved, fleet(condition("False", "Unreachable", "same")), { before, now });
  const behind = { generation: 2, seen: 1 };
  assert.deepEqual(standing(...before), { waitsFor: "Unreachable: same" });
  assert.deepEqual(
    standing(member("leaving", [succeeded], behind), member("moved", [succeeded], behind), same),
    { waitsFor: "2 of 2 clusters, leaving: ReconciliationSucceeded: 5 objects" },
  );
  assert.deepEqual(
    standing(member("moved", [condition("False", "RemovalBlocked", "x")], { generation: 2 }), same),
    { waitsFor: "1 of 2 clusters, moved: RemovalBlocked: x" },
  );
  const done = member("moved", [succeeded], { generation: 2 });
  assert.deepEqual(standing(done, same), { done: "is done with 2 clusters" });
  const left = condition("True", "ReconciliationSucceeded", "nothing is left");
  const stillThere = member("leaving", [left], { generation: 2, state: "Removed" });
  assert.deepEqual(standing(done, stillThere, same), {
    waitsFor: "1 of 2 clusters, leaving: ReconciliationSucceeded: nothing is left",
  });
  assert.deepEqual(standing(done, member("leaving", [], { uid: "another" }), same), {
    waitsFor: "1 of 2 clusters, leaving: the controller has not looked at it yet",
  });
});

test("a Fleet that still asks has not been looked at; one that is gone, or has nothing left to do, is done", () => {
  const before = [member("a", [succeeded])];
  const standing = (object: Fleet | undefined) =>
    fleetStanding(approved, object, { before, now: before });
  assert.deepEqual(standing(fleet(asking(digest))), notLooked);
  assert.deepEqual(standing(undefined), { done: "is gone" });
  assert.deepEqual(standing(fleet(succeeded)), { done: "is Ready: 5 objects" });
});
