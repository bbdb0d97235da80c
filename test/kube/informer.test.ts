import assert from "node:assert/strict";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ApiError, Informer, type KubeClient } from "../../pkg/kube/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";
import {
  clientOf,
  etcdDir,
  relaunchApiServer,
  startApiServer,
  startEtcd,
} from "../../hack/lab/apiserver.ts";
import { claimPorts, releasePorts, type Ports } from "../../hack/lab/ports.ts";
import { signal, stop } from "../../hack/lab/processes.ts";
import { silent } from "../../hack/lab/progress.ts";
import { ensureTools, type Tools } from "../../hack/lab/tools.ts";
import { configMap, resources, until } from "../harness/index.ts";

/** An API server and an etcd of this file's own, since it stops, freezes and compacts them. */
let dir: string;
let tools: Tools;
let ports: Ports;
let client: KubeClient;
const name = "apiserver-x";

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "capitan-informer-"));
  tools = await ensureTools(silent);
  ports = await claimPorts(dir);
  await startEtcd(dir, tools.etcd, ports);
  const server = await startApiServer(dir, tools["kube-apiserver"], serverOptions());
  client = await clientOf(server.kubeconfigFile);
});
after(async () => {
  await client.close();
  await signal(dir, name, "SIGCONT");
  await stop(dir, name);
  await stop(dir, "etcd");
  await releasePorts(ports);
  await rm(dir, { recursive: true, force: true });
});

const serverOptions = () => ({ name: "x", port: ports.hub, etcdPort: ports.etcd });
const write = (which: string, k: string) =>
  client.apply(resources.configMap, configMap(which, { k }) as KubeObject, {
    manager: "test",
    metadataOnly: true,
  });

type Watching = {
  readonly client?: KubeClient;
  readonly idleMs?: number;
  readonly streamed?: boolean;
  readonly onChange?: (object: KubeObject) => void;
};

/** An informer that runs during `work`; gives what it saw. */
async function watching(
  options: Watching,
  work: (informer: Informer, seen: string[]) => Promise<void>,
): Promise<void> {
  const end = new AbortController();
  const seen: string[] = [];
  const { client: asked = client, idleMs, streamed = false } = options;
  const informer = new Informer(asked, resources.configMap, {
    namespace: "default",
    random: Math.random,
    streamed,
    ...(idleMs === undefined ? {} : { idleMs }),
    onChange: (object, gone) => {
      options.onChange?.(object);
      seen.push(`${gone ? "-" : "+"}${object.metadata.name}`);
    },
  });
  const running = informer.run(end.signal);
  try {
    await informer.synced;
    await work(informer, seen);
  } finally {
    end.abort();
    await running;
  }
}

const value = (informer: Informer, which: string) =>
  (informer.get("default", which)?.["data"] as { k?: string } | undefined)?.k;
const soon = (what: string, deadlineMs = 10_000) => ({ deadlineMs, what });

/**
 * The same API server, and how often it was asked to list, to watch from a version, or to stream what is there;
 * the first stream is refused with this.
 */
function counted(refusal?: ApiError): {
  client: KubeClient;
  asked: Record<"list" | "watch" | "stream", number>;
} {
  const asked = { list: 0, watch: 0, stream: 0 };
  const counting: Pick<KubeClient, "list" | "watch" | "version"> = {
    list: (...args) => {
      asked.list++;
      return client.list(...args);
    },
    watch: async function* (...args) {
      const which = args[1].resourceVersion === undefined ? "stream" : "watch";
      asked[which]++;
      if (refusal !== undefined && which === "stream" && asked.stream === 1) throw refusal;
      yield* client.watch(...args);
    },
    version: (...args) => client.version(...args),
  };
  return { client: counting as KubeClient, asked };
}

for (const streamed of [false, true]) {
  test(`sees what is there, comes, changes and goes, ${streamed ? "by one request" : "by list and watch"}`, async () => {
    const { client: counting, asked } = counted();
    await write("first", "1");
    await watching({ client: counting, streamed }, async (informer, seen) => {
      assert.equal(value(informer, "first"), "1");
      await write("second", "1");
      await write("first", "2");
      await until(
        () => value(informer, "first") === "2" && value(informer, "second") === "1",
        soon("both changes"),
      );
      const live = await client.get(resources.configMap, { namespace: "default", name: "second" });
      await client.delete(resources.configMap, live as KubeObject);
      await until(() => seen.at(-1) === "-second", soon("the deletion"));
      assert.equal(informer.get("default", "second"), undefined);
    });
    const both = { list: 0, watch: 0, stream: 1 };
    assert.deepEqual(asked, streamed ? both : { list: 1, watch: 1, stream: 0 });
  });
}

