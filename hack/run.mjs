// First script of every README command. Plain JavaScript that Node 20 runs: it installs the
// packages when they are missing or older than the lock file, then goes on under Node 24.
// usage: node hack/run.mjs ENTRY.ts [ARGUMENTS...]
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [entry, ...args] = process.argv.slice(2);
const node = join(root, "node_modules", `node-linux-${process.arch}`, "bin", "node");
const stamp = join(root, "node_modules", ".capitan-lock");

installPackages();
const options = ["--disable-warning=ExperimentalWarning", "--max-http-header-size=65536"];
const child = spawn(node, [...options, join(root, entry), ...args], { stdio: "inherit" });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("exit", (code, signal) => (process.exitCode = signal === null ? code : 128));

function installPackages() {
  const lock = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
  if (existsSync(node) && existsSync(stamp) && readFileSync(stamp, "utf8") === lock) return;
  console.error("► installing npm packages and Node 24 (about half a minute)");
  const npm = ["ci", "--loglevel=error", "--no-progress", "--include=dev", "--include=optional"];
  const { status } = spawnSync("npm", npm, { cwd: root, stdio: ["ignore", 2, 2] });
  if (status !== 0) {
    console.error("✗ npm ci failed: see the lines above; this needs npm and its package registry");
    process.exit(1);
  }
  if (!existsSync(node)) {
    console.error(`✗ there is no Node 24 package for ${process.platform}-${process.arch}`);
    process.exit(1);
  }
  writeFileSync(stamp, lock);
}
