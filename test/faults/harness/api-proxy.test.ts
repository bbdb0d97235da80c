// The mechanics of the proxy, against a small server of our own.
import assert from "node:assert/strict";
import {
  connect,
  createSecureServer,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type Http2SecureServer,
} from "node:http2";
import { request as request1 } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { after, before, test } from "node:test";
import { kubeconfigOf, newAuthority } from "../../../hack/lab/pki.ts";
import { until } from "../../../hack/lab/wait.ts";
import { ApiProxy, type RequestFacts } from "./index.ts";

/** Answers with what it was asked; a watch says "ready" and stays open. */
let origin: Http2SecureServer;
let originConfig: string;
const sockets = new Set<Socket>();
const asked: string[] = [];
const watchers = new Set<{ write: (text: string) => unknown; end: () => unknown }>();

before(async () => {
  const ca = await newAuthority("origin-ca");
  const serving = await ca.issue({ subject: "CN=origin", use: "server", hosts: ["127.0.0.1"] });
  origin = createSecureServer({ ...serving, allowHTTP1: true });
  origin.on("connection", (socket: Socket) => {
    sockets.add(socket.on("error", () => undefined));
  });
  origin.on("request", (request, response) => {
    const { method, url, headers } = request;
    asked.push(`${method} ${url}`);
    response.setHeader("content-type", "application/json");
    if (url.includes("watch=true")) {
      const watcher = response as unknown as { write: (t: string) => unknown; end: () => unknown };
      watchers.add(watcher);
      response.on("close", () => watchers.delete(watcher));
      watcher.write(line("ready"));
      return;
    }
    let body = "";
    request.on("data", (data: Buffer) => (body += data.toString()));
    request.on("end", () =>
      response.end(JSON.stringify({ method, url, body, authorization: headers.authorization })),
    );
  });
  await new Promise<void>((resolve) => void origin.listen(0, "127.0.0.1", resolve));
  const { port } = origin.address() as AddressInfo;
  originConfig = kubeconfigOf(`https://127.0.0.1:${port}`, ca.cert, { token: "admin-token" });
});
after(() => {
  for (const socket of sockets) socket.destroy();
  origin.close();
});

const line = (name: string) =>
  `${JSON.stringify({ type: "ADDED", object: { metadata: { name } } })}\n`;
const soon = (what: string, deadlineMs = 5_000) => ({ what, deadlineMs, everyMs: 2 });

type Heard = {
  status: number;
  text: string;
  code: number | undefined;
  error: string;
  over: boolean;
};

/** One HTTP/2 connection to a proxy. */
class Client {
  readonly session: ClientHttp2Session;

  constructor(proxy: ApiProxy) {
    this.session = connect(proxy.url, { ca: proxy.ca });
    this.session.on("error", () => undefined);
  }

  open(
    method: string,
    path: string,
    body = "",
    headers = {},
  ): Heard & { stream: ClientHttp2Stream } {
    const head = { ":method": method, ":path": path, ...headers };
    const stream = this.session.request(head, { endStream: body === "" });
    const heard = {
      stream,
      status: 0,
      text: "",
      code: undefined,
      error: "",
      over: false,
    } as Heard & {
      stream: ClientHttp2Stream;
    };
    stream.on("response", (head) => (heard.status = head[":status"] ?? 0));
    stream.on("data", (data: Buffer) => (heard.text += data.toString()));
    stream.on("error", (error: NodeJS.ErrnoException) => (heard.error = error.code ?? ""));
    stream.on("close", () => {
      heard.code = stream.rstCode;
      heard.over = true;
    });
    if (body !== "") stream.end(body);
    return heard;
  }

  async ask(method: string, path: string, body = "", headers = {}): Promise<Heard> {
    const heard = this.open(method, path, body, headers);
    await until(() => heard.over, soon(`${method} ${path} to end`));
    return heard;
  }
}

/** Runs with a proxy and a client of its own. */
async function withProxy(
  work: (proxy: ApiProxy, client: Client) => Promise<void>,
  more: { requireToken?: string; ignore?: (request: RequestFacts) => boolean } = {},
): Promise<void> {
  const proxy = await ApiProxy.start({ kubeconfig: originConfig, ...more });
  const client = new Client(proxy);
  try {
    await work(proxy, client);
  } finally {
    client.session.destroy();
    await proxy.close();
    watchers.clear();
    asked.length = 0;
  }
}

