import assert from "node:assert/strict";
import { test } from "node:test";
import { ownershipOf, type ObjectMeta } from "../object/index.ts";
import { createdByUs } from "./created.ts";

const time = "2026-01-01T00:00:00Z";
const later = "2026-01-01T00:00:05Z";
const ours = {
  manager: "capitan",
  operation: "Apply",
  apiVersion: "v1",
  time,
  fieldsV1: { "f:data": { "f:a": {} } },
};
const meta = (more: object): ObjectMeta => ({
  name: "a",
  creationTimestamp: time,
  managedFields: [ours],
  ...more,
});

test("the digest is the same for the same fields and time, in whatever order keys come", () => {
  const reordered = {
    fieldsV1: { "f:data": { "f:a": {} } },
    time,
    apiVersion: "v1",
    operation: "Apply",
    manager: "capitan",
  };
  assert.equal(ownershipOf(meta({})), ownershipOf(meta({ managedFields: [reordered] })));
});

test("a lost field, another time and a foreign entry in our place are all seen", () => {
  const digests = [
    meta({}),
    meta({ managedFields: [{ ...ours, fieldsV1: { "f:data": {} } }] }),
    meta({ managedFields: [{ ...ours, time: later }] }),
    meta({ managedFields: [{ ...ours, operation: "Update" }] }),
    meta({ managedFields: [{ ...ours, subresource: "status" }] }),
    meta({ managedFields: [] }),
  ].map(ownershipOf);
  assert.equal(new Set(digests).size, 4);
  assert.deepEqual(digests.slice(3), ["", "", ""]);
});

test("an object is ours by creation when our entry is as old as it and nobody else's is", () => {
  assert.equal(createdByUs(meta({})), true);
  assert.equal(createdByUs(meta({ creationTimestamp: "2025-01-01T00:00:00Z" })), false);
  assert.equal(
    createdByUs(
      meta({ managedFields: [ours, { manager: "kubectl-create", operation: "Update", time }] }),
    ),
    false,
  );
  assert.equal(
    createdByUs(
      meta({ managedFields: [ours, { manager: "other", operation: "Update", time: later }] }),
    ),
    true,
  );
  assert.equal(
    createdByUs(
      meta({
        managedFields: [ours, { manager: "kcm", operation: "Update", subresource: "status", time }],
      }),
    ),
    true,
  );
  assert.equal(createdByUs(meta({ managedFields: [] })), false);
});
