import type { KubeClient } from "../../pkg/kube/index.ts";
import { labNamespace } from "./lab.ts";
import { startManagers, type Manager } from "./managers.ts";
import { assertFree } from "./ports.ts";
import type { Progress } from "./progress.ts";
import { resources } from "./resources.ts";
import type { LabFile } from "./state.ts";
import { ensureTool } from "./tools.ts";

/** The Kubernetes version of every cluster here. */
const version = "v1.36.3";

/** Machines take no time worth speaking of. */
const provisioning = { startupDuration: "1s" };

const programs = {
  "kubeadm-bootstrap": "capi-kubeadm-bootstrap",
  "kubeadm-control-plane": "capi-kubeadm-control-plane",
  docker: "capi-in-memory",
} as const;

/**
 * Adds Cluster API's own providers to the hub of a lab: kubeadm, and the in-memory backend of the
 * Docker provider, without Docker. Its clusters are a port each of one process: they have machines and
 * nodes, and an API server that keeps a few kinds and knows no server-side apply. They need no memory
 * worth speaking of, so a small machine has many. They are where the lab's own clusters would be.
 */
export async function startInMemoryProvider(
  lab: LabFile,
  hub: KubeClient,
  progress: Progress,
): Promise<void> {
  const { firstWorkload, lastWorkload } = lab.ports;
  const debug = lastWorkload;
  const clusters = [`--first-port=${firstWorkload}`, `--last-port=${lastWorkload - 10}`];
  const managers: Manager[] = [];
  for (const [i, provider] of (
    ["kubeadm-bootstrap", "kubeadm-control-plane", "docker"] as const
  ).entries()) {
    const process = programs[provider];
    const first = lastWorkload - 9 + 3 * i;
    managers.push({
      provider,
      process,
      command: await ensureTool(process, progress),
      ports: { webhook: first, health: first + 1, diagnostics: first + 2 },
      ...(provider === "docker" ? { flags: [...clusters, `--debug-port=${debug}`] } : {}),
    });
  }
  await assertFree(debug, "the in-memory provider");
  await startManagers(lab.dir, hub, managers);
}

/** Applies the objects of one in-memory cluster with one machine. */
export async function createInMemoryCluster(
  hub: KubeClient,
  name: string,
  labels: Readonly<Record<string, string>>,
): Promise<void> {
  for (const [resource, spec] of objectsOf(name)) {
    const { group, version: served, kind } = resource;
    // The provider falls over a DevCluster without annotations.
    const annotations = { "lab.capitan.dev/in-memory": "true" };
    const metadata = {
      name,
      namespace: labNamespace,
      annotations,
      ...(kind === "Cluster" ? { labels } : {}),
    };
    const object = { apiVersion: `${group}/${served}`, kind, metadata, spec };
    await hub.apply(resource, object, { manager: "capitan-lab" });
  }
}

function objectsOf(name: string) {
  const ref = ({ group, kind }: { group: string; kind: string }) => ({
    apiGroup: group,
    kind,
    name,
  });
  const vm = {
    vm: { provisioning },
    node: { provisioning },
    apiServer: { provisioning },
    etcd: { provisioning },
  };
  const { devCluster, devMachineTemplate, kubeadmControlPlane, cluster } = resources;
  return [
    [devCluster, { backend: { inMemory: {} } }],
    [devMachineTemplate, { template: { spec: { backend: { inMemory: vm } } } }],
    [
      kubeadmControlPlane,
      {
        version,
        replicas: 1,
        machineTemplate: { spec: { infrastructureRef: ref(devMachineTemplate) } },
        kubeadmConfigSpec: { clusterConfiguration: { apiServer: { certSANs: ["127.0.0.1"] } } },
      },
    ],
    [cluster, { infrastructureRef: ref(devCluster), controlPlaneRef: ref(kubeadmControlPlane) }],
  ] as const;
}
