import assert from "node:assert/strict";
import { test } from "node:test";
import { jsonOf, tablesOf, type Results } from "./report.ts";
import type { Sample } from "./rounds.ts";

const peer = "kustomize-controller";
const bareName = "bare apply, 16 at once";
const costs = { requests: 16, writes: 0, listsPerKind: 1, ownCpuMs: 30, serversCpuMs: 80 };
const pass = (ms: number) => ({ ms, ...costs });
const samples: readonly Sample[] = [1, 2, 3].flatMap((round) => [
  { contender: "Capitan", clusters: 1, installMs: 400 + round, pass: pass(10) },
  {
    contender: "Capitan",
    clusters: 8,
    installMs: 4000 + round,
    pass: pass(50 + round),
    bareAnswersMs: 24 + round,
  },
  { contender: bareName, clusters: 1, installMs: 300 + round },
  { contender: bareName, clusters: 8, installMs: 3000 + round },
  {
    contender: peer,
    clusters: 8,
    installMs: 9000 + round,
    pass: pass(5000),
    drift: { byItself: false, askedMs: 5000 },
  },
]);

const results: Results = {
  clusters: 8,
  runs: 3,
  installed: "Flux v2.9.4",
  peers: [peer],
  rounds: { samples, warmUp: [], bareName },
  drift: { n: 300, p50Ms: 12, p99Ms: 40, bare: { p50Ms: 6, p99Ms: 20 } },
  memory: {
    few: { clusters: 8, rssMb: 100, heapMb: 20 },
    many: { clusters: 24, rssMb: 106.4, heapMb: 24.8 },
    mbPerCluster: 0.4,
    heapMbPerCluster: 0.3,
  },
};

test("the JSON line has medians, our ratio to the bare apply and a peer's to ours", () => {
  assert.deepEqual(jsonOf(results), {
    install: {
      1: { capitanMs: 402, bareMs: 302, ratio: 1.33 },
      8: { capitanMs: 4002, bareMs: 3002, ratio: 1.33 },
    },
    noop: { ms: 52, requests: 16, writes: 0, bareMs: 26, ratio: 2 },
    drift: { n: 300, p50Ms: 12, p99Ms: 40, bare: { p50Ms: 6, p99Ms: 20 } },
    memory: { mbPerCluster: 0.4 },
    peers: { [peer]: { install: { ms: 9002, ratio: 2.25 }, noop: { ms: 5000, ratio: 96.15 } } },
  });
});

test("without peers the JSON line and the tables name none", () => {
  const alone = { ...results, peers: [] };
  assert.ok(!("peers" in jsonOf(alone)));
  assert.ok(!tablesOf(alone).includes(peer));
});

test("the tables say which budgets are met", () => {
  const text = tablesOf(results);
  assert.match(text, /Flux into 1 fresh .* 402 ms .* ≤ 1 s +yes/);
  assert.match(text, /Flux into 8 fresh .* 1\.33 .* no/);
  assert.match(text, /drift, 300 repairs .* p50 6 ms, p99 20 ms .* 2 .* yes/);
  assert.match(text, /memory per idle cluster .* yes/);
  assert.match(text, /kustomize-controller +0 of 3 +3 of 3, pass of 5000 ms/);
});