test("an API server that cannot stream what is there for now is asked for that again the next time", async () => {
  const busy = new ApiError("watch", "storage is (re)initializing", { status: 429 });
  const { client: counting, asked } = counted(busy);
  await write("later", "1");
  for (const _ of ["refused", "answered"])
    await watching({ client: counting, streamed: true }, async (informer) => {
      assert.equal(value(informer, "later"), "1");
    });
  assert.deepEqual([asked.list, asked.stream], [1, 2]);
});

test("an API server that cannot stream what is there is asked for list and watch, and not for that again", async () => {
  await stop(dir, name);
  const flags = ["--feature-gates=WatchList=false"];
  await relaunchApiServer(dir, tools["kube-apiserver"], { ...serverOptions(), flags });
  try {
    const { client: counting, asked } = counted();
    for (const which of ["old-1", "old-2"])
      await watching({ client: counting, streamed: true }, async (informer) => {
        await write(which, "1");
        await until(() => value(informer, which) === "1", soon("what came later"));
      });
    assert.deepEqual(asked, { list: 2, watch: 2, stream: 1 });
  } finally {
    await stop(dir, name);
    await relaunchApiServer(dir, tools["kube-apiserver"], serverOptions());
  }
});

for (const streamed of [false, true]) {
  test(`U6 410 in the middle of a watch: compacted and restarted, nothing is missed${streamed ? ", by one request" : ""}`, async () => {
    await watching({ streamed }, async (informer) => {
      await write("u6", "1");
      await until(() => value(informer, "u6") === "1", soon("the first value"));
      await stop(dir, name);
      await compact();
      await relaunchApiServer(dir, tools["kube-apiserver"], serverOptions());
      await write("u6", "2");
      await until(() => value(informer, "u6") === "2", soon("the value after the restart", 40_000));
    });
  });
}

/** Has etcd forget what was before. */
async function compact(): Promise<void> {
  const { header } = (await etcd("maintenance/status", {})) as { header: { revision: string } };
  await etcd("kv/compaction", { revision: header.revision, physical: true });
}

test("U7 an API server that is restored to an earlier state: the watch that would wait for its future is not resumed", async () => {
  const copy = join(dir, "etcd-copy");
  const down = async () => {
    await stop(dir, name);
    await stop(dir, "etcd");
  };
  const up = async () => {
    await startEtcd(dir, tools.etcd, ports);
    await relaunchApiServer(dir, tools["kube-apiserver"], serverOptions());
  };
  await write("u7", "old");
  await down();
  await cp(etcdDir(dir, "etcd"), copy, { recursive: true });
  await up();
  await watching({}, async (informer, seen) => {
    for (let i = 0; i < 200; i++) await write("u7", `new ${i}`);
    await write("u7-late", "1");
    await until(() => seen.includes("+u7-late"), soon("the last change"));
    await down();
    await rm(etcdDir(dir, "etcd"), { recursive: true });
    await cp(copy, etcdDir(dir, "etcd"), { recursive: true });
    await up();
    await until(() => value(informer, "u7") === "old", soon("the earlier value", 40_000));
    assert.equal(informer.get("default", "u7-late"), undefined);
  });
});

async function etcd(path: string, body: object): Promise<unknown> {
  const response = await fetch(`http://127.0.0.1:${ports.etcd}/v3/${path}`, {
    method: "POST",
    body: JSON.stringify(body),
  });
  return response.json();
}

test("U8 a peer that falls silent is noticed, and what changed meanwhile is seen", async () => {
  await watching({ idleMs: 1_500 }, async (informer) => {
    await write("u8", "1");
    await until(() => value(informer, "u8") === "1", soon("the first value"));
    await signal(dir, name, "SIGSTOP");
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    await signal(dir, name, "SIGCONT");
    await write("u8", "2");
    await until(() => value(informer, "u8") === "2", soon("the value after the silence", 45_000));
  });
});

test("U9 a handler that throws: the watcher survives, and the event is told again", async () => {
  let throws = 1;
  const onChange = (object: KubeObject) => {
    if (object.metadata.name === "u9" && throws-- > 0) throw new Error("poison");
  };
  await watching({ onChange }, async (informer, seen) => {
    await write("u9", "1");
    await until(() => seen.includes("+u9"), soon("the event to be told again"));
    assert.equal(value(informer, "u9"), "1");
  });
});

test("an object that went during an outage is told as gone", async () => {
  await write("lost", "1");
  await watching({}, async (informer, seen) => {
    await stop(dir, name);
    await relaunchApiServer(dir, tools["kube-apiserver"], serverOptions());
    const live = await client.get(resources.configMap, { namespace: "default", name: "lost" });
    await client.delete(resources.configMap, live as KubeObject);
    await until(() => seen.includes("-lost"), soon("the deletion", 40_000));
    assert.equal(informer.get("default", "lost"), undefined);
  });
});
