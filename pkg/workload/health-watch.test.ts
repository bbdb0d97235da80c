import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { ApiError, type KubeClient } from "../kube/index.ts";
import type { KubeObject, Resource } from "../object/index.ts";
import { HealthWatch } from "./health-watch.ts";
import { coreResources } from "./resources.ts";

const { definition, namespace, configMap } = coreResources;

type Feed = {
  readonly tell: (object: KubeObject) => void;
  readonly fail: (error: Error) => void;
};

/** A client of a cluster in which nothing is, and whose watches say what a test gives them. */
function fakeClient() {
  const feeds = new Map<string, Feed>();
  const watch = async function* ({ kind }: Resource) {
    const events: (KubeObject | Error)[] = [];
    let wake = () => {};
    const add = (event: KubeObject | Error) => {
      events.push(event);
      wake();
    };
    feeds.set(kind, { tell: add, fail: add });
    yield { type: "BOOKMARK" as const, resourceVersion: "1", isInitialEnd: true };
    for (;;) {
      for (let next = events.shift(); next !== undefined; next = events.shift()) {
        if (next instanceof Error) throw next;
        yield { type: "MODIFIED" as const, object: next };
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  const client = { watch, version: () => Promise.resolve("1") } as unknown as KubeClient;
  return { client, feeds };
}

const object = ({ kind }: Resource, name: string, resourceVersion: string): KubeObject => ({
  apiVersion: kind === "CustomResourceDefinition" ? "apiextensions.k8s.io/v1" : "v1",
  kind,
  metadata: { name, resourceVersion, uid: "u" },
});

/** Lets everything happen that is ready to. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await turn();
}

test("while somebody waits for a CRD, what happens to everything else is told, and fails nobody", async () => {
  const { client, feeds } = fakeClient();
  let told = 0;
  const watch = new HealthWatch(client, () => (told += 1), { random: () => 0 });
  const signal = new AbortController().signal;
  await watch.follow([configMap], signal);
  await settle();
  const key = "apiextensions.k8s.io/CustomResourceDefinition//a";
  let isDone = false;
  const waited = watch.until([definition], { keys: [key], isDone: () => isDone }, signal);
  await settle();
  feeds.get("ConfigMap")?.tell(object(configMap, "c", "2"));
  await settle();
  assert.equal(told, 1, "another kind");
  feeds.get("CustomResourceDefinition")?.tell(object(definition, "b", "3"));
  await settle();
  assert.equal(told, 2, "another CRD");
  const gone = new ApiError("WATCH configmaps", "too old", { status: 410 });
  feeds.get("ConfigMap")?.fail(gone);
  await settle();
  isDone = true;
  feeds.get("CustomResourceDefinition")?.tell(object(definition, "a", "4"));
  await waited;
  assert.equal(told, 2, "what is waited for is not told as well");
  watch.stop();
});

test("a wait ends with what makes its own watch fail, when the signal aborts, and when all is stopped", async () => {
  const ends: ((watch: HealthWatch, feed: Feed, stop: AbortController) => void)[] = [
    (_, feed) => feed.fail(new ApiError("WATCH", "refused", { status: 403 })),
    (_, __, stop) => stop.abort(),
    (watch) => watch.stop(),
  ];
  const outcomes: string[] = [];
  for (const end of ends) {
    const { client, feeds } = fakeClient();
    const watch = new HealthWatch(client, () => {}, { random: () => 0 });
    const stop = new AbortController();
    const waited = watch
      .until([namespace], { keys: ["/Namespace//n"], isDone: () => false }, stop.signal)
      .then(
        () => "ended",
        (error: unknown) => (error as Error).message,
      );
    await settle();
    const feed = feeds.get("Namespace");
    assert.ok(feed !== undefined);
    end(watch, feed, stop);
    outcomes.push(await waited);
    watch.stop();
  }
  assert.deepEqual(outcomes, ["WATCH: refused", "ended", "ended"]);
});
