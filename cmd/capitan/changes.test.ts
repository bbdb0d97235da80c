import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { changesBetween } from "./changes.ts";

const deployment = (image: string, more: object = {}) => ({
  kind: "Deployment",
  metadata: { name: "a", resourceVersion: String(Math.random()), managedFields: [image] },
  spec: { template: { spec: { containers: [{ name: "c", image }, { name: "d" }] } }, ...more },
  status: { replicas: Math.random() },
});

test("what differs is named by its path, what the server writes is left out", () => {
  assert.deepEqual(changesBetween(deployment("x"), deployment("y", { replicas: 2 })), [
    { path: "spec.replicas", from: undefined, to: 2 },
    { path: "spec.template.spec.containers[c].image", from: "x", to: "y" },
  ]);
});

test("keys with dots and slashes are quoted, lists without names go by position", () => {
  const before = { metadata: { labels: { "a.b/c": "1" } }, list: [1, 2] };
  const after = { metadata: { labels: { "a.b/c": "2" } }, list: [1, 3, 4] };
  assert.deepEqual(
    changesBetween(before, after).map(({ path }) => path),
    ["list[1]", "list[2]", 'metadata.labels["a.b/c"]'],
  );
});

test("a value of a Secret is never shown, and an equal one is no change", () => {
  const secret = (value: string) => ({
    kind: "Secret",
    metadata: {},
    data: { k: value, same: "s" },
  });
  const [change, ...rest] = changesBetween(secret("b2xk"), secret("bmV3"));
  assert.deepEqual(rest, []);
  assert.equal(change?.path, "data.k");
  assert.match(String(change?.from), /^\(masked\)$/);
  assert.doesNotMatch(JSON.stringify(change), /b2xk|bmV3/);
  assert.doesNotMatch(JSON.stringify(changesBetween(undefined, secret("bmV3"))), /bmV3/);
});

test("an object differs from itself in nothing", () => {
  fc.assert(
    fc.property(
      fc.dictionary(
        fc.string(),
        fc.json().map((text) => JSON.parse(text) as unknown),
      ),
      (spec) => {
        const object = { kind: "Thing", metadata: { name: "a" }, spec };
        assert.deepEqual(changesBetween(object, structuredClone(object)), []);
      },
    ),
  );
});
