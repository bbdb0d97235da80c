import type { Drift } from "./drift.ts";
import type { Memory } from "./memory.ts";
import type { Pass } from "./noop.ts";
import type { PeerDrift } from "./peers/drift.ts";
import type { Rounds, Sample } from "./rounds.ts";
import { median, ratio, rounded } from "./statistics.ts";

/** Everything that one run of the benchmark has measured. */
export type Results = {
  readonly clusters: number;
  readonly runs: number;
  /** What is installed, for the heading. */
  readonly installed: string;
  readonly peers: readonly string[];
  readonly rounds: Rounds;
  readonly drift: Drift;
  readonly memory: Memory;
};

const ours = "Capitan";

/** The last line of `--json`. Times in milliseconds; a peer's ratio is peer / ours, ours is ours / bare. */
export function jsonOf(results: Results): object {
  const { clusters, peers, drift, memory } = results;
  const counts = [...new Set([1, clusters])];
  const { ms, requests, writes } = passOf(results, ours);
  const peerFigures = peers.map((name) => {
    const install = installOf(results, name, clusters);
    const pass = passOf(results, name);
    return [
      name === "ClusterResourceSet" ? "cluster-resource-set" : name,
      {
        install: { ms: rounded(install), ratio: peerRatio(results, name) },
        noop: { ms: rounded(pass.ms, 1), ratio: ratio(pass.ms, ms) },
      },
    ] as const;
  });
  return {
    install: Object.fromEntries(counts.map((count) => [count, installRatio(results, count)])),
    noop: { ms: rounded(ms, 1), requests, writes, ...bareAnswersOf(results) },
    drift,
    memory: { mbPerCluster: rounded(memory.mbPerCluster, 2) },
    ...(peers.length > 0 && { peers: Object.fromEntries(peerFigures) }),
  };
}

/** The tables for people. */
export function tablesOf(results: Results): string {
  const { peers, runs, installed } = results;
  const head = `${installed}; medians of ${runs} ${runs === 1 ? "run" : "runs"}, each beside its anchor`;
  const all = [head, columns(budgetRows(results)), columns(systemRows(results))];
  if (peers.length > 0) all.push(columns(peerDriftRows(results)));
  return `${all.join("\n\n")}\n`;
}

function budgetRows(results: Results): readonly (readonly string[])[] {
  const { clusters, drift, memory, rounds } = results;
  const installs = [...new Set([1, clusters])].map((count) => {
    const { capitanMs, bareMs, ratio } = installRatio(results, count);
    const budget = count === 1 ? "≤ 1 s" : "≤ 1.3 × bare";
    const isMet = count === 1 ? capitanMs <= 1_000 : ratio <= 1.3;
    const anchor = `${bareMs} ms (${rounds.bareName})`;
    return [`Flux into ${count} fresh`, `${capitanMs} ms`, anchor, `${ratio}`, budget, met(isMet)];
  });
  const { ms, requests, writes, listsPerKind } = passOf(results, ours);
  const bareAnswers = bareAnswersOf(results);
  const pass = `${rounded(ms, 1)} ms, ${requests} requests, ${listsPerKind} LISTs per kind, ${writes} writes`;
  const { p50Ms, p99Ms, n, bare } = drift;
  const { mbPerCluster, heapMbPerCluster, few, many } = memory;
  const held = [few, many].map(
    ({ clusters, rssMb, heapMb }) => `${clusters}: ${rounded(rssMb)}/${rounded(heapMb)}`,
  );
  return [
    ["WHAT", "CAPITAN", "ANCHOR", "RATIO", "BUDGET", "MET"],
    ...installs,
    [
      `nothing changed, ${clusters}`,
      pass,
      `${bareAnswers.bareMs} ms (bare: watch, one status patch)`,
      `${bareAnswers.ratio}`,
      "≤ 100 ms, ≤ 1 LIST, 0 writes",
      met(ms <= 100 && listsPerKind <= 1 && !writes),
    ],
    [
      `drift, ${n} repairs`,
      `p50 ${p50Ms} ms, p99 ${p99Ms} ms`,
      `p50 ${bare.p50Ms} ms, p99 ${bare.p99Ms} ms (bare: watch, one apply)`,
      `${ratio(p50Ms, bare.p50Ms)}`,
      "≤ 20 ms, ≤ 200 ms",
      met(p50Ms <= 20 && p99Ms <= 200),
    ],
    [
      "memory per idle cluster",
      `${rounded(mbPerCluster, 2)} MB RSS, ${rounded(heapMbPerCluster, 2)} MB heap`,
      `RSS/heap in MB with ${held.join(", with ")}`,
      "",
      "≤ 0.45 MB",
      met(mbPerCluster <= 0.45),
    ],
  ];
}

