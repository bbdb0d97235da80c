import type { KubeObject } from "../../pkg/object/index.ts";
import { acts, declared, repairTimes } from "../drift.ts";
import { progress } from "../lab/progress.ts";
import { resources } from "../lab/resources.ts";
import { fleetObject, fluxFleet, membersReady, removeFleet } from "./fleets.ts";
import { clientFor, withClusters, type Ground, type Run } from "./ground.ts";
import { percentile, rounded } from "./statistics.ts";

const repairs = 50;
const runName = "drift";

/** How long a foreign change lived, over all repairs. */
export type Drift = { readonly n: number; readonly p50Ms: number; readonly p99Ms: number };

/** 50 repairs of each of six kinds of drift, one after the other, in a cluster that also has Flux. */
export async function measureDrift(ground: Ground): Promise<Drift> {
  const { hub, lab } = ground;
  const fleets = [
    fluxFleet(lab.registry, runName),
    fleetObject("drift-objects", runName, [layer("ConfigMap"), layer("Secret")]),
  ] as KubeObject[];
  const times = await withClusters(ground, runName, 1, async (run) => {
    for (const fleet of fleets) {
      await hub.apply(resources.fleet, fleet, { manager: "bench" });
      await membersReady(hub, fleet.metadata.name, run);
    }
    return repairAll(ground, run);
  });
  for (const { metadata } of fleets) await removeFleet(hub, metadata.name);
  return { n: times.length, p50Ms: ms(times, 50), p99Ms: ms(times, 99) };
}

async function repairAll({ hub }: Ground, { clusters }: Run): Promise<readonly number[]> {
  const [cluster] = clusters;
  if (cluster === undefined) throw new Error("there is no cluster");
  const client = await clientFor(hub, cluster);
  const all: number[] = [];
  for (const act of acts) {
    const times = await repairTimes(client, act, "default", names(act.resource.kind));
    progress.done(`drift, ${act.name}: p50 ${ms(times, 50)} ms, p99 ${ms(times, 99)} ms`);
    all.push(...times);
  }
  await client.close();
  return all;
}

const ms = (times: readonly number[], p: number) => rounded(percentile(times, p), 1);
const names = (kind: string) =>
  Array.from({ length: repairs }, (_, i) => `${kind.toLowerCase()}-${i}`);

function layer(kind: "ConfigMap" | "Secret"): object {
  const content = kind === "Secret" ? { stringData: { k: declared } } : { data: { k: declared } };
  const inline = names(kind).map((name) => ({
    apiVersion: "v1",
    kind,
    metadata: { name, namespace: "default" },
    ...content,
  }));
  return { name: kind.toLowerCase(), inline };
}
