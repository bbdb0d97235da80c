import assert from "node:assert/strict";
import { test } from "node:test";
import { Kept } from "./kept.ts";

test("made once, shared, not kept after a failure, the longest unused goes first", async () => {
  const made: string[] = [];
  const kept = new Kept<string>(10, (text) => text.length);
  const make = (text: string) => async () => {
    made.push(text);
    return Promise.resolve(text);
  };
  const both = await Promise.all([kept.of("a", make("aaaa")), kept.of("a", make("never"))]);
  assert.deepEqual(both, ["aaaa", "aaaa"]);
  await kept.of("b", make("bbbb"));
  await kept.of("a", make("never"));
  await kept.of("c", make("cccc"));
  await kept.of("a", make("never"));
  await kept.of("b", make("bbbb"));
  assert.deepEqual(made, ["aaaa", "bbbb", "cccc", "bbbb"]);
  await assert.rejects(kept.of("x", () => Promise.reject(new Error("no"))));
  assert.equal(await kept.of("x", make("yes")), "yes");
  assert.equal(await kept.held("x"), "yes");
  assert.equal(kept.held("a"), undefined);
  kept.clear();
  assert.equal(kept.held("x"), undefined);
  assert.equal(await kept.of("x", make("no")), "no");
});
