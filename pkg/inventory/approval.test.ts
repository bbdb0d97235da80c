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
