import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { eachCluster } from "./each-cluster.ts";

test("a hundred clusters: 32 at once, all of them, in their order", async () => {
  const clusters = Array.from({ length: 100 }, (_, i) => i);
  let running = 0;
  let most = 0;
  const found = await eachCluster(clusters, async (i) => {
    running += 1;
    most = Math.max(most, running);
    // Later ones are done sooner.
    for (let turns = 0; turns < 100 - i; turns += 1) await setImmediate();
    running -= 1;
    return i * 2;
  });
  assert.deepEqual(
    found,
    clusters.map((i) => i * 2),
  );
  assert.equal(most, 32);
  assert.deepEqual(await eachCluster([], () => Promise.reject(new Error("never"))), []);
});

test("after a failure nothing new is begun", async () => {
  const clusters = Array.from({ length: 100 }, (_, i) => i);
  const begun: number[] = [];
  const asked = eachCluster(clusters, async (i) => {
    begun.push(i);
    await setImmediate();
    if (i === 3) throw new Error("three");
  });
  await assert.rejects(asked, /^Error: three$/);
  const then = begun.length;
  for (let turns = 0; turns < 10; turns += 1) await setImmediate();
  assert.equal(begun.length, then);
  assert.ok(then < 64, String(then));
});
