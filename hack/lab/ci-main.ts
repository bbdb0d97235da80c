// The lab's CI system as a process: told of a push, it clones the commit and runs its ci/publish.sh.
// It has no key and no kubeconfig, as a CI system should. Its next runs may be made to come late or to fail:
// POST /next, /release, /retry. usage: node ci-main.ts REPOSITORY REGISTRY PORT
import { execFile } from "node:child_process";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { promisify } from "node:util";
import { messageOf } from "../../pkg/errors/index.ts";
import { asList, asMap, asString } from "../../pkg/json/index.ts";
import type { CiMishap, CiRun, CiState } from "./ci.ts";
import { root } from "./paths.ts";

const [, , repository = "", registry = "", port = "0"] = process.argv;
const jobMaxMs = 120_000;
const runs: CiRun[] = [];
/** What happens to the next runs, in order; nothing by default. */
const mishaps: CiMishap[] = [];
let held: { readonly commit: string; readonly release: () => void } | undefined;
let last: Promise<void> = Promise.resolve();

/** The job, in a directory that goes with it. */
async function publish(commit: string): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "capitan-ci-"));
  try {
    const shim = join(dir, "capitan");
    const main = join(root, "cmd", "capitan", "main.ts");
    await writeFile(shim, `#!/bin/sh\nexec ${process.execPath} ${main} "$@"\n`);
    await chmod(shim, 0o755);
    const checkout = join(dir, "checkout");
    const run = async (command: string, args: readonly string[], cwd: string) => {
      const { KUBECONFIG: _, SOPS_AGE_KEY_FILE: __, ...env } = process.env;
      const more = {
        PATH: `${dir}:${env["PATH"] ?? ""}`,
        REGISTRY: registry,
        TAG: "stable",
        REVISION: `main@sha1:${commit}`,
      };
      const options = { cwd, env: { ...env, ...more }, timeout: jobMaxMs };
      const { stdout } = await promisify(execFile)(command, args, options);
      process.stdout.write(stdout);
    };
    await run("git", ["clone", "--quiet", repository, checkout], dir);
    await run("git", ["checkout", "--quiet", commit], checkout);
    await run("sh", ["ci/publish.sh"], checkout);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Waits until it is let go, or throws. */
async function befall(mishap: CiMishap | undefined, commit: string): Promise<void> {
  if (mishap === "fails") throw new Error("the runner was lost");
  if (mishap === "late") {
    console.log(`${commit}: held`);
    await new Promise<void>((release) => (held = { commit, release }));
    held = undefined;
  }
}

async function work(commit: string): Promise<void> {
  const startedMs = performance.now();
  const failed = await befall(mishaps.shift(), commit)
    .then(() => publish(commit))
    .then(
      () => undefined,
      (error: unknown) => messageOf(error),
    );
  const ms = Math.round(performance.now() - startedMs);
  runs.push({ commit, ok: failed === undefined, ms });
  console.log(`${commit}: ${failed ?? "published"} after ${ms} ms`);
}

/** Only main is published; a branch that goes has no commit. */
function told(body: unknown): void {
  const { ref, after } = asMap(body);
  const commit = asString(after) ?? "";
  if (ref === "refs/heads/main" && /^[0-9a-f]{40}$/.test(commit) && !/^0+$/.test(commit))
    last = last.then(() => work(commit));
}

const posts: Readonly<Record<string, (body: unknown) => void>> = {
  "/": told,
  "/next": (body) => {
    mishaps.push(...asList(body).filter((word) => word === "late" || word === "fails"));
  },
  "/release": () => held?.release(),
  /** The newest run that failed, once more. */
  "/retry": () => {
    const commit = runs.findLast(({ ok }) => !ok)?.commit;
    if (commit !== undefined) last = last.then(() => work(commit));
  },
};

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === "POST") posts[request.url ?? ""]?.(await json(request));
  const state: CiState = { runs, held: held?.commit };
  response.end(JSON.stringify(state));
}

createServer((request, response) => {
  serve(request, response).catch(() => response.writeHead(400).end());
}).listen(Number(port), "127.0.0.1");
