// Loaded into every process of a test file before it. When all of its tests have ended and something that
// they left open keeps the process alive, it says what, and ends it. Node's own --test-force-exit does not
// wait until the results have been told: of 1,646 unit tests up to 131 were missing from a report.
import { after } from "node:test";
import { isMainThread } from "node:worker_threads";

/** Hooks that run after the tests may take as long. */
const graceMs = 60_000;

if (isMainThread && process.env["NODE_TEST_CONTEXT"] === "child-v8") {
  after(() => {
    // Nobody waits for it: it only runs when something else keeps the process.
    setTimeout(() => {
      const open = process.getActiveResourcesInfo().join(", ");
      console.error(`⚠ ${process.argv[1] ?? ""}: its tests have ended, but left open: ${open}`);
      process.exit();
    }, graceMs).unref();
  });
}