const said = (heard: Heard) => JSON.parse(heard.text) as Record<string, string | undefined>;

test("forwards method, path, query and body over HTTP/2, as admin, and logs it", () =>
  withProxy(async (proxy, client) => {
    const heard = await client.ask("PATCH", "/apis/x?force=true", "the body");
    assert.equal(heard.status, 200);
    assert.deepEqual(said(heard), {
      method: "PATCH",
      url: "/apis/x?force=true",
      body: "the body",
      authorization: "Bearer admin-token",
    });
    const { userAgent: _, ...logged } = { ...proxy.requests[0] };
    assert.deepEqual(logged, {
      method: "PATCH",
      path: "/apis/x",
      query: "force=true",
      watch: false,
      status: 200,
      upstreamStatus: 200,
      failure: undefined,
    });
    assert.equal(proxy.writes, 1);
  }));

test("speaks HTTP/1.1 to those who want it, and closes their connection as a reset", () =>
  withProxy(async (proxy) => {
    const ask = (path: string) =>
      new Promise<string>((resolve, reject) => {
        request1(`${proxy.url}${path}`, { ca: proxy.ca, agent: false }, (reply) => {
          reply.toArray().then((parts) => resolve(parts.join("")), reject);
        })
          .on("error", reject)
          .end();
      });
    assert.match(await ask("/version"), /"url":"\/version"/);
    proxy.on({ path: /cut/ }).cutBefore();
    await assert.rejects(ask("/cut"), { code: "ECONNRESET" });
    assert.match(await ask("/version"), /"url":"\/version"/);
  }));

test("forwards another's token; with a required token only that one is let in, as admin", () =>
  withProxy(async (proxy, client) => {
    const bearer = (token: string) =>
      client.ask("GET", "/a", "", { authorization: `Bearer ${token}` });
    assert.equal(said(await bearer("theirs"))["authorization"], "Bearer theirs");
    proxy.requireToken("new");
    assert.equal((await bearer("theirs")).status, 401);
    assert.equal((await client.ask("GET", "/a")).status, 401);
    assert.equal(said(await bearer("new"))["authorization"], "Bearer admin-token");
    assert.match(proxy.kubeconfig(), /"token":"new"/);
    assert.equal(asked.length, 2);
  }));

test("a status rule answers by itself, for the n-th request, so many times, one rule after another", () =>
  withProxy(async (proxy, client) => {
    const second = proxy.on({ method: "PATCH", path: /x$/g, n: 2 }).status(409);
    proxy.on({ method: "GET", times: 1 }).status(429, { headers: { "retry-after": "7" } });
    proxy.on({ method: "GET", times: 1 }).status(403, {
      message: "no",
      causes: [{ reason: "NamespaceTerminating" }],
    });
    const codes: number[] = [];
    for (const method of ["PATCH", "PATCH", "PATCH", "GET", "GET", "GET"])
      codes.push((await client.ask(method, "/x")).status);
    assert.deepEqual(codes, [200, 409, 200, 429, 403, 200]);
    assert.deepEqual([second.hits, proxy.writes, asked.length], [1, 2, 3]);
    proxy.on().status(422, { causes: [{ reason: "FieldValueInvalid" }] });
    assert.deepEqual(JSON.parse((await client.ask("GET", "/")).text), {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message: "injected HTTP 422",
      reason: "Invalid",
      details: { causes: [{ reason: "FieldValueInvalid" }] },
      code: 422,
    });
    proxy.clear();
    assert.equal((await client.ask("GET", "/")).status, 200);
  }));

test("a lost reply was done, a cut request was not; both are a reset stream on a good connection", () =>
  withProxy(async (proxy, client) => {
    proxy.on({ path: /lost/ }).loseReply();
    proxy.on({ path: /cut/ }).cutBefore();
    for (const path of ["/lost", "/cut"]) {
      const heard = await client.ask("POST", path, "b");
      assert.deepEqual([heard.status, heard.error], [0, "ERR_HTTP2_STREAM_ERROR"]);
    }
    assert.deepEqual(asked, ["POST /lost"]);
    assert.deepEqual(
      proxy.requests.map(({ status, upstreamStatus }) => [status, upstreamStatus]),
      [
        [0, 200],
        [0, undefined],
      ],
    );
    assert.equal((await client.ask("GET", "/")).status, 200);
    assert.equal(proxy.writes, 1);
  }));

