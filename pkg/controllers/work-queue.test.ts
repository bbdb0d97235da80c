import assert from "node:assert/strict";
import { test } from "node:test";
import { pauseMs, type Again } from "../pace/index.ts";
import { WorkQueue } from "./work-queue.ts";

const clock = { now: () => new Date(), monotonicMs: () => performance.now(), random: () => 0.5 };
const never: Again = { kind: "after", ms: 3_600_000 };

/** A queue whose passes are ended by the test. */
function controlled(concurrency: number, monotonicMs = clock.monotonicMs) {
  const started: string[] = [];
  const failures: string[] = [];
  const ends = new Map<string, (again: Again | Error) => void>();
  const reconcile = (key: string) => {
    started.push(key);
    const { promise, resolve, reject } = Promise.withResolvers<Again>();
    ends.set(key, (again) => (again instanceof Error ? reject(again) : resolve(again)));
    return promise;
  };
  const queue = new WorkQueue({
    concurrency,
    clock: { ...clock, monotonicMs },
    reconcile,
    failed: (key) => failures.push(key),
  });
  const stop = new AbortController();
  queue.start(stop.signal);
  const end = async (key: string, again: Again | Error = never) => {
    ends.get(key)?.(again);
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { queue, started, failures, end, stop };
}

test("a key runs once at a time, and again when it was added meanwhile", async () => {
  const { queue, started, end, stop } = controlled(4);
  queue.add("a");
  queue.add("a");
  queue.add("a");
  assert.deepEqual(started, ["a"]);
  await end("a");
  assert.deepEqual(started, ["a", "a"]);
  await end("a");
  assert.deepEqual(started, ["a", "a"]);
  stop.abort();
});

test("at most so many keys run at once, and a waiting one starts when another ends", async () => {
  const { queue, started, end, stop } = controlled(2);
  for (const key of ["a", "b", "c"]) queue.add(key);
  assert.deepEqual(started, ["a", "b"]);
  await end("a");
  assert.deepEqual(started, ["a", "b", "c"]);
  stop.abort();
});

test("the load says how many wait, how many run, and for how long the oldest", async () => {
  let nowMs = 0;
  const { queue, end, stop } = controlled(2, () => nowMs);
  queue.add("a");
  nowMs = 1_000;
  for (const key of ["b", "c"]) queue.add(key);
  nowMs = 4_000;
  assert.deepEqual(queue.load(), { waiting: 1, running: 2, longestRunningMs: 4_000 });
  await end("a");
  assert.deepEqual(queue.load(), { waiting: 0, running: 2, longestRunningMs: 3_000 });
  await end("b");
  await end("c");
  assert.deepEqual(queue.load(), { waiting: 0, running: 0, longestRunningMs: 0 });
  stop.abort();
});

test("a failure is told, and tried again after a pause; an event does not wait for it", async () => {
  const { queue, started, failures, end, stop } = controlled(1);
  queue.add("a");
  await end("a", new Error("x"));
  assert.deepEqual([failures, started], [["a"], ["a"]]);
  queue.add("a");
  assert.deepEqual(started, ["a", "a"]);
  stop.abort();
});

test("nothing starts after the signal", async () => {
  const { queue, started, end, stop } = controlled(1);
  queue.add("a");
  queue.add("b");
  stop.abort();
  await end("a");
  await queue.drained();
  assert.deepEqual(started, ["a"]);
});

test("keys of which nothing is known leave a quarter of the workers to those that went well", async () => {
  const { queue, started, end, stop } = controlled(4);
  queue.add("well");
  await end("well");
  for (const key of ["n1", "n2", "n3", "n4"]) queue.add(key);
  assert.deepEqual(started.slice(1), ["n1", "n2", "n3"]);
  queue.add("well");
  assert.deepEqual(started.slice(4), ["well"]);
  await end("n1");
  assert.deepEqual(started.slice(5), ["n4"]);
  stop.abort();
});

test("keys that failed slowly hold half of the workers, and new ones pass them", async () => {
  let nowMs = 0;
  const { queue, started, end, stop } = controlled(4, () => nowMs);
  const slow = ["s1", "s2", "s3"];
  for (const key of slow) queue.add(key);
  nowMs += 10_000;
  for (const key of slow)
    await end(key, { kind: "backoff", baseMs: 1e6, maxMs: 1e6, flatTries: 0 });
  for (const key of [...slow, "new", "newer"]) queue.add(key);
  assert.deepEqual(started.slice(3), ["s1", "s2", "new"]);
  await end("s1");
  assert.deepEqual(started.slice(6), ["s3"]);
  stop.abort();
});

test("pauses grow from the base to the maximum, after so many flat tries", () => {
  const again: Again = { kind: "backoff", baseMs: 1000, maxMs: 10_000, flatTries: 2 };
  assert.deepEqual(
    [1, 2, 3, 4, 5, 6, 99].map((n) => pauseMs(again, n, 0.5)),
    [1000, 1000, 1000, 2000, 4000, 8000, 10_000],
  );
  assert.equal(pauseMs(again, 1, 0), 800);
});
