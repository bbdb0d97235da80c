// The laboratory's command line: npm run lab -- up [--clusters N] [--no-controller | --fleet] [--json], npm run lab -- down
// With --fleet there are also a Git server, CI, the receiver and Flux as an artifact: see docs/first-cluster.md.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { messageOf } from "../../pkg/errors/index.ts";
import { clientOf } from "./apiserver.ts";
import { clusterInitialized, clusterKubeconfig, createCluster } from "./clusters.ts";
import { startController, type Controller } from "./controller.ts";
import { pushFlux } from "../demo/flux.ts";
import { registryTells, startFleet, writeFleetEnvironment } from "./fleet.ts";
import { labNamespace, startLab, stopLab } from "./lab.ts";
import { defaultLabDir } from "./paths.ts";
import { progress } from "./progress.ts";
import type { LabFile } from "./state.ts";

const usage = `usage: npm run lab -- up [--clusters N] [--no-controller | --fleet] [--stand-in DELAY|off] [--json]
       npm run lab -- down`;

async function up(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    allowNegative: true,
    options: {
      clusters: { type: "string", default: "0" },
      controller: { type: "boolean", default: true },
      fleet: { type: "boolean", default: false },
      "stand-in": { type: "string", default: "200ms" },
      json: { type: "boolean", default: false },
    },
  });
  const count = Number(values.clusters);
  if (!Number.isInteger(count) || count < 0)
    throw new Error(`--clusters ${values.clusters} is not a number\n${usage}`);
  const tells = values.fleet ? { registryTells } : {};
  const standIn = values["stand-in"];
  const lab = await startLab({ dir: defaultLabDir, progress, standIn, ...tells });
  try {
    const controller = values.controller ? await startController(lab) : undefined;
    if (controller !== undefined) progress.done(`the controller runs with pid ${controller.pid}`);
    if (values.fleet) await addFleet(lab);
    const clusters = await addClusters(lab, count);
    if (values.json) printJson(lab, clusters, controller);
  } catch (error) {
    await stopLab(defaultLabDir);
    throw error;
  }
}

async function addFleet(lab: LabFile): Promise<void> {
  const { git } = await startFleet(lab);
  await pushFlux(lab);
  const file = await writeFleetEnvironment(lab, git);
  progress.done(`Git server, CI and receiver run; for your shell: . ${file}`);
}

type LabCluster = {
  readonly name: string;
  readonly namespace: string;
  readonly kubeconfig: string;
};

async function addClusters(lab: LabFile, count: number): Promise<readonly LabCluster[]> {
  if (count === 0) return [];
  progress.action(`creating ${count} ${count === 1 ? "cluster" : "clusters"}`);
  const hub = await clientOf(lab.hubKubeconfig);
  const names = Array.from({ length: count }, (_, i) => ({
    namespace: labNamespace,
    name: `lab-${i + 1}`,
  }));
  await mkdir(join(lab.dir, "kubeconfigs"), { recursive: true });
  const deadlineMs = 60_000 + count * 10_000;
  const clusters = names.map(async (cluster) => {
    await createCluster(hub, cluster, { labels: { env: "lab" } });
    const kubeconfig = join(lab.dir, "kubeconfigs", cluster.name);
    await writeFile(kubeconfig, await clusterKubeconfig(hub, cluster, deadlineMs), { mode: 0o600 });
    await clusterInitialized(hub, cluster, deadlineMs);
    progress.done(`cluster ${cluster.name}: ${kubeconfig}`);
    return { ...cluster, kubeconfig };
  });
  const done = await Promise.all(clusters);
  await hub.close();
  return done;
}

function printJson(
  lab: LabFile,
  clusters: readonly LabCluster[],
  controller: Controller | undefined,
): void {
  const facts = {
    hub: { kubeconfig: lab.hubKubeconfig },
    registry: lab.registry,
    clusters,
    ...(controller === undefined ? {} : { controller }),
  };
  console.log(JSON.stringify(facts));
}

async function main([verb, ...args]: string[]): Promise<void> {
  if (verb === "up") return up(args);
  if (verb !== "down") throw new Error(usage);
  await stopLab(defaultLabDir);
  progress.done("the lab is down");
}

main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(`✗ ${messageOf(error)}`);
  process.exitCode = 1;
});
