import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { diffFiles, type ArtifactFiles } from "./index.ts";

const files = (map: Readonly<Record<string, string>>): ArtifactFiles =>
  new Map(Object.entries(map).map(([path, text]) => [path, { content: Buffer.from(text) }]));

test("names what is added, removed and changed, in order", () => {
  assert.deepEqual(
    diffFiles(files({ a: "1", c: "1", d: "1" }), files({ b: "1", c: "2", d: "1" })),
    [
      { path: "a", change: "removed" },
      { path: "b", change: "added" },
      { path: "c", change: "changed" },
    ],
  );
});

test("the executable bit is a change; not said is not executable", () => {
  const content = Buffer.from("x");
  const plain = new Map([["a", { content }]]);
  assert.equal(diffFiles(plain, new Map([["a", { content, executable: true }]])).length, 1);
  assert.equal(diffFiles(plain, new Map([["a", { content, executable: false }]])).length, 0);
});

test("nothing differs from itself, and both directions name the same files", () => {
  const any = fc.dictionary(fc.string(), fc.string()).map(files);
  fc.assert(
    fc.property(any, any, (a, b) => {
      assert.deepEqual(diffFiles(a, a), []);
      const paths = (changes: ReturnType<typeof diffFiles>) => changes.map(({ path }) => path);
      assert.deepEqual(paths(diffFiles(a, b)), paths(diffFiles(b, a)));
    }),
  );
});
