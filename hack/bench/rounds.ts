import { progress } from "../lab/progress.ts";
import { bareAnswers } from "./bare-answer.ts";
import { bareApply, concurrencies } from "./bare.ts";
import { capitan } from "./capitan.ts";
import type { Contender, Keeper } from "./contender.ts";
import { withClusters, type Ground } from "./ground.ts";
import { installMs } from "./install.ts";
import { noopPass, type Pass } from "./noop.ts";
import { peerDrift, type PeerDrift } from "./peers/drift.ts";

/** What one contender did in one round. */
export type Sample = {
  readonly contender: string;
  readonly clusters: number;
  readonly installMs: number;
  readonly pass?: Pass;
  /** Of ours: what answering alone would have taken. */
  readonly bareAnswersMs?: number;
  readonly drift?: PeerDrift;
};

/** All samples of the measured rounds, and those of the warm-up in which the anchor was chosen. */
export type Rounds = {
  readonly samples: readonly Sample[];
  readonly warmUp: readonly Sample[];
  readonly bareName: string;
};

export type RoundsOptions = {
  readonly runs: number;
  /** Clusters at once; one alone is always measured too. */
  readonly clusters: number;
  readonly peers: readonly Keeper[];
};

/**
 * A warm-up, which also finds the best concurrency of the bare apply, then rounds in which every
 * contender has its turn in fresh clusters, another one first each time.
 */
export async function measureRounds(ground: Ground, options: RoundsOptions): Promise<Rounds> {
  const { runs, clusters, peers } = options;
  const ours = capitan(ground);
  await trial(ground, ours, { run: "warm-capitan", clusters });
  const warmUp: Sample[] = [];
  for (const atOnce of concurrencies) {
    const run = `warm-bare-${atOnce}`;
    warmUp.push(await trial(ground, bareApply(ground, atOnce), { run, clusters }));
  }
  const fastest = warmUp.indexOf(warmUp.toSorted((a, b) => a.installMs - b.installMs)[0] as Sample);
  const bare = bareApply(ground, concurrencies[fastest] ?? concurrencies[0]);
  const samples: Sample[] = [];
  for (let round = 1; round <= runs; round++) {
    progress.action(`round ${round} of ${runs}`);
    for (const contender of rotated([ours, bare, ...peers], round)) {
      const counts = peers.some((peer) => peer === contender) ? [clusters] : [1, clusters];
      for (const count of new Set(counts)) {
        const run = `r${round}-${shortName(contender)}-${count}`;
        samples.push(await trial(ground, contender, { run, clusters: count, keep: ours, peers }));
      }
    }
  }
  return { samples, warmUp, bareName: bare.name };
}

type Trial = {
  readonly run: string;
  readonly clusters: number;
  /** Who also shows what a pass costs. */
  readonly keep?: Keeper;
  readonly peers?: readonly Keeper[];
};

/** One contender in fresh clusters, which are gone afterwards. */
async function trial(ground: Ground, contender: Contender, options: Trial): Promise<Sample> {
  const { run: name, clusters, keep, peers = [] } = options;
  const isContender = (other: Contender) => other === contender;
  const peer = peers.find(isContender);
  progress.action(`${contender.name}: ${clusters} fresh clusters`);
  const keeper = peer ?? (keep !== undefined && isContender(keep) ? keep : undefined);
  const result = await withClusters(ground, name, clusters, async (run) => {
    const ms = await installMs(ground, contender, run);
    progress.done(`${contender.name} into ${clusters}: ${Math.round(ms)} ms`);
    const pass = keeper && (await noopPass(ground, keeper, run));
    if (pass !== undefined) progress.done(`${contender.name}, ${describe(pass)}`);
    const isOurs = keeper !== undefined && keeper === keep;
    const bareAnswersMs = isOurs ? await bareAnswers(ground, run) : undefined;
    if (bareAnswersMs !== undefined)
      progress.done(`bare answers, nothing looked at: ${Math.round(bareAnswersMs)} ms`);
    const drift = peer && (await peerDrift(ground, peer, run));
    const sample = { contender: contender.name, clusters, installMs: ms };
    const bare = bareAnswersMs !== undefined && { bareAnswersMs };
    return { run, sample: { ...sample, ...(pass && { pass }), ...bare, ...(drift && { drift }) } };
  });
  await contender.remove(result.run);
  return result.sample;
}

function describe({ ms, requests, writes, ownCpuMs, serversCpuMs }: Pass): string {
  const costs = `${ownCpuMs} ms own CPU, ${serversCpuMs} ms CPU of API servers`;
  return `nothing changed: ${Math.round(ms)} ms, ${requests} requests, ${writes} writes, ${costs}`;
}

function rotated<T>(all: readonly T[], by: number): readonly T[] {
  const start = by % all.length;
  return [...all.slice(start), ...all.slice(0, start)];
}

/** A part of names of clusters and labels. */
const shortName = ({ name }: Contender) => name.toLowerCase().replaceAll(/[^a-z]+/g, "-");
