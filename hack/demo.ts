// The demo. Act 1: a management cluster, Flux as an OCI artifact, a Fleet, then two Clusters one after
// the other, each of which ends with the whole of Flux on it. Act 2: somebody deletes a Deployment and
// edits a ConfigMap on a workload cluster. Act 3: both clusters get their own configuration and secrets
// from one source. usage: npm run demo -- [--keep] [--json]
import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { conditionOf, type FleetMember } from "../pkg/api/index.ts";
import { messageOf } from "../pkg/errors/index.ts";
import { asMap } from "../pkg/json/index.ts";
import { connect, type KubeClient } from "../pkg/kube/index.ts";
import { parseWorkloadKubeconfig } from "../pkg/kubeconfig/index.ts";
import { parseManifests, type KubeObject } from "../pkg/object/index.ts";
import { fluxManifests, fluxVersion } from "./flux-manifests.ts";
import { clientOf } from "./lab/apiserver.ts";
import { showConfiguration } from "./demo-configuration.ts";
import { repairTime } from "./drift.ts";
import { clusterKubeconfig, createTopologyCluster, type ClusterName } from "./lab/clusters.ts";
import { startController } from "./lab/controller.ts";
import { labNamespace, startLab, stopLab } from "./lab/lab.ts";
import { defaultLabDir, root } from "./lab/paths.ts";
import { progress } from "./lab/progress.ts";
import { resources } from "./lab/resources.ts";
import type { LabFile } from "./lab/state.ts";
import { until } from "./lab/wait.ts";

/** The clusters of the demo, with what makes them differ. */
const clusters = [
  { name: "demo-1", region: "eu", tier: "standard" },
  { name: "demo-2", region: "us", tier: "standard" },
] as const;
const readyMs = 120_000;

/** One row of the table at the end. */
type Row = {
  readonly name: string;
  readonly namespace: string;
  readonly ready: boolean;
  readonly fluxVersion: string;
  readonly objects: number;
  readonly installMs: number;
};

async function demo({ keep, json }: { keep: boolean; json: boolean }): Promise<void> {
  const startedMs = performance.now();
  const lab = await startLab({ dir: defaultLabDir, progress, standIn: "300ms", audit: true });
  const hub = await clientOf(lab.hubKubeconfig);
  try {
    const controller = await startController(lab);
    progress.done(
      `Capitan's controller runs, pid ${controller.pid}, with the rights of its ServiceAccount`,
    );
    await pushFlux(lab);
    await applyFleet(lab, hub);
    const rows: Row[] = [];
    for (const cluster of clusters)
      rows.push(await installOn(hub, { namespace: labNamespace, ...cluster }));
    const names = clusters.map(({ name }) => ({ namespace: labNamespace, name }));
    const drift = await showDrift(hub, { namespace: labNamespace, name: clusters[0].name });
    const configuration = await showConfiguration(lab, hub, names);
    const seconds = Math.round((performance.now() - startedMs) / 1000);
    print(
      ["CLUSTER", "FLUX", "OBJECTS", "KUBECONFIG → LAST OBJECT", "READY"],
      rows.map((r) => [
        r.name,
        r.fluxVersion,
        String(r.objects),
        `${(r.installMs / 1000).toFixed(2)} s`,
        r.ready ? "True" : "False",
      ]),
    );
    print(
      ["SOMEBODY", "OBJECT", "PUT BACK AFTER"],
      drift.map(({ act, object, ms }) => [act, object, `${ms.toFixed(1)} ms`]),
    );
    const { change } = configuration;
    print(
      [
        "CLUSTER",
        "REGION",
        "TIER",
        "SECRET",
        `WRITTEN WHEN THE ${change.what.toUpperCase()} CHANGED`,
      ],
      configuration.clusters.map(({ name, region, tier, password }) => [
        name,
        region,
        tier,
        password,
        objects(change.writes[name] ?? 0),
      ]),
    );
    progress.done(`done after ${seconds} s`);
    if (keep) advise(lab);
    const repairMs = drift.map(({ ms }) => Math.round(ms * 10) / 10);
    const result = { clusters: rows, drift: { repairMs }, configuration };
    if (json) process.stdout.write(`${JSON.stringify(result)}\n`);
  } finally {
    await hub.close();
    if (!keep) await stopLab(defaultLabDir);
  }
}

/** The CLI does it, as a CI job would. */
async function pushFlux(lab: LabFile): Promise<void> {
  const { text, origin } = await fluxManifests();
  const dir = join(lab.dir, "flux-manifests");
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, "gotk-components.yaml"), text);
  const url = `oci://${lab.registry}/flux-manifests:${fluxVersion}`;
  const args = [
    join(root, "cmd", "capitan", "main.ts"),
    "push",
    "artifact",
    url,
    "--path",
    dir,
    "--insecure",
    "--source",
    "https://github.com/fluxcd/flux2",
    "--revision",
    fluxVersion,
  ];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  progress.done(
    `pushed Flux ${fluxVersion} (${Math.round(text.length / 1024)} KiB from ${origin})`,
  );
  progress.done(`  ${stdout.trim()}`);
}

async function applyFleet(lab: LabFile, hub: KubeClient): Promise<void> {
  const file = join(root, "clusters", "demo", "fleet.yaml");
  const text = (await readFile(file, "utf8")).replaceAll("REGISTRY", lab.registry);
  for (const object of parseManifests(text, file))
    await hub.apply(resources.fleet, object, { manager: "capitan-demo" });
  progress.done(
    "applied clusters/demo/fleet.yaml: Fleet platform, for every Cluster with env=demo",
  );
}

