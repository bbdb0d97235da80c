import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, test } from "node:test";
import type { Fleet, FleetMember } from "../api/index.ts";
import { fluxEvent, Notifier, type FluxEvent, type NotifierOptions } from "./index.ts";

const at = { instance: "capitan-controller-7d9-x", timestamp: "2026-11-21T10:00:00.000Z" };
const member = {
  apiVersion: "capitan.dev/v1alpha1",
  kind: "FleetMember",
  metadata: {
    namespace: "fleet",
    name: "platform-prod-1",
    uid: "u-1",
    resourceVersion: "42",
    annotations: { "event.toolkit.fluxcd.io/change_request": "7", other: "not copied" },
  },
  spec: {
    fleetRef: { namespace: "fleet", name: "platform" },
    clusterRef: { name: "prod-1" },
    revision: "platform-1234abcd",
    state: "Present",
  },
} as FleetMember;

test("a member's failure is an event of severity error, field by field", () => {
  const note = {
    regarding: member,
    type: "Warning",
    reason: "Unreachable",
    note: "no answer",
  } as const;
  assert.deepEqual(fluxEvent(note, at), {
    involvedObject: {
      apiVersion: "capitan.dev/v1alpha1",
      kind: "FleetMember",
      name: "platform-prod-1",
      namespace: "fleet",
      uid: "u-1",
      resourceVersion: "42",
    },
    severity: "error",
    timestamp: "2026-11-21T10:00:00.000Z",
    message: "no answer",
    reason: "Unreachable",
    metadata: {
      "capitan.dev/revision": "platform-1234abcd",
      "capitan.dev/fleet": "platform",
      "capitan.dev/cluster": "prod-1",
      "event.toolkit.fluxcd.io/change_request": "7",
    },
    reportingController: "capitan-controller",
    reportingInstance: "capitan-controller-7d9-x",
  });
});

test("a Fleet's success is an event of severity info with the revision that it resolved to", () => {
  const fleet = {
    kind: "Fleet",
    metadata: { namespace: "fleet", name: "platform" },
    status: { observedGeneration: 1, updateRevision: "platform-1234abcd" },
  } as Fleet;
  const note = {
    regarding: fleet,
    type: "Normal",
    reason: "ReconciliationSucceeded",
    note: "x".repeat(50_000),
  } as const;
  const event = fluxEvent(note, at);
  assert.equal(event.severity, "info");
  assert.deepEqual(event.metadata, { "capitan.dev/revision": "platform-1234abcd" });
  assert.ok(event.message.length < 39_000);
});

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** A receiver that answers with these statuses, the last one again and again; 0 never answers. */
async function receiver(statuses: readonly number[]) {
  const got: string[] = [];
  let calls = 0;
  const server = createServer((request, response) => {
    const status = statuses[Math.min(calls++, statuses.length - 1)] ?? 202;
    let text = "";
    request.on("data", (chunk: Buffer) => (text += chunk.toString()));
    request.on("end", () => {
      got.push((JSON.parse(text) as FluxEvent).message);
      if (status > 0) response.writeHead(status).end();
    });
  });
  servers.push(server.listen(0, "127.0.0.1"));
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  return { got, address: `http://127.0.0.1:${port}/` };
}

function notifier(address: string, more: Partial<NotifierOptions> = {}) {
  const outcomes: string[] = [];
  const problems: string[] = [];
  const sender = new Notifier({
    address,
    done: (outcome) => outcomes.push(outcome),
    failed: (message) => problems.push(message),
    monotonicMs: () => performance.now(),
    ...more,
  });
  const send = (message: string) =>
    sender.send({
      ...fluxEvent({ regarding: member, type: "Normal", reason: "x", note: "" }, at),
      message,
    });
  return { sender, send, outcomes, problems };
}

test("events arrive in order; a receiver that is not there for a moment is tried again", async () => {
  const { got, address } = await receiver([503, 500, 202]);
  const { sender, send, outcomes } = notifier(address);
  for (const message of ["one", "two", "three"]) send(message);
  await sender.drained(10_000);
  assert.deepEqual(got, ["one", "one", "one", "two", "three"]);
  assert.deepEqual(outcomes, ["sent", "sent", "sent"]);
});

test("429 says that it was told already: it is not tried again, nor is what is refused", async () => {
  const { got, address } = await receiver([429, 413, 202]);
  const { sender, send, outcomes } = notifier(address);
  for (const message of ["one", "two", "three"]) send(message);
  await sender.drained(10_000);
  assert.deepEqual(got, ["one", "two", "three"]);
  assert.deepEqual(outcomes, ["refused", "refused", "sent"]);
});

test("a receiver that never answers blocks nobody: the queue is bounded, each event has a deadline, the address stays secret", async () => {
  const { address } = await receiver([0]);
  const token = `${address}hook/s3cr3t`;
  const { sender, send, outcomes, problems } = notifier(token, { deadlineMs: 400, waitingMax: 3 });
  const startedMs = performance.now();
  for (let n = 0; n < 10; n++) send(`event ${n}`);
  assert.ok(performance.now() - startedMs < 200);
  // One is under way, three wait.
  assert.deepEqual(
    outcomes,
    Array.from({ length: 6 }, () => "dropped"),
  );
  await sender.drained(10_000);
  assert.deepEqual(outcomes.slice(6), ["failed", "failed", "failed", "failed"]);
  assert.equal(problems.length, 4);
  assert.ok(!problems.join().includes("s3cr3t"));
});

test("nobody listens: given up at the deadline, with a reason", async () => {
  const { sender, send, outcomes, problems } = notifier("http://127.0.0.1:9/", { deadlineMs: 700 });
  send("one");
  await sender.drained(5_000);
  assert.deepEqual(outcomes, ["failed"]);
  assert.match(problems[0] ?? "", /given up after \d tries: .*ECONNREFUSED/);
});
