import assert from "node:assert/strict";
import { test } from "node:test";
import { againAfterFailure, againAfterPass, isSettled, sooner, type Again } from "./index.ts";

const layer = (state: "Ready" | "Waiting" | "Failed" | "Applying", more: object = {}) => ({
  name: "l",
  state,
  objects: 1,
  applied: true,
  ...more,
});
const blocked = { code: "RemovalBlocked", message: "" } as const;
const approval = { code: "RemovalNeedsApproval", message: "" } as const;
const kind = (again: Again) => (again.kind === "after" ? again.ms : `from ${again.baseMs}`);

test("a settled member waits for the resync; one that waits comes back in time", () => {
  assert.equal(isSettled(againAfterPass([layer("Ready")], undefined)), true);
  assert.equal(kind(againAfterPass([layer("Waiting", { remainingMs: 100 })], undefined)), 150);
  assert.equal(kind(againAfterPass([layer("Applying")], undefined)), 2_000);
  const leaving = { kind: "backoff", baseMs: 2_000, maxMs: 15_000, flatTries: 10 };
  assert.deepEqual(againAfterPass([layer("Ready")], blocked), leaving);
});

test("an approval that is awaited does not hide a layer that waits", () => {
  const again = againAfterPass([layer("Waiting", { remainingMs: 100 })], approval);
  assert.equal(kind(again), 150);
  assert.equal(isSettled(againAfterPass([layer("Ready")], approval)), true);
});

test("a cluster that starts is tried every second for two minutes", () => {
  const again = againAfterFailure("ControlPlaneNotInitialized");
  assert.deepEqual(again, { kind: "backoff", baseMs: 1_000, maxMs: 20_000, flatTries: 120 });
});

test("a Fleet that fails does not make another on the same cluster wait, nor the reverse", () => {
  const failing = againAfterFailure("ApplyFailed");
  const soon: Again = { kind: "after", ms: 2_000 };
  const late: Again = { kind: "after", ms: 600_000 };
  assert.equal(sooner(failing, soon), soon);
  assert.equal(sooner(soon, failing), soon);
  assert.equal(sooner(failing, late), failing);
  assert.equal(sooner(late, soon), soon);
  const leaving = againAfterPass([layer("Ready")], blocked);
  assert.equal(sooner(failing, leaving), leaving);
  assert.equal(sooner(leaving, failing), leaving);
});
