import assert from "node:assert/strict";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { after, before, test } from "node:test";
import { until } from "../../../hack/lab/wait.ts";
import { TcpProxy } from "./index.ts";

/** Answers every byte with the same. */
let echo: Server;
const accepted = new Set<Socket>();

before(async () => {
  echo = createServer((socket) => {
    accepted.add(socket);
    socket.on("error", () => undefined).pipe(socket);
  });
  await new Promise<void>((resolve) => void echo.listen(0, "127.0.0.1", resolve));
});
after(() => {
  for (const socket of accepted) socket.destroy();
  echo.close();
});

const target = (server: Server = echo) => ({
  host: "127.0.0.1",
  port: (server.address() as AddressInfo).port,
});

/** A client that remembers all it was told. */
function dial(proxy: TcpProxy) {
  const socket = connect(proxy.port, "127.0.0.1");
  const heard = { bytes: 0, text: "", ended: false, closed: false, error: "" };
  socket.on("data", (data) => {
    heard.bytes += data.length;
    heard.text += data.toString("latin1");
  });
  socket.on("end", () => (heard.ended = true));
  socket.on("close", () => (heard.closed = true));
  socket.on("error", (error: NodeJS.ErrnoException) => (heard.error = error.code ?? ""));
  return { socket, heard };
}

const soon = (what: string, deadlineMs = 5_000) => ({ what, deadlineMs, everyMs: 2 });

/** Runs with a proxy of its own. */
async function withProxy(work: (proxy: TcpProxy) => Promise<void>): Promise<void> {
  const proxy = await TcpProxy.start(target());
  try {
    await work(proxy);
  } finally {
    await proxy.close();
  }
}

test("passes a megabyte both ways, and each side's end", () =>
  withProxy(async (proxy) => {
    const { socket, heard } = dial(proxy);
    socket.end(Buffer.alloc(1 << 20, "x"));
    await until(() => heard.closed, soon("the end"));
    assert.deepEqual([heard.bytes, heard.ended, heard.error], [1 << 20, true, ""]);
    await until(() => proxy.connections === 0, soon("no connection"));
  }));

test("delays every byte, each way, and passes at once again", () =>
  withProxy(async (proxy) => {
    const { socket, heard } = dial(proxy);
    proxy.delay(100);
    const startMs = performance.now();
    socket.write("a");
    await until(() => heard.text === "a", soon("the echo"));
    assert.ok(performance.now() - startMs >= 195);
    proxy.delay(600_000);
    socket.write("b");
    proxy.pass();
    await until(() => heard.text === "ab", soon("the echo without delay"));
  }));

test("a black hole accepts and swallows; what was lost in it is reset when it ends", () =>
  withProxy(async (proxy) => {
    const old = dial(proxy);
    old.socket.write("a");
    await until(() => old.heard.text === "a", soon("an echo"));
    proxy.drop();
    const late = dial(proxy);
    for (const { socket } of [old, late]) socket.write("lost");
    await until(() => proxy.connections === 2, soon("both to be accepted"));
    await assert.rejects(
      until(() => old.heard.text !== "a" || late.heard.text !== "", {
        ...soon("an answer", 150),
      }),
    );
    proxy.pass();
    await until(() => old.heard.closed && late.heard.closed, soon("the resets"));
    assert.deepEqual([old.heard.error, late.heard.error], ["ECONNRESET", "ECONNRESET"]);
    const fresh = dial(proxy);
    fresh.socket.write("b");
    await until(() => fresh.heard.text === "b", soon("an echo again"));
    fresh.socket.destroy();
  }));

test("frozen, nothing moves and no end is told; thawed, nothing is missing", () =>
  withProxy(async (proxy) => {
    const { socket, heard } = dial(proxy);
    socket.write("a");
    await until(() => heard.text === "a", soon("an echo"));
    proxy.freeze();
    socket.end("b");
    await assert.rejects(until(() => heard.text !== "a" || heard.ended, soon("anything", 150)));
    proxy.thaw();
    await until(() => heard.closed, soon("the end"));
    assert.equal(heard.text, "ab");
  }));

test("frozen, a peer that is killed is not noticed until the thaw", () =>
  withProxy(async (proxy) => {
    const { socket, heard } = dial(proxy);
    const others = new Set(accepted);
    socket.write("a");
    await until(() => heard.text === "a", soon("an echo"));
    proxy.freeze();
    for (const peer of accepted) if (!others.has(peer)) peer.resetAndDestroy();
    await assert.rejects(until(() => heard.closed, soon("the reset", 150)));
    proxy.thaw();
    await until(() => heard.closed, soon("the reset"));
    assert.equal(heard.error, "ECONNRESET");
  }));

test("cuts after exactly so many bytes to the client, counted per connection", () =>
  withProxy(async (proxy) => {
    proxy.cutAfter(10);
    for (const size of [10, 30]) {
      const { socket, heard } = dial(proxy);
      socket.write("0123456789".repeat(size / 10));
      await until(() => heard.closed, soon("the cut"));
      assert.equal(heard.error, "ECONNRESET");
      assert.equal(heard.bytes, 10);
    }
    proxy.cutAfter(0);
    const { socket, heard } = dial(proxy);
    socket.write("x");
    await until(() => heard.closed, soon("the cut"));
    assert.deepEqual([heard.bytes, heard.error], [0, "ECONNRESET"]);
  }));

test("throttles to so many bytes a second, a few at a time", () =>
  withProxy(async (proxy) => {
    proxy.throttle(20);
    const { socket, heard } = dial(proxy);
    const startMs = performance.now();
    socket.write("0123456789");
    await until(() => heard.bytes >= 5, soon("half of it"));
    assert.ok(performance.now() - startMs >= 200);
    assert.ok(heard.bytes <= 6);
    proxy.pass();
    await until(() => heard.bytes === 10, soon("the rest"));
    socket.destroy();
  }));

test("resets what is open, retargets what is new, refuses when nobody is there", () =>
  withProxy(async (proxy) => {
    const first = dial(proxy);
    first.socket.write("a");
    await until(() => first.heard.text === "a", soon("an echo"));
    proxy.reset();
    await until(() => first.heard.closed, soon("the reset"));
    assert.equal(first.heard.error, "ECONNRESET");
    const greeter = createServer((socket) => void socket.end("hello"));
    await new Promise<void>((resolve) => void greeter.listen(0, "127.0.0.1", resolve));
    proxy.retarget(target(greeter));
    const second = dial(proxy);
    await until(() => second.heard.text === "hello", soon("the other one"));
    second.socket.destroy();
    await new Promise((resolve) => greeter.close(resolve));
    const third = dial(proxy);
    await until(() => third.heard.closed, soon("the refusal"));
    assert.equal(third.heard.error, "ECONNRESET");
  }));
