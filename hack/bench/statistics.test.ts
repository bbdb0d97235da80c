import assert from "node:assert/strict";
import { test } from "node:test";
import { median, percentile, ratio, rounded } from "./statistics.ts";

for (const [given, want] of [
  [[3], 3],
  [[5, 1, 3], 3],
  [[4, 1, 3, 2], 2.5],
  [[10, 9], 9.5],
  [[], Number.NaN],
] as const)
  test(`the median of ${JSON.stringify(given)} is ${want}`, () =>
    assert.equal(median(given), want));

const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
for (const [values, p, want] of [
  [hundred, 50, 50],
  [hundred, 99, 99],
  [hundred, 100, 100],
  [hundred, 0, 1],
  [[7], 99, 7],
  [[1, 2], 50, 1],
  [[], 50, Number.NaN],
] as const)
  test(`percentile ${p} of ${values.length} values is ${want}`, () =>
    assert.equal(percentile(values, p), want));

test("values are left in their order", () => {
  const values = [3, 1, 2];
  median(values);
  percentile(values, 50);
  assert.deepEqual(values, [3, 1, 2]);
});

test("ratios have two decimals, other numbers as many as asked", () => {
  assert.equal(ratio(2, 3), 0.67);
  assert.equal(rounded(1234.56), 1235);
  assert.equal(rounded(1234.56, 1), 1234.6);
});
