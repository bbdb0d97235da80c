import assert from "node:assert/strict";
import { after, test } from "node:test";
import { newMetrics, serve, type Sample } from "./index.ts";

const stopping = new AbortController();
after(() => stopping.abort());

type State = { healthy: boolean; ready: boolean; fails: boolean };

async function started(state: State) {
  const metrics = newMetrics(() => {
    if (state.fails) throw new Error("no gauges");
    return [
      { name: "capitan_leader", value: 1 },
      { name: "capitan_members", labels: { reason: "Unreachable" }, value: Number.NaN },
    ];
  });
  const endpoint = { healthy: () => state.healthy, ready: () => state.ready };
  const port = await serve(
    { address: "127.0.0.1:0", scrape: metrics.scrape, ...endpoint },
    stopping.signal,
  );
  const get = async (path: string) => {
    const reply = await fetch(`http://127.0.0.1:${port}${path}`);
    return { status: reply.status, text: await reply.text() };
  };
  return { get, metrics };
}

test("a look that hangs fails /healthz, an empty cache fails /readyz, one failed scrape ends nothing", async () => {
  const state = { healthy: true, ready: false, fails: true };
  const { get } = await started(state);
  assert.equal((await get("/healthz")).status, 200);
  assert.equal((await get("/readyz")).status, 503);
  assert.equal((await get("/metrics")).status, 500);
  assert.equal((await get("/")).status, 404);
  Object.assign(state, { healthy: false, ready: true, fails: false });
  assert.equal((await get("/healthz")).status, 503);
  assert.equal((await get("/readyz")).status, 200);
  assert.match((await get("/metrics")).text, /^capitan_leader 1$/m);
});

test("what is counted is served, and a number that is none is left out", async () => {
  const { get, metrics } = await started({ healthy: true, ready: true, fails: false });
  metrics.reconciled("cluster", "done", 0.3);
  metrics.applied(3);
  metrics.repaired(2, 0.007);
  metrics.repaired(1, undefined);
  metrics.registryAsked("pull", "success");
  metrics.notified("sent");
  metrics.watchFailed("Secret");
  const { text } = await get("/metrics");
  for (const line of [
    'capitan_reconcile_total{controller="cluster",result="done"} 1',
    'capitan_reconcile_duration_seconds_count{controller="cluster"} 1',
    "capitan_applied_objects_total 3",
    "capitan_repaired_objects_total 3",
    "capitan_drift_repair_duration_seconds_count 1",
    'capitan_drift_repair_duration_seconds_bucket{le="0.01"} 1',
    'capitan_registry_operations_total{operation="pull",result="success"} 1',
    'capitan_notifications_total{result="sent"} 1',
    'capitan_hub_watch_failures_total{kind="Secret"} 1',
  ])
    assert.ok(text.split("\n").includes(line), line);
  assert.ok(!text.includes("capitan_members{"));
});

test("what the gauges say no more is gone with the next scrape", async () => {
  const labels = { namespace: "fleet", cluster: "prod-1" };
  let samples: Sample[] = [{ name: "capitan_cluster_ready", labels, value: 1 }];
  const { scrape } = newMetrics(() => samples);
  assert.match((await scrape()).text, /^capitan_cluster_ready\{.*cluster="prod-1".*\} 1$/m);
  samples = [];
  assert.ok(!(await scrape()).text.includes("prod-1"));
});
