import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { GitRepository, PackCache } from "../../pkg/git/index.ts";
import { parseGitUrl } from "../../pkg/gitdata/index.ts";
import { startGitHttp } from "../lab/git-http.ts";
import { progress } from "../lab/progress.ts";
import { worldFiles, worldKeys, type WorldKeys } from "../lab/rotation-tree.ts";
import { RotationWorld } from "../lab/rotation-world.ts";
import { ensureTool } from "../lab/tools.ts";
import { Recorder, type RotationTimes } from "./rotation-times.ts";
import { goTakes } from "./sops.ts";
import { median, ratio, rounded } from "./statistics.ts";

const run = promisify(execFile);
const own = Array.from({ length: 10 }, (_, i) => `secret-${i}.sops.yaml`);
const shared = Array.from({ length: 10 }, (_, i) => `shared-${i}.sops.yaml`);
const looksMax = 60;

/** A rotation of so many clusters, and what others take for the same files in the same run. */
export type RotationFigures = {
  readonly clusters: number;
  /** Those that were rewritten. */
  readonly files: number;
  /** Of the round with the median of all. */
  readonly times: RotationTimes;
  readonly anchor: Anchor;
  /** Ours by all of the anchor; and what ours computes by what the Go program does, without git on both sides. */
  readonly perAnchor: number;
  readonly perGoCpu: number;
  readonly rssMb: number;
};

/** Milliseconds: the sops library in a Go process, and the git program: commit and push, twice. */
export type Anchor = {
  readonly addMs: number;
  readonly removeMs: number;
  readonly goCpuMs: number;
  readonly gitMs: number;
};

/** Rotates the keys of a tenth of the clusters, then of all of them. */
export async function measureRotations(
  clusters: number,
  runs: number,
): Promise<readonly RotationFigures[]> {
  const sizes = new Set([Math.max(1, Math.round(clusters / 10)), clusters]);
  const figures: RotationFigures[] = [];
  for (const size of sizes) figures.push(await measureRotation(size, runs));
  return figures;
}

async function measureRotation(clusters: number, runs: number): Promise<RotationFigures> {
  const names = Array.from({ length: clusters }, (_, i) => `cluster-${String(i).padStart(4, "0")}`);
  const dir = await mkdtemp(join(tmpdir(), "capitan-bench-rotation-"));
  const repositories = join(dir, "git");
  await mkdir(repositories);
  const server = await startGitHttp({ root: repositories });
  try {
    progress.action(`rotation of ${clusters} clusters: ${clusters * own.length} files`);
    const keys = worldKeys(names);
    const files = await worldFiles(keys, { own, shared });
    const rounds: { times: RotationTimes; anchor: Anchor; changed: number }[] = [];
    for (let round = 0; round < runs; round++) {
      const ground = { dir, repositories, url: server.url, keys, files };
      rounds.push(await oneRound(ground, `round-${round}`));
    }
    return figuresOf(clusters, rounds);
  } finally {
    await server.close();
    await rm(dir, { recursive: true, force: true });
  }
}

function figuresOf(
  clusters: number,
  rounds: readonly { times: RotationTimes; anchor: Anchor; changed: number }[],
): RotationFigures {
  const middle = Math.floor((rounds.length - 1) / 2);
  const sorted = rounds.toSorted((a, b) => a.times.all.ms - b.times.all.ms);
  const chosen = sorted[middle];
  if (chosen === undefined) throw new Error("no rounds");
  const of = (part: keyof Anchor) => rounded(median(rounds.map(({ anchor }) => anchor[part])));
  const anchor = {
    addMs: of("addMs"),
    removeMs: of("removeMs"),
    goCpuMs: of("goCpuMs"),
    gitMs: of("gitMs"),
  };
  const { times, changed } = chosen;
  const anchorMs = anchor.addMs + anchor.removeMs + anchor.gitMs;
  const perAnchor = ratio(times.all.ms, anchorMs);
  const perGoCpu = ratio(times.all.cpu, anchor.goCpuMs);
  const rssMb = rounded(process.resourceUsage().maxRSS / 1024);
  return { clusters, files: changed, times, anchor, perAnchor, perGoCpu, rssMb };
}

type Ground = {
  readonly dir: string;
  readonly repositories: string;
  readonly url: string;
  readonly keys: WorldKeys;
  readonly files: Awaited<ReturnType<typeof worldFiles>>;
};

async function oneRound(ground: Ground, name: string) {
  const { url, repositories, dir, keys, files } = ground;
  await bareRepository(repositories, `${name}.git`);
  const location = `${url}/${name}.git`;
  const push = pusherTo(location, join(dir, name));
  await push(files);
  const recorder = new Recorder();
  const { around, now } = recorder;
  const world = new RotationWorld({
    ...keys,
    url: location,
    dir: join(dir, name),
    rollout: "Proven",
    around,
    now,
    kept: 2,
  });
  // Two revisions that could be gone back to.
  for (const text of ["one", "two"]) {
    await world.pin();
    await push([{ path: "README.md", content: Buffer.from(`${text}\n`) }]);
  }
  await settle(world);
  const before = (await world.tip()).files;
  const tips = await rotate(world, recorder);
  await assertRotated(world);
  const anchor = await anchorOf(ground, { name, before, tips });
  const changed = [...before].filter(([path, bytes]) => tips.at(-1)?.get(path)?.equals(bytes));
  return { times: recorder.times(), anchor, changed: before.size - changed.length };
}