/** Creates a Cluster and follows it until its member is Ready. */
async function installOn(
  hub: KubeClient,
  { region, tier, ...cluster }: ClusterName & { readonly region: string; readonly tier: string },
): Promise<Row> {
  progress.action(`creating Cluster ${cluster.name}, region ${region}, tier ${tier}`);
  await createTopologyCluster(hub, cluster, { tier }, { labels: { env: "demo", region } });
  const secretName = { namespace: cluster.namespace, name: `${cluster.name}-kubeconfig` };
  await until(() => hub.get(resources.secret, secretName, { metadataOnly: true }), {
    deadlineMs: readyMs,
    what: `the kubeconfig of ${cluster.name}`,
    everyMs: 5,
  });
  const kubeconfigAtMs = Date.now();
  progress.done(`${cluster.name} has an API server and a kubeconfig Secret`);
  let said = "";
  const member = await until(
    async () => {
      const found = await memberOf(hub, cluster);
      const ready = conditionOf(found?.status?.conditions, "Ready");
      if (ready !== undefined && ready.message !== said) {
        said = ready.message;
        progress.action(`${cluster.name}: ${said}`);
      }
      return ready?.status === "True" ? found : undefined;
    },
    { deadlineMs: readyMs, what: `${cluster.name} to be Ready`, everyMs: 20 },
  );
  progress.done(`${cluster.name} is Ready`);
  const flux = member.status?.layers?.find((layer) => layer.name === "flux");
  const lastAppliedMs = Date.parse(member.status?.lastAppliedTime ?? "");
  return {
    ...cluster,
    ready: true,
    fluxVersion: flux?.revision ?? "",
    objects: member.status?.objects ?? 0,
    installMs: lastAppliedMs - kubeconfigAtMs,
  };
}

/** Act 2: somebody works on the cluster by hand; the times until it is as declared again. */
async function showDrift(hub: KubeClient, cluster: ClusterName): Promise<readonly Repair[]> {
  const kubeconfig = await clusterKubeconfig(hub, cluster);
  const client = connect(parseWorkloadKubeconfig(kubeconfig, cluster.name));
  const found = { namespace: "flux-system", name: "" };
  try {
    const repairs: Repair[] = [];
    for (const { act, resource, name, change, isBack } of driftActs) {
      const object = `${resource.kind}/${name}`;
      progress.action(`somebody ${act} ${object} on ${cluster.name}`);
      const ms = await repairTime(
        client,
        resource,
        { ...found, name },
        { act: change, isUndone: isBack },
      );
      progress.done(`${object} on ${cluster.name} is back after ${ms.toFixed(1)} ms`);
      repairs.push({ act, object, ms });
    }
    return repairs;
  } finally {
    await client.close();
  }
}

type Repair = { readonly act: string; readonly object: string; readonly ms: number };

const greetingOf = (object: KubeObject) => asMap(object["data"])["hello"];
const driftActs = [
  {
    act: "deletes",
    resource: resources.deployment,
    name: "source-controller",
    change: (client: KubeClient, live: KubeObject) => client.delete(resources.deployment, live),
    isBack: (now: KubeObject, before: KubeObject) => now.metadata.uid !== before.metadata.uid,
  },
  {
    act: "edits",
    resource: resources.configMap,
    name: "greeting",
    change: (client: KubeClient, live: KubeObject) =>
      client.mergePatch(
        resources.configMap,
        live.metadata,
        { data: { hello: "from somebody" } },
        { manager: "kubectl-edit" },
      ),
    isBack: (now: KubeObject) => greetingOf(now) === "from Capitan",
  },
] as const;

async function memberOf(hub: KubeClient, cluster: ClusterName): Promise<FleetMember | undefined> {
  const { items } = await hub.list(resources.fleetMember, { namespace: cluster.namespace });
  const isMember = (object: KubeObject) =>
    (object as unknown as FleetMember).spec.clusterRef.name === cluster.name;
  return items.find(isMember) as FleetMember | undefined;
}

const objects = (count: number) =>
  count === 0 ? "nothing" : `${count} object${count === 1 ? "" : "s"}`;

function print(headers: readonly string[], rows: readonly (readonly string[])[]): void {
  const cells = [headers, ...rows];
  const widths =
    cells[0]?.map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0))) ?? [];
  const lines = cells.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join("   ")
      .trimEnd(),
  );
  process.stdout.write(`\n${lines.join("\n")}\n\n`);
}

function advise(lab: LabFile): void {
  const lines = [
    `export KUBECONFIG=${lab.hubKubeconfig}`,
    "npm run --silent capitan -- get members",
    "npm run --silent capitan -- describe member demo-1",
    "npm run lab -- down",
  ];
  process.stderr.write(
    `The lab stays up. Look around, then end it:\n${lines.map((line) => `  ${line}\n`).join("")}`,
  );
}

const { values } = parseArgs({
  options: { keep: { type: "boolean", default: false }, json: { type: "boolean", default: false } },
});
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    process.stderr.write("\nending the lab\n");
    void stopLab(defaultLabDir).finally(() => process.exit(130));
  });
}
demo(values).then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(
      `✗ ${messageOf(error)}\n  logs are in ${dirname(join(defaultLabDir, "log", "x"))} when the lab is kept: npm run demo -- --keep\n`,
    );
    process.exit(1);
  },
);
