import assert from "node:assert/strict";
import { test } from "node:test";
import type { KeyRotation } from "../api/index.ts";
import type { Standing } from "../rotation/index.ts";
import { rotationStatus } from "./index.ts";

const now = "2026-01-02T03:04:05Z";

/** A rotation of so many clusters, each with the longest name and a proof, waiting for a long reason. */
function waiting(count: number, message: string) {
  const names = Array.from({ length: count }, (_, i) => `${i}`.padStart(63, "c"));
  const rotation: KeyRotation = {
    apiVersion: "capitan.dev/v1alpha1",
    kind: "KeyRotation",
    metadata: { namespace: "fleet", name: "leak", generation: 1 },
    spec: {
      clusters: names.map((name) => ({ name, ends: 1 })),
      repository: {
        url: "https://git.example/fleet",
        branch: "main",
        secretRef: { name: "git" },
        delivery: "Push",
      },
      decryption: { secretRef: { name: "manager-key" } },
      rollout: "Proven",
      reason: "Compromise",
      dryRun: false,
    },
  };
  const standings = names.map((name): Standing => ({
    reader: {
      name,
      uid: "0".repeat(36),
      presence: "reachable",
      generations: [{ generation: 2, recipient: "r", state: "active", createdMs: 0 }],
      planted: undefined,
      revisions: [],
      proofs: [
        { generation: 2, uid: "0".repeat(36), revision: `sha256:${"0".repeat(64)}`, atMs: 0 },
      ],
      canary: undefined,
    },
    stage: { kind: "wait", reason: "AwaitingPublish", message, beforeCommit: false },
  }));
  return { rotation, standings };
}

/** What the API server notes for each cluster about who owns which field, at most. */
const ownershipBytes = 400;

test("a thousand clusters fit into one object, with whatever is said of them and of their files", () => {
  const { rotation, standings } = waiting(1_000, "m".repeat(5_000));
  const values = Array.from({ length: 100 }, (_, i) => `stringData:${"k".repeat(400)}${i}`);
  const exposed = new Map(Array.from({ length: 9_000 }, (_, i) => [`clusters/${i}`, values]));
  const status = rotationStatus(rotation, { standings, exposed }, now);
  const bytes = Buffer.byteLength(JSON.stringify({ ...rotation, status }));
  assert.ok(bytes + 1_000 * ownershipBytes < 1_500_000, `${bytes}`);
  assert.equal(status.clusters?.length, 1_000);
  assert.equal(status.exposedFiles, 9_000);
});

test("what is said of a few clusters is said in full, and all files that were exposed are named", () => {
  const message = `move oci://r/config:stable: ${"m".repeat(900)}`;
  const { rotation, standings } = waiting(3, message);
  const exposed = new Map(Array.from({ length: 500 }, (_, i) => [`clusters/${i}`, ["data:a"]]));
  const status = rotationStatus(rotation, { standings, exposed }, now);
  assert.equal(status.clusters?.[2]?.message, message);
  assert.equal(status.exposed?.length, 500);
  assert.equal(status.exposedFiles, 500);
});

test("what was exposed stays when a later look does not say it", () => {
  const { rotation, standings } = waiting(1, "m");
  const exposed = new Map([["clusters/a", ["data:a"]]]);
  const before = rotationStatus(rotation, { standings, exposed }, now);
  const after = rotationStatus({ ...rotation, status: before }, { standings }, now);
  assert.deepEqual(after.exposed, [{ file: "clusters/a", values: ["data:a"] }]);
  assert.equal(after.exposedFiles, 1);
});