type Files = ReadonlyMap<string, Buffer>;

/** Everything that Fleets and clusters do, until there is nothing more. */
async function settle(world: RotationWorld): Promise<void> {
  while (await happen(world));
}

/** What happens next in the simulated fleet. False when nothing does. */
async function happen(world: RotationWorld): Promise<boolean> {
  return (await world.plant()) || (await world.pin()) || (await world.apply());
}

/** From the first look to the last; the trees of its commits. */
async function rotate(world: RotationWorld, recorder: Recorder): Promise<readonly Files[]> {
  const controller = world.controller();
  const tips: Files[] = [];
  for (let looks = 0; looks < looksMax; looks++) {
    const again = await recorder.look(() =>
      controller.reconcile("fleet/rotation", AbortSignal.timeout(600_000)),
    );
    const { status } = world.rotation;
    if (status?.completedTime !== undefined) return tips;
    if (again.kind !== "after") throw new Error(JSON.stringify(status?.conditions));
    recorder.wait(again.ms);
    const before = world.pinned;
    if (await happen(world)) recorder.happened(world);
    if (world.pinned !== before) tips.push((await world.tip()).files);
  }
  throw new Error(`no end: ${JSON.stringify(world.rotation.status?.conditions)}`);
}

/** Old keys open nothing, new ones open everything, by trying; and the clusters have the new ones only. */
async function assertRotated(world: RotationWorld): Promise<void> {
  const { files } = await world.tip();
  for (const name of world.names) {
    const { now, opens } = await world.openers(name, files);
    const wrong = [...opens].find(([, recipients]) => recipients.join(" ") !== now);
    if (wrong !== undefined) throw new Error(`${wrong[0]} opens with ${wrong[1].join(" ")}`);
    const held = Object.keys(world.planted.get(name) ?? {});
    if (opens.size < own.length || held.join(" ") !== "2.agekey")
      throw new Error(`${name} has ${opens.size} files and ${held.join(" ")}`);
  }
}

async function bareRepository(root: string, name: string): Promise<void> {
  await run("git", ["init", "-q", "--bare", "--initial-branch=main", name], { cwd: root });
  await run("git", ["config", "http.receivepack", "true"], { cwd: join(root, name) });
}

/** Makes a commit of some files on a repository's main. */
function pusherTo(url: string, dir: string) {
  const repository = new GitRepository(parseGitUrl(url, true), {
    credentials: {},
    insecure: true,
    namespace: "bench",
    secret: "",
    cache: new PackCache(dir, () => undefined),
  });
  const author = { name: "bench", email: "bench@example.test" };
  return (edits: Ground["files"]) =>
    repository.publish(
      { branch: "main", propose: () => ({ edits, message: "bench" }), author, now: new Date() },
      AbortSignal.timeout(120_000),
    );
}

type Changes = { readonly name: string; readonly before: Files; readonly tips: readonly Files[] };

/** The same work by others: the same files through the sops library, the same trees through git. */
async function anchorOf({ dir, url, repositories, keys }: Ground, changes: Changes) {
  const { name, before } = changes;
  const clone = join(dir, `${name}-clone`);
  await bareRepository(repositories, `${name}-anchor.git`);
  const git = gitIn(clone);
  await run("git", ["clone", "-q", `${url}/${name}-anchor.git`, clone]);
  await writeTree(clone, before);
  await git("first");
  const tools = { batch: await ensureTool("sops-batch", progress) };
  const env = { HOME: dir, SOPS_AGE_KEY: keys.manager.identity };
  const [[first, { recipient: goes }] = ["", keys.manager]] = keys.first;
  const paths = [...before.keys()].flatMap((path) =>
    path.startsWith("clusters/") ? [join(clone, path)] : [],
  );
  const comes = worldKeys([first]).manager.recipient;
  const add = await goTakes(`add=${comes}`, { tools, env, paths });
  const remove = await goTakes(`remove=${goes}`, { tools, env, paths });
  let gitMs = 0;
  for (const files of changes.tips) {
    await writeTree(clone, files);
    const started = performance.now();
    await git("next");
    gitMs += performance.now() - started;
  }
  await rm(clone, { recursive: true, force: true });
  return { addMs: add.ms, removeMs: remove.ms, goCpuMs: add.cpuMs + remove.cpuMs, gitMs };
}

function gitIn(cwd: string) {
  const person = ["-c", "user.name=bench", "-c", "user.email=bench@example.test"];
  return async (message: string): Promise<void> => {
    await run("git", ["add", "-A"], { cwd });
    await run("git", [...person, "commit", "-q", "-m", message], { cwd });
    await run("git", ["push", "-q", "origin", "HEAD:main"], { cwd });
  };
}

async function writeTree(dir: string, files: Files): Promise<void> {
  for (const [path, bytes] of files) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), bytes);
  }
}
