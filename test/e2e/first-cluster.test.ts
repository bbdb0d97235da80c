import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { stopLab } from "../../hack/lab/lab.ts";
import { root } from "../../hack/lab/paths.ts";

const deadlineMs = 220_000;
let dir = "";

after(async () => {
  if (dir !== "") await stopLab(dir);
});

/** Runs a script in one shell that stops at the first failure; gives everything that it prints. */
function bash(script: string, env: Readonly<Record<string, string>>): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn("bash", ["-eu", "-o", "pipefail", "-c", script], {
      cwd: root,
      env: { ...process.env, ...env },
      timeout: deadlineMs,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text: string) => (said += text));
    child.once("error", reject);
    child.once("close", (code) =>
      code === 0 ? resolve(said) : reject(new Error(`exit code ${code}:\n${said.slice(-4_000)}`)),
    );
  });
}

test("docs/first-cluster.md, word for word", async () => {
  dir = await mkdtemp(join(tmpdir(), "capitan-first-"));
  const page = await readFile(join(root, "docs", "first-cluster.md"), "utf8");
  const blocks = [...page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block = ""]) => block);
  assert.ok(blocks.length > 10);
  const said = await bash(blocks.join("\n"), { CAPITAN_LAB_DIR: dir });
  for (const expected of [
    /cluster prod-eu-1: commit [0-9a-f]{12} on main/,
    /Ready +True/,
    /ConfigMap.*settings/,
    /^removed\.yaml$/m,
    /the lab is down/,
  ])
    assert.match(said, expected);
});
