import type { KubeClient } from "../../pkg/kube/index.ts";
import { labels, type KubeObject } from "../../pkg/object/index.ts";
import { acts, declared, repairTimes } from "../drift.ts";
import { progress } from "../lab/progress.ts";
import { resources } from "../lab/resources.ts";
import { bareRepairs } from "./bare-drift.ts";
import { fleetObject, fluxFleet, membersReady, removeFleet } from "./fleets.ts";
import { clientFor, withClusters, type Ground, type Run } from "./ground.ts";
import { percentile, rounded } from "./statistics.ts";

const repairs = 50;
const runName = "drift";
const bareName = "drift-bare";
const namespace = "default";
const kinds = ["ConfigMap", "Secret"] as const;

/** How long foreign changes lived. */
type Times = { readonly p50Ms: number; readonly p99Ms: number };

/** The same over all repairs, and beside it what put back the same with nothing around it. */
export type Drift = Times & { readonly n: number; readonly bare: Times };

/**
 * 50 repairs of each of six kinds of drift, one after the other, in a cluster that also has Flux; and
 * by turns as many by the bare program in a cluster that nobody else works on.
 */
export async function measureDrift(ground: Ground): Promise<Drift> {
  const { hub, lab } = ground;
  const fleets = [
    fluxFleet(lab.registry, runName),
    fleetObject("drift-objects", runName, kinds.map(layer)),
  ] as KubeObject[];
  const drift = await withClusters(ground, bareName, 1, (bare) =>
    withClusters(ground, runName, 1, async (run) => {
      for (const fleet of fleets) {
        await hub.apply(resources.fleet, fleet, { manager: "bench" });
        await membersReady(hub, fleet.metadata.name, run);
      }
      const [client, bareClient] = [await clientOf(ground, run), await clientOf(ground, bare)];
      const measured = await repairAll(client, bareClient);
      await Promise.all([client.close(), bareClient.close()]);
      return measured;
    }),
  );
  for (const { metadata } of fleets) await removeFleet(hub, metadata.name);
  return drift;
}

async function clientOf({ hub }: Ground, { clusters: [cluster] }: Run): Promise<KubeClient> {
  if (cluster === undefined) throw new Error("there is no cluster");
  return clientFor(hub, cluster);
}

/** Ours in the one cluster and the bare program's in the other, act by act. */
async function repairAll(client: KubeClient, bareClient: KubeClient): Promise<Drift> {
  const all: number[] = [];
  const bare: number[] = [];
  for (const act of acts) {
    const { kind } = act.resource;
    const times = await repairTimes(client, act, namespace, names(kind));
    const program = await bareRepairs(bareClient, act.resource, objectsOf(kind, marked));
    const bareTimes = await repairTimes(bareClient, act, namespace, names(kind));
    await program.stop();
    progress.done(`drift, ${act.name}: ${said(times)}; bare: ${said(bareTimes)}`);
    all.push(...times);
    bare.push(...bareTimes);
  }
  return { n: all.length, ...summary(all), bare: summary(bare) };
}

const ms = (times: readonly number[], p: number) => rounded(percentile(times, p), 1);
const summary = (times: readonly number[]) => ({ p50Ms: ms(times, 50), p99Ms: ms(times, 99) });
const said = (times: readonly number[]) => `p50 ${ms(times, 50)} ms, p99 ${ms(times, 99)} ms`;
const names = (kind: string) =>
  Array.from({ length: repairs }, (_, i) => `${kind.toLowerCase()}-${i}`);

/** What Capitan adds to objects of its own. */
const marked = { labels: { [labels.owner]: "bare" } };

function objectsOf(kind: string, metadata: object = {}): readonly KubeObject[] {
  const value = kind === "Secret" ? Buffer.from(declared).toString("base64") : declared;
  return names(kind).map((name) => ({
    apiVersion: "v1",
    kind,
    metadata: { ...metadata, name, namespace },
    data: { k: value },
  }));
}

function layer(kind: string): object {
  return { name: kind.toLowerCase(), inline: objectsOf(kind) };
}
