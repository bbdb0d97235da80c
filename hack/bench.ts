// The benchmark: what the budgets of docs/benchmarks.md are measured by, each figure beside its anchor
// in the same run. Tables on stdout, progress on stderr. usage: npm run bench -- --help
import { rm } from "node:fs/promises";
import { parseArgs } from "node:util";
import { messageOf } from "../pkg/errors/index.ts";
import type { Keeper } from "./bench/contender.ts";
import { measureDrift } from "./bench/drift.ts";
import { newLabDir, prepareGround, type Ground } from "./bench/ground.ts";
import { measureMemory } from "./bench/memory.ts";
import { measureTemplates } from "./bench/templates.ts";
import { clusterResourceSet } from "./bench/peers/cluster-resource-set.ts";
import { kustomizeController } from "./bench/peers/kustomize-controller.ts";
import { jsonOf, tablesOf } from "./bench/report.ts";
import { measureRotations } from "./bench/rotation.ts";
import { rotationTables } from "./bench/rotation-times.ts";
import { measureRounds } from "./bench/rounds.ts";
import { measureSops, sopsTable } from "./bench/sops.ts";
import { fluxVersion } from "./flux-manifests.ts";
import { startController } from "./lab/controller.ts";
import { stopLab } from "./lab/lab.ts";

const usage = `usage: npm run bench [-- OPTIONS]
  --clusters N  clusters at once (8; 100 for --rotation)
  --runs N      measured rounds, of which the median counts (5)
  --peers       also kustomize-controller and ClusterResourceSet on the same API servers
  --profile DIR also a CPU profile of the controller, which slows it a little
  --templates   only how fast templates are rendered, without a laboratory
  --sops        only files of SOPS, which need no laboratory
  --rotation    only rotation of keys: real files and Git, simulated clusters, without a laboratory
  --json        one last line of JSON on stdout
  --help        this text
`;

type Options = {
  readonly clusters: number;
  readonly runs: number;
  readonly peers: boolean;
  readonly templates: boolean;
  readonly rotation: boolean;
  readonly json: boolean;
  readonly sops: boolean;
  readonly profile: string | undefined;
};

async function bench(dir: string, { clusters, runs, ...options }: Options): Promise<void> {
  const ground = await prepareGround(dir);
  const { profile } = options;
  const nodeFlags = profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`];
  await startController(ground.lab, { nodeFlags });
  const peers = options.peers ? await startPeers(ground) : [];
  const rounds = await measureRounds(ground, { runs, clusters, peers });
  const drift = await measureDrift(ground);
  const memory = await measureMemory(ground);
  await ground.hub.close();
  const names = peers.map(({ name }) => name);
  const kilobytes = Math.round(ground.manifests.length / 1_000);
  const installed = `Flux ${fluxVersion}, ${ground.targets.length} objects, ${kilobytes} kB`;
  const results = { clusters, runs, installed, peers: names, rounds, drift, memory };
  process.stdout.write(tablesOf(results));
  if (options.json) process.stdout.write(`${JSON.stringify(jsonOf(results))}\n`);
}

async function benchTemplates(): Promise<void> {
  const { clusters, files, threads, ms, filesPerSecond } = await measureTemplates();
  const what = `templates of ${clusters} clusters, ${files} files each, ${threads} threads`;
  process.stdout.write(`${what}: ${ms} ms, ${filesPerSecond} files a second\n`);
}

async function benchSops({ runs, json }: Options): Promise<void> {
  const figures = await measureSops(1_000, runs);
  process.stdout.write(sopsTable(figures));
  if (json) process.stdout.write(`${JSON.stringify({ sops: figures })}\n`);
}

async function benchRotation({ clusters, runs, json }: Options): Promise<void> {
  const figures = await measureRotations(clusters, runs);
  process.stdout.write(rotationTables(figures));
  if (json) process.stdout.write(`${JSON.stringify({ rotation: figures })}\n`);
}

async function startPeers(ground: Ground): Promise<readonly Keeper[]> {
  return [await kustomizeController(ground), clusterResourceSet(ground)];
}

/** The options of the command line, or undefined for --help. Throws on what it does not know. */
function optionsOf(args: readonly string[]): Options | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      clusters: { type: "string" },
      runs: { type: "string", default: "5" },
      peers: { type: "boolean", default: false },
      templates: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      sops: { type: "boolean", default: false },
      rotation: { type: "boolean", default: false },
      profile: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  const { peers, templates, json, sops, rotation, profile } = values;
  const clusters = rotation
    ? counted(values.clusters ?? "100", 1_000)
    : counted(values.clusters ?? "8", 100);
  const runs = counted(values.runs, 100);
  return { clusters, runs, peers, templates, json, sops, rotation, profile };
}

function counted(text: string, max: number): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > max)
    throw new Error(`${text} is not a number from 1 to ${max}`);
  return count;
}

async function main(): Promise<void> {
  const options = optionsOrExit();
  if (options.templates) return benchTemplates();
  if (options.sops) return benchSops(options);
  if (options.rotation) return benchRotation(options);
  const dir = await newLabDir();
  const end = () => stopLab(dir).then(() => rm(dir, { recursive: true, force: true }));
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.once(signal, () => void end().finally(() => process.exit(130)));
  try {
    await bench(dir, options);
  } finally {
    await end();
  }
}

function optionsOrExit(): Options {
  try {
    const options = optionsOf(process.argv.slice(2));
    if (options !== undefined) return options;
    process.stdout.write(usage);
    process.exit(0);
  } catch (error) {
    process.stderr.write(`✗ ${messageOf(error)}\n${usage}`);
    process.exit(2);
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`✗ ${messageOf(error)}\n`);
  process.exitCode = 1;
});
