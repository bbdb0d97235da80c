import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  encryptFile,
  generateIdentity,
  parseIdentities,
  rotateFile,
  verifyFile,
  type Identity,
} from "../../pkg/sops/index.ts";
import { progress } from "../lab/progress.ts";
import { ensureTool } from "../lab/tools.ts";

const run = promisify(execFile);
const chance = { random: randomBytes, now: () => new Date() };
/** So many files are given to the sops command, one process each; its time is scaled. */
const commandSample = 100;

/** Milliseconds for all files: ours on one thread, the sops library in one Go process, the sops command. */
export type SopsFigures = {
  readonly files: number;
  readonly bytesPerFile: number;
  readonly verify: Contest;
  readonly rotate: Contest;
};

export type Contest = {
  readonly oursMs: number;
  readonly goMs: number;
  /** Measured with `commandSample` files, then scaled. */
  readonly commandMs: number;
  readonly perGo: number;
  readonly perCommand: number;
};

/** Verifies and rotates Kubernetes Secrets of five values for two recipients, in memory. */
export async function measureSops(files = 1_000, runs = 3): Promise<SopsFigures> {
  const tools = {
    batch: await ensureTool("sops-batch", progress),
    sops: await ensureTool("sops", progress),
  };
  const dir = await mkdtemp(join(tmpdir(), "capitan-bench-sops-"));
  try {
    const own = generateIdentity(randomBytes);
    const identities = await parseIdentities(own.identity, "bench");
    const secrets = await makeSecrets(files, [
      own.recipient,
      generateIdentity(randomBytes).recipient,
    ]);
    const paths = secrets.map((_, i) => join(dir, `${i}.yaml`));
    for (const [i, path] of paths.entries()) await writeFile(path, secrets[i] ?? "");
    const key = join(dir, "key.txt");
    await writeFile(key, own.identity);
    const at = {
      paths,
      secrets,
      identities,
      runs,
      tools,
      env: { HOME: dir, SOPS_AGE_KEY_FILE: key },
    };
    const bytesPerFile = Math.round(secrets.reduce((sum, { length }) => sum + length, 0) / files);
    return {
      files,
      bytesPerFile,
      verify: await contest("decrypt", at),
      rotate: await contest("rotate", at),
    };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

type At = {
  readonly paths: readonly string[];
  readonly secrets: readonly Buffer[];
  readonly identities: readonly Identity[];
  readonly runs: number;
  readonly tools: { readonly batch: string; readonly sops: string };
  readonly env: Readonly<Record<string, string>>;
};

function makeSecrets(count: number, recipients: readonly string[]): Promise<readonly Buffer[]> {
  const rule = { kind: "encrypted_regex", pattern: "^(data|stringData)$" } as const;
  return Promise.all(
    Array.from({ length: count }, (_, i) => {
      const values = Array.from(
        { length: 5 },
        (_, n) => `    key${n}: ${randomBytes(30).toString("base64")}\n`,
      );
      const text = `apiVersion: v1\nkind: Secret\nmetadata:\n    name: s${i}\n    namespace: apps\nstringData:\n${values.join("")}`;
      return encryptFile(Buffer.from(text), { format: "yaml", groups: [recipients], rule }, chance);
    }),
  );
}

/** Rounds in which both have their turn; the best of each counts. The command comes once. */
async function contest(op: "decrypt" | "rotate", at: At): Promise<Contest> {
  progress.action(`${op} ${at.paths.length} files of SOPS`);
  const ours: number[] = [];
  const go: number[] = [];
  for (let round = 0; round < at.runs; round++) {
    ours.push(await oursMs(op, at));
    go.push(await goMs(op, at));
  }
  const [oursBest, goBest, command] = [Math.min(...ours), Math.min(...go), await commandMs(op, at)];
  return {
    oursMs: Math.round(oursBest),
    goMs: Math.round(goBest),
    commandMs: Math.round(command),
    perGo: Number((oursBest / goBest).toFixed(2)),
    perCommand: Number((oursBest / command).toFixed(3)),
  };
}

async function oursMs(op: "decrypt" | "rotate", { secrets, identities }: At): Promise<number> {
  const options = { format: "yaml", identities } as const;
  const started = performance.now();
  for (const file of secrets)
    await (op === "rotate" ? rotateFile(file, options, chance) : verifyFile(file, options));
  return performance.now() - started;
}

async function goMs(op: string, { tools, paths, env }: At): Promise<number> {
  const { stdout } = await run(tools.batch, ["-bench", op, ...paths], { env });
  return (JSON.parse(stdout) as { ms: number }).ms;
}

async function commandMs(op: string, { tools, paths, env }: At): Promise<number> {
  const sample = paths.slice(0, commandSample);
  const started = performance.now();
  for (const path of sample) await run(tools.sops, [op, path], { env });
  return ((performance.now() - started) * paths.length) / sample.length;
}

/** The rows for people. */
export function sopsTable({ files, bytesPerFile, verify, rotate }: SopsFigures): string {
  const row = (what: string, { oursMs, goMs, commandMs, perGo, perCommand }: Contest) =>
    `${what.padEnd(8)} ${oursMs} ms; Go in one process ${goMs} ms (${perGo} ×); sops per file ${commandMs} ms, scaled from ${Math.min(commandSample, files)} (${perCommand} ×)`;
  const head = `${files} Secrets of SOPS, ${bytesPerFile} bytes each, 5 values, 2 recipients; one thread, MAC verified; budget ≤ 1.0 × Go`;
  return `${head}\n${row("verify", verify)}\n${row("rotate", rotate)}\n`;
}
