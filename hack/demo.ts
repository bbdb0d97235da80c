// The demo, in acts. birth: a repository, a cluster that is a commit, and everything that follows from it.
// fleet: what clusters run is put there, stays as declared, and differs from cluster to cluster.
// usage: npm run demo -- [--act birth|fleet] [--keep] [--json]
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { messageOf } from "../pkg/errors/index.ts";
import type { KubeClient } from "../pkg/kube/index.ts";
import { showBirth } from "./demo/birth.ts";
import { showConfiguration, type Configuration } from "./demo/configuration.ts";
import { showDrift } from "./demo/drift.ts";
import { pushFlux } from "./demo/flux.ts";
import { showInstall } from "./demo/install.ts";
import { printTable } from "./demo/table.ts";
import { clientOf } from "./lab/apiserver.ts";
import { startController } from "./lab/controller.ts";
import { registryTells } from "./lab/fleet.ts";
import { startLab, stopLab } from "./lab/lab.ts";
import { defaultLabDir } from "./lab/paths.ts";
import { progress } from "./lab/progress.ts";
import type { LabFile } from "./lab/state.ts";

/** In the order in which they are shown; each gives its part of the JSON result. */
const acts = { birth, fleet };
type Act = keyof typeof acts;

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
    for (const act of chosen) result = { ...result, ...(await acts[act](lab, hub)) };
    progress.done(`done after ${Math.round((performance.now() - startedMs) / 1000)} s`);
    if (how.keep) advise(lab);
    if (how.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  } finally {
    await hub.close();
    if (!how.keep) await stopLab(defaultLabDir);
  }
}

async function birth(lab: LabFile, hub: KubeClient): Promise<object> {
  const shown = await showBirth(lab, hub);
  const steps = Object.entries(shown.stepsMs);
  printTable(
    ["FROM THE COMMAND", "AFTER"],
    steps.map(([step, ms]) => [step, `${(ms / 1000).toFixed(2)} s`]),
  );
  return { birth: shown };
}

async function fleet(lab: LabFile, hub: KubeClient): Promise<object> {
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

function advise(lab: LabFile): void {
  const lines = [
    `export KUBECONFIG=${lab.hubKubeconfig}`,
    "npm run --silent capitan -- get members",
    "npm run --silent capitan -- describe member CLUSTER",
    "npm run lab -- down",
  ];
  process.stderr.write(
    `The lab stays up. Look around, then end it:\n${lines.map((line) => `  ${line}\n`).join("")}`,
  );
}

const { values } = parseArgs({
  options: {
    act: { type: "string" },
    keep: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const all = Object.keys(acts) as Act[];
const chosen = all.filter((act) => values.act === undefined || values.act === act);
if (chosen.length === 0) {
  process.stderr.write(`✗ --act ${values.act ?? ""}: there are ${all.join(" and ")}\n`);
  process.exit(1);
}
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    process.stderr.write("\nending the lab\n");
    void stopLab(defaultLabDir).finally(() => process.exit(130));
  });
}
demo(chosen, values).then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(
      `✗ ${messageOf(error)}\n  logs are in ${dirname(join(defaultLabDir, "log", "x"))} when the lab is kept: npm run demo -- --keep\n`,
    );
    process.exit(1);
  },
);