test("holds until released, forgets or not who gave up, delays, rewrites a body", () =>
  withProxy(async (proxy, client) => {
    const hold = proxy.on({ path: /held/ }).hold();
    const held = client.open("GET", "/held");
    const impatient = client.open("PUT", "/held-too");
    await until(() => hold.waiting === 2, soon("both to wait"));
    impatient.stream.close(8);
    await until(() => hold.waiting === 1, soon("one to give up"));
    hold.release();
    await until(() => held.over, soon("the other"));
    assert.deepEqual([held.status, asked], [200, ["GET /held"]]);

    const late = proxy.on({ path: /late/ }).hold({ late: true });
    const left = client.open("PUT", "/late");
    await until(() => late.waiting === 1, soon("it to wait"));
    left.stream.close(8);
    await until(() => left.over, soon("it to give up"));
    late.release();
    await until(() => asked.includes("PUT /late"), soon("the late write"));

    proxy.on({ path: /slow/ }).delay(100);
    proxy.on({ path: /slow/ }).body((body, status) => `${status} ${body.length > 0}`);
    const startMs = performance.now();
    assert.equal((await client.ask("GET", "/slow")).text, "200 true");
    assert.ok(performance.now() - startMs >= 99);
  }));

test("events go through at once, line by line; rules hide, repeat, change and reorder them", () =>
  withProxy(async (proxy, client) => {
    const heard = client.open("GET", "/w?watch=true");
    await until(() => heard.text === line("ready"), soon("the first event"));
    const [watcher] = watchers;
    watcher?.write(line("half").slice(0, 10));
    watcher?.write(line("half").slice(10) + line("whole"));
    const three = line("ready") + line("half") + line("whole");
    await until(() => heard.text === three, soon("three events"));

    const held: { type: string; object: object }[] = [];
    const rule = proxy.on({ path: /w$/ }).event((event) => {
      const text = JSON.stringify(event.object);
      if (text.includes("hide")) return undefined;
      if (text.includes("twice")) return [event, event];
      if (text.includes("change")) return { ...event, type: "DELETED" };
      if (text.includes("first")) return void held.push(event);
      return event;
    });
    heard.text = "";
    for (const name of ["hide", "twice", "change", "first", "second"]) watcher?.write(line(name));
    const want = line("twice") + line("twice") + line("change").replace("ADDED", "DELETED");
    await until(() => heard.text === want + line("second"), soon("the rewritten events"));
    rule.send({ type: "ADDED", object: { metadata: { name: "first" } } });
    rule.remove();
    watcher?.write(line("hide"));
    await until(() => heard.text.endsWith(line("first") + line("hide")), soon("the rest"));
    assert.deepEqual([held.length, rule.hits], [1, 1]);
  }));

test("a poisoned line reaches an open watch at once, or the next one first; big integers survive a rule", () =>
  withProxy(async (proxy, client) => {
    const open = client.open("GET", "/w?watch=true");
    await until(() => open.text !== "", soon("the first event"));
    proxy.on().poison("{broken");
    await until(() => open.text === `${line("ready")}{broken\n`, soon("the poison"));
    proxy.on({ path: /next/ }).poison("not json");
    proxy.on({ path: /next/ }).event((event) => event);
    const next = client.open("GET", "/next?watch=true");
    await until(() => next.text === `not json\n${line("ready")}`, soon("poison, then events"));
    const big = '{"type":"ADDED","object":{"n":9223372036854775807}}\n';
    for (const watcher of watchers) watcher.write(big);
    await until(() => next.text.endsWith(big), soon("the big number"));
  }));

test("what a rule's function throws ends the watch and is thrown by close", async () => {
  const proxy = await ApiProxy.start({ kubeconfig: originConfig });
  const client = new Client(proxy);
  proxy.on().event(() => assert.fail("seen"));
  const heard = await client.ask("GET", "/w?watch=true");
  assert.equal(heard.error, "ERR_HTTP2_STREAM_ERROR");
  client.session.destroy();
  await assert.rejects(proxy.close(), /a rule has thrown: .*seen/);
});

