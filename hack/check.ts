// Everything that is checked without running a cluster: types, lint, format, dead code, generated
// files, architecture. usage: npm run check; npm run format writes what can be written.
import { spawnSync } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { staleGeneratedFiles } from "./generate.ts";
import { root } from "./lab/paths.ts";

const bin = (name: string) => join(root, "node_modules", ".bin", name);

/** Runs one tool under this Node; true when it succeeded. */
function passes(name: string, command: string, args: readonly string[]): boolean {
  const started = performance.now();
  const path = `${join(process.execPath, "..")}:${process.env["PATH"] ?? ""}`;
  const options = { cwd: root, env: { ...process.env, PATH: path }, encoding: "utf8" } as const;
  const { status, stdout, stderr } = spawnSync(command, args, options);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.error(`${status === 0 ? "✔" : "✗"} ${name} (${seconds} s)`);
  if (status !== 0) console.error(`${stdout}${stderr}`);
  return status === 0;
}

/** Tests that are switched off, and registry host names in the lock file, are errors. */
async function forbiddenText(): Promise<readonly string[]> {
  const files = await readdir(root, { recursive: true, withFileTypes: true });
  const tests = files
    .filter(
      (f) => f.isFile() && f.name.endsWith(".test.ts") && !f.parentPath.includes("node_modules"),
    )
    .map((f) => join(f.parentPath, f.name));
  const switchedOff =
    /\b(?:test|it|describe|suite|t)\.(?:skip|todo|only)\b|\b(?:skip|todo|only):\s/;
  const found = await Promise.all(
    tests.map(async (file) =>
      switchedOff.test(await readFile(file, "utf8")) ? [`${file}: skip, todo or only`] : [],
    ),
  );
  const lock = await readFile(join(root, "package-lock.json"), "utf8");
  const hosts = /"resolved": "http/.test(lock) ? ["package-lock.json names a registry host"] : [];
  return [...found.flat(), ...hosts];
}

/** Faults that must be in the book, whoever edits it. */
const required = [
  ...ids("C", 8),
  ...ids("U", 10),
  ...ids("E", 12),
  ...ids("R", 10),
  ...ids("P", 4),
  ...ids("T", 7),
  ...ids("A", 4),
  ...ids("L", 4),
  ...ids("S", 11),
  ...ids("W", 4),
  "O1",
  "O2",
  "O4",
  "O6",
  "O7",
  "O5",
  "O8",
  "G1",
  "G2",
  "G3",
  "G4",
  "G5",
  "G6",
];

function ids(letter: string, count: number): readonly string[] {
  return Array.from({ length: count }, (_, i) => `${letter}${i + 1}`);
}

/** Every fault that docs/reliability.md lists has a test with its id in the name, and the required ones are listed. */
async function untestedFaults(): Promise<readonly string[]> {
  const book = await readFile(join(root, "docs", "reliability.md"), "utf8");
  const rows = book.split("\n").filter((line) => line.startsWith("| "));
  const listed = new Set(
    rows.flatMap((row) => row.split("|")[1]?.match(/\b[A-Z]\d{1,2}\b/g) ?? []),
  );
  const files = await readdir(root, { recursive: true, withFileTypes: true });
  const tests = files.filter(
    (f) => f.isFile() && f.name.endsWith(".test.ts") && !f.parentPath.includes("node_modules"),
  );
  const texts = await Promise.all(tests.map((f) => readFile(join(f.parentPath, f.name), "utf8")));
  const names = texts.flatMap((text) => text.match(/(["'`])(?:(?!\1)[^\n])*\1/g) ?? []).join("\n");
  const missing = required.filter((id) => !listed.has(id)).map((id) => `${id} is not listed`);
  const untested = [...listed].filter((id) => !new RegExp(`["'\`][^\\n]*\\b${id}\\b`).test(names));
  return [...missing, ...untested.map((id) => `${id} is listed and no test names it`)];
}

function report(name: string, problems: readonly string[], remedy: string): boolean {
  console.error(`${problems.length === 0 ? "✔" : "✗"} ${name}`);
  for (const problem of problems) console.error(`  ${problem}`);
  if (problems.length > 0) console.error(`  → ${remedy}`);
  return problems.length === 0;
}

const { values } = parseArgs({ options: { write: { type: "boolean", default: false } } });
const results = [
  passes("format", bin("oxfmt"), values.write ? ["."] : ["--check", "."]),
  report("generated files", await staleGeneratedFiles(values.write), "npm run format writes them"),
  passes("types", bin("tsc"), ["-p", root]),
  passes("lint", bin("oxlint"), ["--type-aware", "--deny-warnings", "."]),
  passes("dead code", bin("knip"), ["--no-progress"]),
  passes("architecture", process.execPath, ["--test", join(root, "test", "architecture.test.ts")]),
  report(
    "faults have tests",
    await untestedFaults(),
    "name the test after the fault, or mend docs/reliability.md",
  ),
  report("no test is switched off", await forbiddenText(), "run it, or delete it"),
];
process.exitCode = results.every(Boolean) ? 0 : 1;
