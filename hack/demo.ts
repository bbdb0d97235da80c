// The demo, in acts. birth: a repository, a cluster that is a commit, and everything that follows from it.
// fleet: what clusters run is put there, stays as declared, and differs from cluster to cluster.
// rotation: every cluster gets a new key, and the old one opens nothing any more.
// usage: npm run demo -- [--act birth|fleet|rotation]... [--keep] [--json]
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { messageOf } from "../pkg/errors/index.ts";
import type { KubeClient } from "../pkg/kube/index.ts";
import { prepare, showBirth, type Ground } from "./demo/birth.ts";
import { showConfiguration, type Configuration } from "./demo/configuration.ts";
import { showDrift } from "./demo/drift.ts";
import { pushFlux } from "./demo/flux.ts";
import { showInstall } from "./demo/install.ts";
import { showRotation } from "./demo/rotation.ts";
import { proofAdvice } from "./demo/rotation-proof.ts";
import { printTable } from "./demo/table.ts";
import { clientOf } from "./lab/apiserver.ts";
import { startController } from "./lab/controller.ts";
import { registryTells } from "./lab/fleet.ts";
import { startLab, stopLab } from "./lab/lab.ts";
import { defaultLabDir } from "./lab/paths.ts";
import { progress } from "./lab/progress.ts";
import type { LabFile } from "./lab/state.ts";

/** In the order in which they are shown; each gives its part of the JSON result. */
const acts = { birth, fleet, rotation };
type Act = keyof typeof acts;

/** What the acts share. */
type Stage = {
  readonly lab: LabFile;
  readonly hub: KubeClient;
  /** A Git server, CI and a bootstrapped fleet: made by the act that needs it first. */
  readonly ground: () => Promise<Ground>;
};

function stageOf(lab: LabFile, hub: KubeClient): Stage {
  let ground: Promise<Ground> | undefined;
  return { lab, hub, ground: () => (ground ??= prepare(lab, hub)) };
}

async function demo(chosen: readonly Act[], how: { keep: boolean; json: boolean }): Promise<void> {
  const startedMs = performance.now();
  const lab = await startLab({
    dir: defaultLabDir,
    progress,
    standIn: "300ms",
    audit: true,
    registryTells,
  });
  const hub = await clientOf(lab.hubKubeconfig);
  try {
    const controller = await startController(lab);
    progress.done(
      `Capitan's controller runs, pid ${controller.pid}, with the rights of its ServiceAccount`,
    );
    await pushFlux(lab);
    let result = {};
    const stage = stageOf(lab, hub);
    for (const act of chosen) result = { ...result, ...(await acts[act](stage)) };
    progress.done(`done after ${Math.round((performance.now() - startedMs) / 1000)} s`);
    if (how.keep) advise(lab, chosen.includes("rotation") ? await proofAdvice(lab) : []);
    if (how.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  } finally {
    await hub.close();
    if (!how.keep) await stopLab(defaultLabDir);
  }
}

async function birth({ ground }: Stage): Promise<object> {
  const shown = await showBirth(await ground());
  const steps = Object.entries(shown.stepsMs);
  printTable(
    ["FROM THE COMMAND", "AFTER"],
    steps.map(([step, ms]) => [step, `${(ms / 1000).toFixed(2)} s`]),
  );
  return { birth: shown };
}

async function fleet({ lab, hub }: Stage): Promise<object> {
  const clusters = await showInstall(lab, hub);
  const [first] = clusters;
  if (first === undefined) throw new Error("there is no cluster");
  const drift = await showDrift(hub, first);
  const configuration = await showConfiguration(lab, hub, clusters);
  printTable(
    ["CLUSTER", "FLUX", "OBJECTS", "KUBECONFIG → LAST OBJECT", "READY"],
    clusters.map((r) => [
      r.name,
      r.fluxVersion,
      String(r.objects),
      `${(r.installMs / 1000).toFixed(2)} s`,
      r.ready ? "True" : "False",
    ]),
  );
  printTable(
    ["SOMEBODY", "OBJECT", "PUT BACK AFTER"],
    drift.map(({ act, object, ms }) => [act, object, `${ms.toFixed(1)} ms`]),
  );
  printConfiguration(configuration);
  const repairMs = drift.map(({ ms }) => Math.round(ms * 10) / 10);
  return { clusters, drift: { repairMs }, configuration };
}

async function rotation({ ground }: Stage): Promise<object> {
  const { clusters, tried, ms } = await showRotation(await ground());
  const isProven = ({ proof, generation }: (typeof clusters)[number]) =>
    generation !== undefined && proof?.generation === generation;
  printTable(
    ["CLUSTER", "GENERATION", "PROVEN", "BY"],
    clusters.map((one) => [
      one.name,
      String(one.generation ?? "-"),
      isProven(one) ? "True" : "False",
      `its Flux, at ${one.proof?.revision.slice(0, 19) ?? "-"}`,
    ]),
  );
  printTable(
    ["SOPS OVER", "FILES", "OPEN WITH AN OLD KEY", "OPEN WITH THE NEW"],
    tried.map(({ where, files, oldKeyOpens, newKeyOpens }) => [
      where,
      String(files),
      String(oldKeyOpens),
      String(newKeyOpens),
    ]),
  );
  const sum = (of: (one: (typeof tried)[number]) => number) =>
    tried.reduce((total, one) => total + of(one), 0);
  const result = {
    clusters: clusters.length,
    clustersProven: clusters.filter(isProven).length,
    files: sum(({ files }) => files),
    filesOldKeyOpens: sum(({ oldKeyOpens }) => oldKeyOpens),
    filesNewKeyOpens: sum(({ newKeyOpens }) => newKeyOpens),
    ms,
  };
  return { rotation: result };
}

function printConfiguration({ clusters, change }: Configuration): void {
  const written = `WRITTEN WHEN THE ${change.what.toUpperCase()} CHANGED`;
  printTable(
    ["CLUSTER", "REGION", "TIER", "SECRET", written],
    clusters.map(({ name, region, tier, password }) => [
      name,
      region,
      tier,
      password,
      objects(change.writes[name] ?? 0),
    ]),
  );
}

const objects = (count: number) =>
  count === 0 ? "nothing" : `${count} object${count === 1 ? "" : "s"}`;

function advise(lab: LabFile, more: readonly string[]): void {
  const lines = [
    `export KUBECONFIG=${lab.hubKubeconfig}`,
    "npm run --silent capitan -- get members",
    "npm run --silent capitan -- describe member CLUSTER",
    ...more,
    "npm run lab -- down",
  ];
  process.stderr.write(
    `The lab stays up. Look around, then end it:\n${lines.map((line) => `  ${line}\n`).join("")}`,
  );
}

const { values } = parseArgs({
  options: {
    act: { type: "string", multiple: true },
    keep: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const all = Object.keys(acts) as Act[];
const unknown = values.act?.find((act) => !(all as readonly string[]).includes(act));
if (unknown !== undefined) {
  process.stderr.write(`✗ --act ${unknown}: there are ${all.join(", ")}\n`);
  process.exit(1);
}
const chosen = all.filter((act) => values.act?.includes(act) ?? true);
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    process.stderr.write("\nending the lab\n");
    void stopLab(defaultLabDir).finally(() => process.exit(130));
  });
}
demo(chosen, values).catch((error: unknown) => {
  process.stderr.write(
    `✗ ${messageOf(error)}\n  logs are in ${dirname(join(defaultLabDir, "log", "x"))} when the lab is kept: npm run demo -- --keep\n`,
  );
  process.exitCode = 1;
});
