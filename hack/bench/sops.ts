import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { rewriteFile, type FileEdit } from "../../pkg/rotation/index.ts";
import {
  generateIdentity,
  parseIdentities,
  rotateFile,
  verifyFile,
  type Identity,
} from "../../pkg/sops/index.ts";
import { progress } from "../lab/progress.ts";
import { secretFile } from "../lab/rotation-tree.ts";
import { ensureTool } from "../lab/tools.ts";
import { ratio, rounded } from "./statistics.ts";

const run = promisify(execFile);
const chance = { random: randomBytes, now: () => new Date() };
/** So many files are given to the sops command, one process each; its time is scaled. */
const commandSample = 100;

/** What is done to each file; the last two are what a rotation of keys does. */
const works = ["verify", "rotate", "add", "remove"] as const;
type WorkName = (typeof works)[number];

/** Milliseconds for all files: ours on one thread, the sops library in one Go process, the sops command. */
export type SopsFigures = {
  readonly files: number;
  readonly bytesPerFile: number;
} & Readonly<Record<WorkName, Contest>>;

export type Contest = {
  readonly oursMs: number;
  readonly goMs: number;
  readonly perGo: number;
  /** By what the processes have computed, all threads: on a machine that others use it says more. */
  readonly oursCpuMs: number;
  readonly goCpuMs: number;
  readonly perGoCpu: number;
  /** Measured with `commandSample` files, then scaled; where the command does the same. */
  readonly commandMs?: number;
  readonly perCommand?: number;
};

