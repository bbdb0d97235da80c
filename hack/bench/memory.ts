import type { KubeObject } from "../../pkg/object/index.ts";
import { startController } from "../lab/controller.ts";
import { stop } from "../lab/processes.ts";
import { progress } from "../lab/progress.ts";
import { resources } from "../lab/resources.ts";
import { fluxFleet, membersReady, removeFleet } from "./fleets.ts";
import { addClusters, clusterNames, removeClusters, type Ground } from "./ground.ts";
import { heldAfterCollection, type Held } from "./heap.ts";
import { median } from "./statistics.ts";

const runName = "memory";
/** Numbers of clusters between which the slope is taken. */
const sizes = [8, 24] as const;
const samples = 5;
const sampleEveryMs = 2_000;

/** What the controller holds with few and with many idle clusters, and what each one more costs. */
export type Memory = {
  readonly few: Held & { readonly clusters: number };
  readonly many: Held & { readonly clusters: number };
  readonly mbPerCluster: number;
  readonly heapMbPerCluster: number;
};

/**
 * Measures a controller that is started for this: one that has worked already has room in its heap,
 * which hides what clusters cost. Every cluster has Flux and is Ready. The controller stays.
 */
export async function measureMemory(ground: Ground): Promise<Memory> {
  const { lab, hub } = ground;
  await stop(lab.dir, "controller");
  const port = lab.ports.controllerInspector;
  const { pid } = await startController(lab, { nodeFlags: [`--inspect=127.0.0.1:${port}`] });
  await hub.apply(resources.fleet, fluxFleet(lab.registry, runName) as KubeObject, {
    manager: "bench",
  });
  const held: Held[] = [];
  let made = 0;
  for (const size of sizes) {
    progress.action(`memory: ${size} clusters`);
    await addClusters(hub, runName, clusterNames(runName, made, size));
    made = size;
    await membersReady(hub, runName, { name: runName, clusters: clusterNames(runName, 0, size) });
    held.push(await sampled(pid, port));
  }
  await removeClusters(hub, clusterNames(runName, 0, made));
  await removeFleet(hub, runName);
  return slope(held);
}

async function sampled(pid: number, port: number): Promise<Held> {
  const all: Held[] = [];
  for (let i = 0; i < samples; i++) {
    // Time for the collector to give pages back, and for watches to be as quiet as they get.
    await new Promise((resolve) => setTimeout(resolve, sampleEveryMs));
    all.push(await heldAfterCollection(pid, port));
  }
  const of = (field: keyof Held) => median(all.map((held) => held[field]));
  return { rssMb: of("rssMb"), heapMb: of("heapMb") };
}

function slope([few, many]: readonly Held[]): Memory {
  if (few === undefined || many === undefined) throw new Error("memory was measured once only");
  const per = (field: keyof Held) => (many[field] - few[field]) / (sizes[1] - sizes[0]);
  return {
    few: { ...few, clusters: sizes[0] },
    many: { ...many, clusters: sizes[1] },
    mbPerCluster: per("rssMb"),
    heapMbPerCluster: per("heapMb"),
  };
}
