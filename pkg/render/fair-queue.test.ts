import assert from "node:assert/strict";
import { test } from "node:test";
import { FairQueue } from "./fair-queue.ts";
import { TemplateCache } from "./template-cache.ts";

const item = (key: string, n = 0) => ({ key, n });

function queueOf(workers: number, keys: readonly string[]) {
  const queue = new FairQueue<{ key: string; n: number }>(workers, 100);
  for (const [n, key] of keys.entries()) queue.push(item(key, n));
  return queue;
}

/** Takes and finishes one after the other. */
function order(queue: FairQueue<{ key: string; n: number }>): string {
  const keys: string[] = [];
  for (let next = queue.next(); next !== undefined; next = queue.next()) {
    keys.push(next.key);
    queue.done(next, false);
  }
  return keys.join("");
}

test("keys take turns, however much one of them asks for", () => {
  assert.equal(order(queueOf(2, ["a", "a", "a", "a", "b", "c", "b"])), "abcabaa");
});

test("the items of one key come in their order", () => {
  const queue = queueOf(2, ["a", "a", "a"]);
  const taken = [0, 1, 2].map(() => {
    const next = queue.next();
    if (next !== undefined) queue.done(next, false);
    return next?.n;
  });
  assert.deepEqual(taken, [0, 1, 2]);
});

test("no key has all workers while there are several; with one worker it has that one", () => {
  const several = queueOf(3, ["a", "a", "a", "a"]);
  assert.deepEqual([several.next()?.n, several.next()?.n, several.next()], [0, 1, undefined]);
  const one = queueOf(1, ["a", "a"]);
  assert.deepEqual([one.next()?.n, one.next()], [0, undefined]);
});

test("keys that were stopped share one worker until something of theirs goes well", () => {
  const queue = queueOf(3, ["a", "b"]);
  for (const next of [queue.next(), queue.next()]) if (next !== undefined) queue.done(next, true);
  for (const key of ["a", "b", "a", "c"]) queue.push(item(key));
  const [first, second, third] = [queue.next(), queue.next(), queue.next()];
  assert.deepEqual([first?.key, second?.key, third], ["a", "c", undefined]);
  if (first !== undefined) queue.done(first, false);
  // a is no suspect any more, b is one still: both may run.
  assert.deepEqual([queue.next()?.key, queue.next()?.key].sort(), ["a", "b"]);
});

test("there is room for so many and no more; clearing makes room", () => {
  const queue = new FairQueue<{ key: string }>(1, 2);
  assert.equal(queue.hasRoom(2), true);
  queue.push(item("a"));
  assert.equal(queue.hasRoom(2), false);
  assert.deepEqual(queue.clear(), [item("a")]);
  assert.equal(queue.hasRoom(2), true);
  assert.equal(queue.next(), undefined);
});

test("templates are kept up to a size, what was not used for longest goes first", () => {
  const compiled: string[] = [];
  const cache = new TemplateCache(12, (text, file) => {
    compiled.push(text);
    return { file, statements: [], inputs: new Set() };
  });
  for (const text of ["aaa", "bbb", "aaa", "ccc", "aaa", "bbb"]) cache.get(text, "f");
  assert.deepEqual(compiled, ["aaa", "bbb", "ccc", "bbb"]);
  assert.equal(cache.get("aaa", "f"), cache.get("aaa", "f"));
  assert.notEqual(cache.get("aaa", "f"), cache.get("aaa", "g"));
});
