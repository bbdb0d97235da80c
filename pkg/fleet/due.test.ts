import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fleet, KeyRotation } from "../api/index.ts";
import { dueRotation, type AgedKey } from "./due.ts";

const hourMs = 3_600_000;
const nowMs = Date.parse("2026-11-21T12:00:00Z");
const repository = {
  url: "https://git.example/fleet",
  branch: "main",
  secretRef: { name: "git-write" },
  delivery: "Push",
} as const;
const decryption = { secretRef: { name: "manager-key" } };

const fleet = (more: object = {}): Fleet => ({
  apiVersion: "capitan.dev/v1alpha1",
  kind: "Fleet",
  metadata: { namespace: "fleet", name: "platform" },
  spec: {
    clusterSelector: {},
    suspend: false,
    interval: "10m",
    deletionPolicy: "Delete",
    layers: [],
    rotation: { rotateEvery: "2h", repository, decryption },
    ...more,
  },
});

const key = (cluster: string, ageHours: number, more: Partial<AgedKey> = {}): AgedKey => ({
  cluster,
  uid: `uid-${cluster}`,
  generation: 1,
  createdMs: nowMs - ageHours * hourMs,
  ...more,
});

const rotationOf = (cluster: string, dryRun = false): KeyRotation => ({
  apiVersion: "capitan.dev/v1alpha1",
  kind: "KeyRotation",
  metadata: { namespace: "fleet", name: "other" },
  spec: {
    clusters: [{ name: cluster, ends: 1 }],
    repository,
    decryption,
    dryRun,
    rollout: "Proven",
    reason: "Scheduled",
  },
});

const table: readonly [
  what: string,
  keys: readonly AgedKey[],
  open: readonly KeyRotation[],
  due: readonly string[],
  againMs: number,
][] = [
  ["nobody has a key", [], [], [], Infinity],
  ["young keys wait until the first is due", [key("a", 1), key("b", 1.5)], [], [], 0.5 * hourMs],
  ["a key of just that age is due", [key("a", 2)], [], ["a:1"], 60_000],
  [
    "those that are due share one rotation, in order",
    [key("b", 3, { generation: 4 }), key("c", 1), key("a", 9)],
    [],
    ["a:1", "b:4"],
    60_000,
  ],
  [
    "who is in an open rotation is left out, and looked at again soon",
    [key("a", 3), key("b", 3)],
    [rotationOf("a")],
    ["b:1"],
    60_000,
  ],
  ["all of them are in open ones", [key("a", 3)], [rotationOf("a")], [], 60_000],
  ["a plan is no rotation", [key("a", 3)], [rotationOf("a", true)], ["a:1"], 60_000],
];
for (const [what, keys, open, due, againMs] of table)
  test(`rotateEvery: ${what}`, () => {
    const found = dueRotation(fleet(), { keys, open, nowMs });
    const clusters = found.rotation?.spec.clusters ?? [];
    assert.deepEqual(
      clusters.map(({ name, ends }) => `${name}:${ends}`),
      due,
    );
    assert.equal(found.againMs, againMs);
  });

test("rotateEvery: the same keys have the same rotation, another generation or Cluster another one", () => {
  const nameFor = (...keys: readonly AgedKey[]) =>
    dueRotation(fleet(), { keys, open: [], nowMs }).rotation?.metadata.name;
  const name = nameFor(key("a", 3), key("b", 4));
  assert.match(name ?? "", /^platform-[0-9a-f]{8}$/);
  assert.equal(nameFor(key("b", 5), key("a", 6)), name);
  const others = [
    nameFor(key("a", 3)),
    nameFor(key("a", 3), key("b", 4, { generation: 2 })),
    nameFor(key("a", 3), key("b", 4, { uid: "anew" })),
  ];
  assert.equal(new Set([name, ...others]).size, 4);
});

test("rotateEvery: a Fleet that is suspended, goes, or asks for none makes none", () => {
  const known = { keys: [key("a", 3)], open: [], nowMs };
  assert.equal(dueRotation(fleet({ suspend: true }), known).rotation, undefined);
  assert.equal(dueRotation(fleet({ rotation: undefined }), known).rotation, undefined);
  const going = { ...fleet(), metadata: { name: "f", deletionTimestamp: "2026-11-21T00:00:00Z" } };
  assert.equal(dueRotation(going, known).rotation, undefined);
});
