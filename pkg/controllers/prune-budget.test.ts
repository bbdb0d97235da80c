import assert from "node:assert/strict";
import { test } from "node:test";
import { PruneBudget } from "./prune-budget.ts";

test("three clusters of a Fleet within an hour; the same one again is no further one", () => {
  const budget = new PruneBudget();
  const hour = 3_600_000;
  const takes = (cluster: string, nowMs: number, fleet = "f") => budget.take(fleet, cluster, nowMs);
  assert.deepEqual(
    ["a", "b", "a", "c", "d", "a"].map((c, i) => takes(c, i)),
    [true, true, true, true, false, true],
  );
  assert.equal(takes("d", 10, "other"), true);
  assert.equal(takes("d", hour), false);
  assert.equal(takes("d", hour + 1), true);
});
