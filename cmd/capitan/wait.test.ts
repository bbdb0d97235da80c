import assert from "node:assert/strict";
import { test } from "node:test";
import { waitFor } from "./wait.ts";

const never = () => Promise.resolve({ waitsFor: "rain" });

test("what is done is not waited for; a time that is over says what was missing", async () => {
  assert.equal(await waitFor("it", "1h", () => Promise.resolve({ done: 7 })), 7);
  const late = { code: "HealthTimeout", message: "waited 300ms for it: rain" };
  await assert.rejects(waitFor("it", "300ms", never), late);
});

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const) {
  test(`${signal} ends the waiting, also in the middle of a look, with exit code ${code}`, async (t) => {
    // Here the process is that of the tests.
    const exitCode = process.exitCode;
    t.after(() => (process.exitCode = exitCode));
    const waiting = waitFor("it", "1h", () => new Promise(() => undefined));
    process.kill(process.pid, signal);
    const message = "no longer waiting for it; what was asked for goes on";
    await assert.rejects(waiting, { message });
    assert.equal(process.exitCode, code);
    assert.equal(process.listenerCount(signal), 0);
  });
}

test("who has heard of an interruption decides what it means: the next look is made at once", async (t) => {
  // No time passes here.
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const heard = new AbortController();
  const looks: boolean[] = [];
  const look = () => {
    looks.push(heard.signal.aborted);
    if (heard.signal.aborted) throw new Error("taken back");
    setImmediate(() => heard.abort());
    return never();
  };
  await assert.rejects(waitFor("it", "1h", look, heard.signal), { message: "taken back" });
  assert.deepEqual(looks, [false, true]);
});
