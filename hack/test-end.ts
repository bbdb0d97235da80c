// Loaded into the process of every test file before it, so that none is waited for without end.
// When its tests have ended and something that they left open keeps it alive, it says what, and ends.
// (Node's own --test-force-exit does not wait until the results have been told: of 1,646 unit tests up
// to 131 were missing from a report.) When it cannot do that itself, because JavaScript does not run any
// more or the process hangs in its own end, a second process kills it: the file has failed then.
import { spawn } from "node:child_process";
import { Socket } from "node:net";
import { after } from "node:test";
import { isMainThread } from "node:worker_threads";

/** A file may take this long in all; every test in it has a shorter deadline of its own. */
const secondsOf = (name: string) => (name.includes("/test/heavy/") ? 7_200 : 1_500);
/** Hooks that run after the tests may take as long. */
const graceMs = 60_000;
/** From the end of the tests to the end of the process. */
const endSeconds = 120;

/**
 * Waits for a line (the tests have ended), then for the end of its input, which a process closes when it ends,
 * and then until it is gone: one has been seen to go round in its own end, everything closed.
 */
const watching = `
born=$(cut -d " " -f 22 /proc/"$3"/stat)
is_there() { [ "$(cut -d " " -f 22 /proc/"$3"/stat 2>/dev/null)" = "$born" ]; }
read -r -t "$1" && read -r -t "$2"
if [ $? -le 128 ]; then
  for ((i = 0; i < "$2"; i++)); do is_there "$@" || exit 0; sleep 1; done
fi
is_there "$@" || exit 0
threads=$(cut -d " " -f 2,3,14 /proc/"$3"/task/*/stat | tr "\\n" ";")
echo "✖ $4 does not end: killed. Its threads, their states and ticks: $threads" >&2
kill -KILL "$3"`;

function watched(name: string): { testsEnded(): void } {
  const args = [secondsOf(name), endSeconds, process.pid].map(String);
  const watcher = spawn("bash", ["-c", watching, "test-end", ...args, name], {
    stdio: ["pipe", "ignore", "inherit"],
  });
  watcher.unref();
  if (watcher.stdin instanceof Socket) watcher.stdin.unref();
  return { testsEnded: () => void watcher.stdin.write("\n") };
}

if (isMainThread && process.env["NODE_TEST_CONTEXT"] === "child-v8") {
  const name = process.argv[1] ?? "";
  const watcher = watched(name);
  after(() => {
    watcher.testsEnded();
    // It ends without taking itself apart: there Node waits for requests that a frozen peer may never end.
    process.on("exit", (code) => process.exit(code));
    // Nobody waits for it: it only runs when something else keeps the process.
    setTimeout(() => {
      const open = process.getActiveResourcesInfo().join(", ");
      console.error(`⚠ ${name}: its tests have ended, but left open: ${open}`);
      process.exit();
    }, graceMs).unref();
  });
}