/** Does things to Kubernetes Secrets of five values for two recipients, in memory. */
export async function measureSops(files = 1_000, runs = 3): Promise<SopsFigures> {
  const tools = {
    batch: await ensureTool("sops-batch", progress),
    sops: await ensureTool("sops", progress),
  };
  const dir = await mkdtemp(join(tmpdir(), "capitan-bench-sops-"));
  try {
    const [own, goes, comes] = [1, 2, 3].map(() => generateIdentity(randomBytes));
    if (own === undefined || goes === undefined || comes === undefined) throw new Error("no keys");
    const paths = Array.from({ length: files }, (_, i) => join(dir, `${i}.yaml`));
    const secrets = await Promise.all(
      paths.map((_, i) => secretFile(`s${i}.yaml`, [own.recipient, goes.recipient])),
    );
    for (const [i, path] of paths.entries()) await writeFile(path, secrets[i] ?? "");
    const key = join(dir, "key.txt");
    await writeFile(key, own.identity);
    const at: At = {
      paths,
      secrets,
      identities: await parseIdentities(own.identity, "bench"),
      others: await parseIdentities(comes.identity, "bench"),
      goes: goes.recipient,
      comes: comes.recipient,
      runs,
      tools,
      env: { HOME: dir, SOPS_AGE_KEY_FILE: key },
    };
    const bytesPerFile = Math.round(secrets.reduce((sum, { length }) => sum + length, 0) / files);
    const verify = await contest("verify", at);
    const rotate = await contest("rotate", at);
    const add = await contest("add", at);
    return { files, bytesPerFile, verify, rotate, add, remove: await contest("remove", at) };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

type At = {
  readonly paths: readonly string[];
  readonly secrets: readonly Buffer[];
  readonly identities: readonly Identity[];
  /** The identity of who comes. */
  readonly others: readonly Identity[];
  readonly goes: string;
  readonly comes: string;
  readonly runs: number;
  readonly tools: { readonly batch: string; readonly sops: string };
  readonly env: Readonly<Record<string, string>>;
};

/** Rounds in which both have their turn; the best of each counts. The command comes once. */
async function contest(work: WorkName, at: At): Promise<Contest> {
  progress.action(`${work} ${at.paths.length} files of SOPS`);
  const ours: Taken[] = [];
  const go: Taken[] = [];
  for (let round = 0; round < at.runs; round++) {
    ours.push(await oursTake(work, at));
    go.push(await goTakes(goOperation(work, at), at));
  }
  const best = (all: readonly Taken[], of: keyof Taken) => Math.min(...all.map((each) => each[of]));
  const command = await commandMs(work, at);
  const oursMs = best(ours, "ms");
  return {
    oursMs: rounded(oursMs),
    goMs: rounded(best(go, "ms")),
    perGo: ratio(oursMs, best(go, "ms")),
    oursCpuMs: rounded(best(ours, "cpuMs")),
    goCpuMs: rounded(best(go, "cpuMs")),
    perGoCpu: ratio(best(ours, "cpuMs"), best(go, "cpuMs")),
    ...(command === undefined
      ? {}
      : { commandMs: rounded(command), perCommand: rounded(oursMs / command, 3) }),
  };
}

async function oursTake(name: WorkName, at: At): Promise<Taken> {
  const work = oursOf(name, at);
  const started = performance.now();
  const used = process.cpuUsage();
  for (const file of at.secrets) await work(file);
  const { user, system } = process.cpuUsage(used);
  return { ms: performance.now() - started, cpuMs: (user + system) / 1_000 };
}

function oursOf(
  work: WorkName,
  { identities, others, goes, comes }: At,
): (file: Buffer) => Promise<unknown> {
  const options = { format: "yaml", identities } as const;
  const rewrite = (edit: Omit<FileEdit, "path">) => (file: Buffer) => {
    const all = { format: "yaml", openers: identities, others } as const;
    return rewriteFile(file, { ...all, edit: { path: "", ...edit } }, chance);
  };
  switch (work) {
    case "verify":
      return (file) => verifyFile(file, options);
    case "rotate":
      return (file) => rotateFile(file, options, chance);
    case "add":
      return rewrite({
        add: [{ recipient: comes, beside: [goes] }],
        remove: [],
        newDataKey: false,
      });
    case "remove":
      return rewrite({ add: [], remove: [goes], newDataKey: true });
  }
}

function goOperation(work: WorkName, { comes, goes }: At): string {
  if (work === "add") return `add=${comes}`;
  return { verify: "decrypt", rotate: "rotate", remove: `remove=${goes}` }[work];
}

/** What something takes: passed, and computed. */
export type Taken = { readonly ms: number; readonly cpuMs: number };

/** What the Go program takes for one operation on all files. */
export async function goTakes(
  operation: string,
  { tools, paths, env }: Pick<At, "paths" | "env"> & { readonly tools: { readonly batch: string } },
): Promise<Taken> {
  const { stdout } = await run(tools.batch, ["-bench", operation, ...paths], { env });
  return JSON.parse(stdout) as Taken;
}

/** Undefined where the command does something else: it adds nobody without a new data key. */
async function commandMs(
  work: WorkName,
  { tools, paths, env, goes }: At,
): Promise<number | undefined> {
  if (work === "add") return undefined;
  const sample = paths.slice(0, commandSample);
  const args = {
    verify: ["decrypt"],
    rotate: ["rotate"],
    remove: ["rotate", "--rm-age", goes],
  }[work];
  const started = performance.now();
  for (const path of sample) await run(tools.sops, [...args, path], { env });
  return ((performance.now() - started) * paths.length) / sample.length;
}

/** The rows for people. */
export function sopsTable({ files, bytesPerFile, ...figures }: SopsFigures): string {
  const row = (work: WorkName) => {
    const { oursMs, goMs, perGo, perGoCpu, commandMs: command, perCommand } = figures[work];
    const beside =
      command === undefined
        ? ""
        : `; sops per file ${command} ms, scaled from ${Math.min(commandSample, files)} (${perCommand} ×)`;
    return `${work.padEnd(8)} ${oursMs} ms; Go in one process ${goMs} ms (${perGo} ×, of CPU ${perGoCpu} ×)${beside}`;
  };
  const head = `${files} Secrets of SOPS, ${bytesPerFile} bytes each, 5 values, 2 recipients; one thread, MAC verified; budget ≤ 1.0 × Go`;
  return `${[head, ...works.map(row)].join("\n")}\n`;
}
