import assert from "node:assert/strict";
import { test } from "node:test";
import { KubeClient } from "./client.ts";
import type { Call, Reply, Transport } from "./transport.ts";

const configMap = {
  group: "",
  version: "v1",
  kind: "ConfigMap",
  plural: "configmaps",
  namespaced: true,
};

/** A client of a server that answers so. */
function clientOf(answer: (call: Call) => Reply) {
  const calls: Call[] = [];
  const call = (asked: Call) => {
    calls.push(asked);
    return Promise.resolve(answer(asked));
  };
  return { calls, client: new KubeClient({ call } as unknown as Transport) };
}

test("a reply that cannot be read is an error that quotes nothing of it", async () => {
  const { client } = clientOf(() => ({ status: 200, body: '{"data":{"p":hunter2secret' }));
  const name = { namespace: "n", name: "s" };
  for (const ask of [
    () => client.get(configMap, name),
    () => client.list(configMap),
    () => client.raw("/api"),
    () => client.mergePatch(configMap, name, {}),
  ])
    await assert.rejects(ask, (error: Error) => {
      assert.equal((error as Error & { code: string }).code, "Unreachable");
      assert.match(error.message, /the reply is no JSON/);
      assert.doesNotMatch(`${error.stack ?? ""} ${String(error.cause)}`, /hunter/);
      return true;
    });
});

test("a server that gives empty pages for ever is not asked for ever", async () => {
  const empty = JSON.stringify({ items: [], metadata: { continue: "more" } });
  const { client, calls } = clientOf(() => ({ status: 200, body: empty }));
  assert.equal(await client.listFew(configMap, 20), undefined);
  assert.ok(calls.length <= 2, `${calls.length} pages`);
  await assert.rejects(client.list(configMap), /more than 1000 pages/);
});
