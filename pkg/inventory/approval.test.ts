import assert from "node:assert/strict";
import { test } from "node:test";
import { approvalFor, type Entry } from "./index.ts";

const volume = (uid: string): Entry => ({
  key: "/PersistentVolumeClaim/default/db",
  version: "v1",
  owner: "me",
  layer: "l",
  policy: "Delete",
  uid,
  created: true,
});

test("an approval is for these very objects: one that was made again under the same name needs another", () => {
  const first = approvalFor("n/c", [volume("1")], 5);
  assert.match(first?.message ?? "", /would delete PersistentVolumeClaim\/default\/db/);
  assert.notEqual(first?.approval, approvalFor("n/c", [volume("2")], 5)?.approval);
  assert.notEqual(first?.approval, approvalFor("n/d", [volume("1")], 5)?.approval);
  assert.equal(first?.approval, approvalFor("n/c", [volume("1")], 9)?.approval);
});

test("a single ordinary object needs approval only when an input prunes many clusters", () => {
  const one = [{ ...volume("1"), key: "/ConfigMap/default/a" }];
  assert.equal(approvalFor("n/c", one, 50), undefined);
  const asked = approvalFor("n/c", one, 50, { prunesMany: true });
  assert.match(asked?.message ?? "", /three other clusters within the hour.* \(1 of 50 objects\)/);
  assert.equal(approvalFor("n/c", [], 50, { prunesMany: true }), undefined);
});
