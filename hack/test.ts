// All tests: checks, unit tests, then tests against real components in one laboratory.
// usage: npm test [-- FILE...]   With files, only those.
// usage: npm run test:all        Also test/heavy: what takes too long, or builds too much, for every day.
import { spawn } from "node:child_process";
import { glob, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { messageOf } from "../pkg/errors/index.ts";
import { startController } from "./lab/controller.ts";
import { startLab, stopLab } from "./lab/lab.ts";
import { root } from "./lab/paths.ts";
import { progress } from "./lab/progress.ts";
import { ensureTool, ensureTools } from "./lab/tools.ts";

/** A single test may take this long; every wait inside has a shorter deadline of its own. */
const testTimeoutMs = 240_000;
/** How somebody ends a run by hand. */
const endings = ["SIGINT", "SIGTERM"] as const;

function run(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: root,
      stdio: "inherit",
      env: { ...process.env, ...env },
    });
    const pass = (signal: NodeJS.Signals) => child.kill(signal);
    for (const signal of endings) process.on(signal, pass);
    child.once("error", reject);
    child.once("close", (code) => {
      for (const signal of endings) process.off(signal, pass);
      resolve(code ?? 1);
    });
  });
}

async function filesOf(pattern: string): Promise<readonly string[]> {
  return (await Array.fromAsync(glob(pattern, { cwd: root }))).sort();
}

function nodeTest(files: readonly string[], concurrency: number, env = {}): Promise<number> {
  const args = [
    // A worker of V8 can keep a process from ending for ever (nodejs/node#54918): without workers none does.
    "--single-threaded",
    "--import",
    pathToFileURL(join(root, "hack", "test-end.ts")).href,
    "--test",
    `--test-concurrency=${concurrency}`,
    `--test-timeout=${testTimeoutMs}`,
    "--test-reporter=spec",
    "--disable-warning=ExperimentalWarning",
  ];
  return run(process.execPath, [...args, ...files], env);
}

/** Runs `files` with one management cluster that they share. */
function inLaboratory(files: readonly string[]): Promise<number> {
  return withLabDir(async (dir, env) => {
    const lab = await startLab({ dir, progress, audit: true });
    await startController(lab);
    const code = await nodeTest(files, 2, { ...env, CAPITAN_TEST_LAB: dir });
    if (code !== 0) await showLog(dir, "controller");
    return code;
  });
}

/** Runs heavy `files` one after the other; each starts its own laboratory in the directory that it is given. */
function oneByOne(files: readonly string[]): Promise<number> {
  return withLabDir((dir, env) => nodeTest(files, 1, { ...env, CAPITAN_HEAVY_LAB: dir }));
}

/**
 * Gives work a directory for a laboratory, and for the temporary files of its tests one beside it.
 * Whatever happens it ends what runs there: tests start laboratories of their own, too.
 */
async function withLabDir(
  work: (dir: string, env: Readonly<Record<string, string>>) => Promise<number>,
): Promise<number> {
  const base = await mkdtemp(join(tmpdir(), "capitan-test-"));
  const tmp = join(base, "tmp");
  await mkdir(tmp);
  const end = async () => {
    // One that has claimed its ports, or started a process.
    const signs = await Array.fromAsync(
      glob("{lab,tmp/*,tmp/*/lab}/{lab.json,pid}", { cwd: base }),
    );
    for (const lab of new Set(signs.map(dirname))) await stopLab(join(base, lab));
    await rm(base, { recursive: true, force: true });
  };
  // Whoever ends a run by hand must not be left with fifty processes.
  for (const signal of endings)
    process.once(signal, () => void end().finally(() => process.exit(130)));
  try {
    return await work(join(base, "lab"), { TMPDIR: tmp });
  } finally {
    await end();
  }
}

/** The end of a log of the laboratory, for whoever looks at a failed run. */
async function showLog(dir: string, name: string): Promise<void> {
  const text = await readFile(join(dir, "log", `${name}.log`), "utf8").catch(() => "");
  console.error(`last lines of ${name}.log:\n${text.split("\n").slice(-40).join("\n")}`);
}

async function main(args: readonly string[]): Promise<number> {
  const all = args.includes("--all");
  const chosen = args.filter((arg) => arg !== "--all");
  await ensureTools(progress);
  const unit = await filesOf("{pkg,cmd,hack}/**/*.test.ts");
  const heavy = await filesOf("test/heavy/*.test.ts");
  const integration = (await filesOf("test/**/*.test.ts")).filter((f) => !heavy.includes(f));
  const wanted = (files: readonly string[]) =>
    chosen.length === 0 ? files : files.filter((file) => chosen.includes(file));
  if (chosen.length === 0 && (await run(process.execPath, [join(root, "hack", "check.ts")])) !== 0)
    return 1;
  progress.action("unit tests");
  if (wanted(unit).length > 0 && (await nodeTest(wanted(unit), 2)) !== 0) return 1;
  if (wanted(integration).length > 0 && (await onRealComponents(wanted(integration))) !== 0)
    return 1;
  const last = all || chosen.length > 0 ? wanted(heavy) : [];
  if (last.length === 0) return 0;
  progress.action("heavy tests, one after the other");
  return oneByOne(last);
}

async function onRealComponents(files: readonly string[]): Promise<number> {
  await ensureTool("clusterctl", progress);
  await ensureTool("kustomize-controller", progress);
  await ensureTool("flux-oci", progress);
  await ensureTool("sops", progress);
  await ensureTool("sops-batch", progress);
  await ensureTool("notification-controller", progress);
  await ensureTool("promtool", progress);
  progress.action(
    `tests on real components, ${files.length} files (all of them: forty minutes on two cores)`,
  );
  return inLaboratory(files);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(`✗ ${messageOf(error)}`);
  process.exitCode = 1;
}