/** Every system beside every other: what the ratios are made of. */
function systemRows(results: Results): readonly (readonly string[])[] {
  const { clusters, peers, rounds } = results;
  const installs = (name: string, count: number) => spread(samplesOf(results, name, count));
  const warmUp = rounds.warmUp.map(({ contender, installMs }) => [
    `${contender} (warm-up)`,
    "",
    `${rounded(installMs)}`,
  ]);
  const kept = [ours, ...peers].map((name) => {
    const { ms, requests, writes, ownCpuMs, serversCpuMs } = passOf(results, name);
    const costs = [ms, ownCpuMs, serversCpuMs, requests, writes].map((x) => `${rounded(x)}`);
    const one = name === ours ? installs(name, 1) : "";
    return [name, one, installs(name, clusters), `${peerRatio(results, name)}`, ...costs];
  });
  const { bareName } = rounds;
  const bare = [bareName, installs(bareName, 1), installs(bareName, clusters)];
  const { bareMs } = installRatio(results, clusters);
  const bareRatio = `${ratio(bareMs, installOf(results, ours, clusters))}`;
  return [
    [
      "SYSTEM",
      "INTO 1 (ms)",
      `INTO ${clusters} (ms)`,
      "× CAPITAN",
      "NOTHING CHANGED (ms)",
      "OWN CPU (ms)",
      "API SERVERS (ms)",
      "REQUESTS",
      "WRITES",
    ],
    ...kept,
    [...bare, bareRatio],
    ...warmUp,
  ];
}

function peerDriftRows(results: Results): readonly (readonly string[])[] {
  const rows = results.peers.map((name) => {
    const all = results.rounds.samples.flatMap(({ contender, drift }) =>
      contender === name && drift !== undefined ? [drift] : [],
    );
    return [name, ...driftCells(all)];
  });
  return [["A DELETED OBJECT", "BACK BY ITSELF WITHIN 10 s", "BACK WHEN ASKED"], ...rows];
}

function driftCells(all: readonly PeerDrift[]): readonly string[] {
  const own = all.filter(({ byItself }) => byItself).length;
  const asked = all.flatMap(({ askedMs }) => (askedMs === undefined ? [] : [askedMs]));
  const times = asked.length === 0 ? "" : `, pass of ${rounded(median(asked))} ms`;
  return [`${own} of ${all.length}`, `${asked.length} of ${all.length - own}${times}`];
}

type InstallRatio = {
  readonly capitanMs: number;
  readonly bareMs: number;
  readonly ratio: number;
};

function installRatio(results: Results, clusters: number): InstallRatio {
  const capitanMs = installOf(results, ours, clusters);
  const bareMs = installOf(results, results.rounds.bareName, clusters);
  return {
    capitanMs: rounded(capitanMs),
    bareMs: rounded(bareMs),
    ratio: ratio(capitanMs, bareMs),
  };
}

function peerRatio(results: Results, name: string): number {
  const { clusters } = results;
  return ratio(installOf(results, name, clusters), installOf(results, ours, clusters));
}

function samplesOf({ rounds }: Results, name: string, clusters: number): readonly Sample[] {
  return rounds.samples.filter((s) => s.contender === name && s.clusters === clusters);
}

function installOf(results: Results, name: string, clusters: number): number {
  return median(samplesOf(results, name, clusters).map(({ installMs }) => installMs));
}

/** The medians of all passes over the many clusters, figure by figure. */
function passOf(results: Results, name: string): Pass {
  const all = samplesOf(results, name, results.clusters).flatMap(({ pass }) => pass ?? []);
  const of = (field: keyof Pass) => median(all.map((pass) => pass[field]));
  return {
    ms: of("ms"),
    requests: of("requests"),
    writes: of("writes"),
    listsPerKind: of("listsPerKind"),
    ownCpuMs: of("ownCpuMs"),
    serversCpuMs: of("serversCpuMs"),
  };
}

/** What answering alone takes, and how many times as long a pass of ours does. */
function bareAnswersOf(results: Results): { readonly bareMs: number; readonly ratio: number } {
  const all = samplesOf(results, ours, results.clusters);
  const bareMs = median(all.flatMap(({ bareAnswersMs }) => bareAnswersMs ?? []));
  return { bareMs: rounded(bareMs, 1), ratio: ratio(passOf(results, ours).ms, bareMs) };
}

/** Median, and the least and the most. */
function spread(samples: readonly Sample[]): string {
  const all = samples.map(({ installMs }) => installMs);
  const [least, most] = [Math.min(...all), Math.max(...all)].map((ms) => rounded(ms));
  return `${rounded(median(all))} (${least}–${most})`;
}

const met = (isMet: boolean) => (isMet ? "yes" : "no");

/** Rows under each other, in columns; the first one is the heading. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("   ");
  return rows.map((row) => line(row).trimEnd()).join("\n");
}
