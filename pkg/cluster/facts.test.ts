import assert from "node:assert/strict";
import { test } from "node:test";
import { isWithdrawn, momentOf, type ClusterFacts } from "./index.ts";

const now = new Date("2026-08-01T12:00:00Z");
const until = (withdrawnUntil: string) => isWithdrawn({ withdrawnUntil } as ClusterFacts, now);

test("only a moment in the future withdraws: other text with a number in it does not", () => {
  assert.equal(until("2026-08-01T12:00:01Z"), true);
  assert.equal(until("2026-08-01T14:00:01+02:00"), true);
  for (const text of [
    "2026-08-01T12:00:00Z",
    "",
    "ticket OPS-9999",
    "never 9999",
    "9999",
    "2999-01-01",
  ])
    assert.equal(until(text), false, text);
  assert.ok(Number.isNaN(momentOf(undefined)));
});