test("a hundred watches cut on one connection, and as many given up, leave it usable", () =>
  withProxy(async (proxy, client) => {
    for (let round = 0; round < 5; round++) {
      const open = Array.from({ length: 20 }, (_, i) => client.open("GET", `/w${i}?watch=true`));
      await until(() => open.every(({ text }) => text !== ""), soon("all to be open"));
      assert.equal(proxy.watches, 20);
      assert.equal(proxy.cutWatches(), 20);
      await until(() => open.every(({ over }) => over), soon("all to be cut"));
      assert.ok(open.every(({ error }) => error === "ERR_HTTP2_STREAM_ERROR"));
      const again = Array.from({ length: 20 }, (_, i) => client.open("GET", `/w${i}?watch=true`));
      await until(() => again.every(({ text }) => text !== ""), soon("all to be open again"));
      for (const { stream } of again) stream.close(8);
      await until(() => proxy.watches === 0, soon("all to be given up"));
    }
    assert.equal((await client.ask("GET", "/")).status, 200);
    await until(() => watchers.size === 0, soon("the origin to know"));
    const last = client.open("GET", "/w?watch=true");
    await until(() => last.text !== "", soon("a watch"));
    proxy.cutWatches("orderly");
    await until(() => last.over, soon("its end"));
    assert.deepEqual([last.error, last.code], ["", 0]);
  }));

for (const loseLastReply of [false, true]) {
  test(`cuts after exactly n writes, the last reply ${loseLastReply ? "lost" : "delivered"}`, () =>
    withProxy(
      async (proxy, client) => {
        const watch = client.open("GET", "/w?watch=true");
        await until(() => watch.text !== "", soon("a watch"));
        const cut = proxy.cutAfterWrites(3, {
          loseLastReply,
          except: ({ path }) => path === "/lease",
        });
        const burst = Array.from({ length: 8 }, (_, i) => client.open("PATCH", `/p${i}`));
        burst.push(client.open("PUT", "/lease"), client.open("PATCH", "/ignored"));
        await cut;
        await until(() => watch.over && burst.every(({ over }) => over), soon("all to end"));
        const answered = burst.filter(({ status }) => status === 200).length;
        const done = asked.filter((what) => what.startsWith("PATCH /p"));
        assert.equal(done.length, 3);
        assert.ok(answered >= (loseLastReply ? 2 : 3));
        assert.equal(
          burst.filter(({ status }, i) => i < 8 && status === 200).length,
          loseLastReply ? 2 : 3,
        );
        assert.equal(proxy.isCut, true);
        const refused = new Client(proxy);
        await until(() => refused.session.destroyed, soon("the refusal"));
        proxy.restore();
        const back = new Client(proxy);
        assert.equal((await back.ask("PATCH", "/after")).status, 200);
        back.session.destroy();
      },
      { ignore: ({ path }) => path === "/ignored" },
    ));
}

test("a cut after no write is a cut at once; it can be called off; two at a time cannot be", () =>
  withProxy(async (proxy, client) => {
    void proxy.cutAfterWrites(1);
    await assert.rejects(proxy.cutAfterWrites(2), /restore first/);
    proxy.restore();
    assert.equal((await client.ask("PATCH", "/a")).status, 200);
    assert.equal((await client.ask("PATCH", "/b")).status, 200);
    await proxy.cutAfterWrites(0);
    await until(() => client.session.destroyed, soon("the connection to end"));
  }));

test("an API server that is gone is a reset stream; another can take its place; watches stay", () =>
  withProxy(async (proxy, client) => {
    const watch = client.open("GET", "/w?watch=true");
    await until(() => watch.text === line("ready"), soon("a watch"));
    proxy.retarget(kubeconfigOf("https://127.0.0.1:1", proxy.ca, { token: "x" }));
    const heard = await client.ask("GET", "/");
    assert.deepEqual([heard.status, heard.error], [0, "ERR_HTTP2_STREAM_ERROR"]);
    assert.match(proxy.requests.at(-1)?.failure ?? "", /ECONNREFUSED/);
    for (const watcher of watchers) watcher.write(line("more"));
    await until(() => watch.text.endsWith(line("more")), soon("another event"));
    proxy.retarget(originConfig);
    assert.equal((await client.ask("GET", "/")).status, 200);
  }));
