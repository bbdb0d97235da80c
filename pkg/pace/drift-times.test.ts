import assert from "node:assert/strict";
import { test } from "node:test";
import { DriftTimes } from "./index.ts";

test("a repair is timed from the first event that was seen", () => {
  const times = new DriftTimes();
  times.seen("a", 10);
  times.seen("a", 15);
  assert.equal(times.repaired("b", 16), undefined);
  assert.equal(times.repaired("a", 17), 7);
  assert.equal(times.repaired("a", 18), undefined);
});

test("a look that found nothing to repair ends the wait, unless the event came while it went on", () => {
  const times = new DriftTimes();
  times.seen("a", 10);
  times.lookedAt("a", 11);
  assert.equal(times.repaired("a", 12), undefined);
  times.seen("a", 20);
  times.lookedAt("a", 19);
  assert.equal(times.repaired("a", 22), 2);
});
