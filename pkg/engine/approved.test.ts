import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../object/index.ts";
import { splitApprovals } from "./approved.ts";

const cluster = {
  apiVersion: "cluster.x-k8s.io/v1beta2",
  kind: "Cluster",
  namespace: "fleet",
  name: "prod",
  uid: "0b6d",
};
const document = (spec: unknown, more: object = {}): KubeObject => ({
  apiVersion: "capitan.dev/v1alpha1",
  kind: "RemovalApproval",
  metadata: { name: "prod" },
  spec,
  ...more,
});
const map: KubeObject = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a" } };

test("approvals are read and not applied", () => {
  const volume = { apiVersion: "v1", kind: "PersistentVolume", name: "v", uid: "1" };
  const { objects, approvals } = splitApprovals([map, document({ objects: [cluster, volume] })]);
  assert.deepEqual(objects, [map]);
  assert.deepEqual(approvals, [
    { key: "cluster.x-k8s.io/Cluster/fleet/prod", uid: "0b6d" },
    { key: "/PersistentVolume//v", uid: "1" },
  ]);
});

test("a kind of the same name in another group is an object as any other", () => {
  const other = document({}, { apiVersion: "example.com/v1" });
  assert.deepEqual(splitApprovals([other]), { objects: [other], approvals: [] });
});

const refused: readonly (readonly [what: string, document: KubeObject])[] = [
  ["no spec", document(undefined)],
  ["no objects", document({ objects: [] })],
  ["a list that is none", document({ objects: cluster })],
  ["a field beside objects", document({ objects: [cluster], all: true })],
  ["a field beside spec", document({ objects: [cluster] }, { data: {} })],
  ["another version", document({ objects: [cluster] }, { apiVersion: "capitan.dev/v2" })],
  ["no uid", document({ objects: [{ ...cluster, uid: "" }] })],
  ["a uid that is no text", document({ objects: [{ ...cluster, uid: 1 }] })],
  ["a namespace that is no text", document({ objects: [{ ...cluster, namespace: null }] })],
  ["a name with a path", document({ objects: [{ ...cluster, name: "a/b" }] })],
  ["a field that nobody knows", document({ objects: [{ ...cluster, force: true }] })],
  ["a text", document({ objects: ["prod"] })],
  ["too many", document({ objects: Array.from({ length: 1_001 }, () => cluster) })],
];

for (const [what, approval] of refused)
  test(`an approval with ${what} is refused`, () => {
    assert.throws(() => splitApprovals([map, approval]), {
      code: "ManifestInvalid",
      message: /^RemovalApproval\/prod: /,
    });
  });
