import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { parseManifests } from "../../pkg/object/index.ts";
import { clientOf } from "./apiserver.ts";
import { silent } from "./progress.ts";
import { resources } from "./resources.ts";
import type { LabFile } from "./state.ts";
import { ensureTool, moduleDir } from "./tools.ts";
import { until } from "./wait.ts";

const manager = "clusterctl";
/** clusterctl itself gives an object that blocks a move two minutes and a half. */
const moveMs = 200_000;

/**
 * Moves the Clusters of a namespace, with all that belongs to them, from one hub to another by the
 * real `clusterctl move`. Their API servers go on: processes and data stay in the lab `from`, so that
 * lab has to live as long as they do. Throws with clusterctl's last lines when it fails.
 */
export async function moveClusters(from: LabFile, to: LabFile, namespace: string): Promise<void> {
  await Promise.all([addInventory(from), addInventory(to)]);
  const clusterctl = await ensureTool("clusterctl", silent);
  const hubs = ["--kubeconfig", from.hubKubeconfig, "--to-kubeconfig", to.hubKubeconfig];
  // It may neither look on the internet for a newer self, nor write into the home directory.
  const config = { XDG_CONFIG_HOME: join(from.dir, "clusterctl") };
  await promisify(execFile)(clusterctl, ["move", ...hubs, "--namespace", namespace], {
    env: { ...process.env, ...config, CLUSTERCTL_DISABLE_VERSIONCHECK: "true" },
    timeout: moveMs,
  }).catch((error: unknown) => {
    const { stderr = "" } = error as { stderr?: string };
    throw new Error(`clusterctl move failed: ${stderr.trimEnd().slice(-1500)}`, { cause: error });
  });
}

/** What `clusterctl init` leaves on a hub: it compares this with the other hub's before it moves. */
async function addInventory(lab: LabFile): Promise<void> {
  const dir = await moduleDir("capi", "sigs.k8s.io/cluster-api");
  const file = join(dir, "cmd", "clusterctl", "config", "manifest", "clusterctl-api.yaml");
  const hub = await clientOf(lab.hubKubeconfig);
  try {
    for (const crd of parseManifests(await readFile(file, "utf8"), file))
      await hub.apply(resources.crd, crd, { manager, metadataOnly: true });
    await until(() => hub.list(resources.provider), {
      deadlineMs: 15_000,
      what: "clusterctl's inventory to be served",
    });
    await addProvider(hub, "capi-system", {
      name: "cluster-api",
      type: "CoreProvider",
      providerName: "cluster-api",
      version: basename(dir).replace("cluster-api@", ""),
    });
    for (const [prefix, type] of [
      ["infrastructure", "InfrastructureProvider"],
      ["control-plane", "ControlPlaneProvider"],
    ] as const)
      await addProvider(hub, "capi-lab-system", {
        name: `${prefix}-lab`,
        type,
        providerName: "lab",
        version: "v1.0.0",
      });
  } finally {
    await hub.close();
  }
}

type ProviderEntry = {
  readonly name: string;
  readonly type: string;
  readonly providerName: string;
  readonly version: string;
};

async function addProvider(
  hub: KubeClient,
  namespace: string,
  { name, ...entry }: ProviderEntry,
): Promise<void> {
  const place = { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } };
  await hub.apply(resources.namespace, place, { manager });
  const { group, version, kind } = resources.provider;
  const provider = {
    apiVersion: `${group}/${version}`,
    kind,
    metadata: { namespace, name },
    ...entry,
  };
  await hub.apply(resources.provider, provider, { manager });
}
