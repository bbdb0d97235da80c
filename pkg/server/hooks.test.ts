import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { after, test } from "node:test";
import { serveHooks, type Answer, type Reader } from "./index.ts";

const stopping = new AbortController();
after(() => stopping.abort());

const bytesMax = 64 * 1024;
const deadlineMs = 400;

/** A server that takes 64 KiB at /in, fails at /fails, and answers by the head elsewhere. */
async function started() {
  const seen = { bytes: 0, ends: 0, answered: [] as number[] };
  const open = ({ path }: { path: string }): Answer | Reader => {
    if (path === "/throws") throw new Error("in the head");
    if (path !== "/in" && path !== "/fails") return { status: 404, text: "nobody" };
    return {
      take: (piece) => {
        seen.bytes += piece.length;
        return seen.bytes <= bytesMax;
      },
      end: () => {
        seen.ends++;
        if (path === "/fails") throw new Error("in the end");
        return { status: 200, text: `took ${seen.bytes}` };
      },
    };
  };
  const answered = (status: number) => seen.answered.push(status);
  const hooks = { address: "127.0.0.1:0", open, answered, deadlineMs };
  return { seen, port: await serveHooks(hooks, stopping.signal) };
}

/** What the server says on a connection until it closes it; `speak` writes. */
function conversation(port: number, speak: (socket: Socket) => void): Promise<string> {
  return new Promise((resolve) => {
    let said = "";
    const socket = connect({ port, host: "127.0.0.1" }, () => speak(socket));
    socket.setEncoding("utf8").on("data", (text: string) => (said += text));
    // Whoever goes on sending is cut off; what was said before counts.
    socket.on("error", () => undefined);
    socket.once("close", () => resolve(said));
  });
}

const head = (path: string, ...more: readonly string[]) =>
  [`POST ${path} HTTP/1.1`, "host: x", ...more, "", ""].join("\r\n");

/** Writes for ever, as fast as it is taken. */
function pour(socket: Socket): void {
  const chunk = `10000\r\n${"x".repeat(65_536)}\r\n`;
  const more = () => {
    while (!socket.destroyed && socket.write(chunk));
  };
  socket.on("drain", more);
  more();
}

test("a delivery is taken whole, and a connection serves more than one", async () => {
  const { port, seen } = await started();
  const url = `http://127.0.0.1:${port}/in`;
  const replies = [];
  for (const body of ["abc", "de"]) {
    const reply = await fetch(url, { method: "POST", body });
    replies.push(reply.status, await reply.text());
  }
  assert.deepEqual(replies, [200, "took 3\n", 200, "took 5\n"]);
  assert.deepEqual(seen.answered, [200, 200]);
});

test("W1 a body without end is answered 413 and cut off; nobody's body is read who is not expected", async () => {
  const { port, seen } = await started();
  const chunked = "transfer-encoding: chunked";
  const endless = await conversation(port, (socket) => {
    socket.write(head("/in", chunked));
    pour(socket);
  });
  assert.match(endless, /^HTTP\/1.1 413 /);
  assert.ok(seen.bytes <= bytesMax + 65_536, String(seen.bytes));
  const unexpected = await conversation(port, (socket) => {
    socket.write(head("/elsewhere", chunked));
    pour(socket);
  });
  assert.match(unexpected, /^HTTP\/1.1 404 /);
  const announced = await conversation(port, (socket) => {
    socket.write(head("/elsewhere", "content-length: 1073741824", "expect: 100-continue"));
  });
  assert.match(announced, /^HTTP\/1.1 404 /);
  assert.ok(seen.bytes <= bytesMax + 65_536, "no byte of theirs was read");
  assert.deepEqual(seen.answered, [413, 404, 404]);
  assert.equal(seen.ends, 0);
});

test("W1 a slow body is answered 408, a slow head too, and others are served meanwhile", async () => {
  const { port, seen } = await started();
  const startedMs = performance.now();
  const slow = conversation(port, (socket) => {
    socket.write(head("/in", "content-length: 10"));
    const drip = setInterval(() => socket.write("x"), 100);
    socket.once("close", () => clearInterval(drip));
  });
  const fast = await fetch(`http://127.0.0.1:${port}/in`, { method: "POST", body: "x" });
  assert.equal(fast.status, 200);
  assert.match(await slow, /^HTTP\/1.1 408 /);
  assert.ok(performance.now() - startedMs < 10 * deadlineMs);
  assert.deepEqual(seen.answered, [200, 408]);
  const slowHead = await conversation(port, (socket) => socket.write("POST /in HTTP/1.1\r\n"));
  assert.match(slowHead, /^HTTP\/1.1 408 /);
});

test("W1 what was answered 413 or 408 is never taken for whole, though its end comes", async () => {
  const { port, seen } = await started();
  const long = await fetch(`http://127.0.0.1:${port}/in`, {
    method: "POST",
    body: "x".repeat(200_000),
  });
  assert.equal(long.status, 413);
  seen.bytes = 0;
  const late = conversation(port, (socket) => {
    socket.write(head("/in", "content-length: 2"));
    socket.write("x");
    socket.once("data", () => socket.end("y"));
  });
  assert.match(await late, /^HTTP\/1.1 408 /);
  assert.deepEqual(seen.answered, [413, 408]);
  assert.equal(seen.ends, 0);
});

test("a failure of ours is 500, and a connection that breaks off harms nobody", async () => {
  const { port, seen } = await started();
  for (const path of ["/fails", "/throws"]) {
    const reply = await fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", body: "x" });
    assert.equal(reply.status, 500);
  }
  await conversation(port, (socket) => {
    socket.write(head("/in", "content-length: 10"));
    socket.destroy();
  });
  const reply = await fetch(`http://127.0.0.1:${port}/in`, { method: "POST", body: "x" });
  assert.equal(reply.status, 200);
  assert.deepEqual(seen.answered, [500, 500, 200]);
});

test("W1 garbage in place of HTTP, and heads without end, are answered and closed", async () => {
  const { port } = await started();
  assert.match(await conversation(port, (s) => s.write("\x16\x03\x01 hello\r\n\r\n")), / 400 /);
  const long = await conversation(port, (s) => s.write(head("/in", `x: ${"y".repeat(100_000)}`)));
  assert.match(long, / 431 /);
});
