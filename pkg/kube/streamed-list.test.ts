import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject, Resource } from "../object/index.ts";
import type { KubeClient } from "./client.ts";
import { streamList } from "./streamed-list.ts";
import type { WatchEvent } from "./watch.ts";

const configMap: Resource = {
  group: "",
  version: "v1",
  kind: "ConfigMap",
  plural: "configmaps",
  namespaced: true,
};
const object = (name: string, resourceVersion: string): KubeObject => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace: "n", resourceVersion },
});
const event = (
  type: "ADDED" | "MODIFIED" | "DELETED",
  name: string,
  version: string,
): WatchEvent => ({ type, object: object(name, version) });
const bookmark = (resourceVersion: string, isInitialEnd: boolean): WatchEvent => ({
  type: "BOOKMARK",
  resourceVersion,
  isInitialEnd,
});

/** What is read from a server that sends this and then ends, or is silent until nobody waits any more. */
function listOf(
  sent: Iterable<WatchEvent> | AsyncIterable<WatchEvent>,
  end: "ends" | "is silent" = "ends",
) {
  const asked: (string | undefined)[] = [];
  const client = {
    watch: async function* (
      _: Resource,
      { resourceVersion, signal }: { resourceVersion?: string; signal: AbortSignal },
    ) {
      asked.push(resourceVersion);
      yield* sent;
      if (end === "ends") return;
      signal.throwIfAborted();
      const { promise, reject } = Promise.withResolvers<never>();
      signal.addEventListener("abort", () => reject(new Error("aborted")), { once: true });
      await promise;
    },
  } as unknown as KubeClient;
  return { asked, list: streamList(client, configMap, { idleMs: 1, timeoutSeconds: 1 }) };
}

const rest = async (events: AsyncIterable<WatchEvent>) => {
  const found: WatchEvent[] = [];
  for await (const one of events) found.push(one);
  return found;
};

test("what is there ends with a bookmark that says so; what happened before it is in it, what comes after it follows", async () => {
  const { asked, list } = listOf([
    event("ADDED", "a", "1"),
    event("ADDED", "b", "2"),
    bookmark("2", false),
    event("ADDED", "c", "3"),
    event("MODIFIED", "a", "4"),
    event("DELETED", "b", "5"),
    bookmark("5", true),
    event("MODIFIED", "c", "6"),
  ]);
  const { items, resourceVersion, events } = await list;
  assert.deepEqual(items, [object("a", "4"), object("c", "3")]);
  assert.equal(resourceVersion, "5");
  assert.deepEqual(await rest(events), [event("MODIFIED", "c", "6")]);
  assert.deepEqual(asked, [undefined]);
});

test("a watch that ends before it has said that this is all is no list", async () => {
  const { list } = listOf([event("ADDED", "a", "1"), bookmark("1", false)]);
  await assert.rejects(list, { status: 504, code: "Unreachable" });
});

test("nor is one without end", async () => {
  let isClosed = false;
  const endless = function* () {
    try {
      for (let i = 0; ; i++) yield event("ADDED", `a-${i}`, "1");
    } finally {
      isClosed = true;
    }
  };
  await assert.rejects(listOf(endless()).list, { status: 504 });
  assert.ok(isClosed);
});

test("nor is one that falls silent before it; each new object gives it time again", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const more = Promise.withResolvers<void>();
  const sent = async function* () {
    yield event("ADDED", "a", "1");
    await more.promise;
    yield event("ADDED", "b", "2");
  };
  let isOver = false;
  const failed = assert
    .rejects(listOf(sent(), "is silent").list, { status: 504, detail: /has not come whole/ })
    .then(() => (isOver = true));
  const pass = async (ms: number) => {
    t.mock.timers.tick(ms);
    await new Promise((resolve) => setImmediate(resolve));
  };
  await pass(9_999);
  more.resolve();
  await pass(0);
  await pass(9_999);
  assert.equal(isOver, false);
  await pass(1);
  await failed;
});

test("nor is one that only tells again and again what changes, as a plain watch does", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const beats = Array.from({ length: 3 }, () => Promise.withResolvers<void>());
  const sent = async function* () {
    yield event("ADDED", "a", "1");
    for (const [i, beat] of beats.entries()) {
      await beat.promise;
      yield event("MODIFIED", "a", `${i + 2}`);
      yield bookmark(`${i + 2}`, false);
    }
  };
  let failure: unknown;
  void listOf(sent(), "is silent").list.catch((error: unknown) => (failure = error));
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  for (const beat of beats) {
    await turn();
    t.mock.timers.tick(4_000);
    beat.resolve();
  }
  await turn();
  assert.equal((failure as { status?: number } | undefined)?.status, 504);
});
