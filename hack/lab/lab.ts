import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { clientOf, serverDir, startApiServer, startEtcd } from "./apiserver.ts";
import { startCapi } from "./capi.ts";
import { etcdPortOf } from "./etcd.ts";
import { root } from "./paths.ts";
import { claimPorts, releasePorts } from "./ports.ts";
import { launch, recorded, stop } from "./processes.ts";
import type { Progress } from "./progress.ts";
import { startRegistry, type RegistryOptions } from "./registry.ts";
import { resources } from "./resources.ts";
import { readLab, writeLab, type LabFile } from "./state.ts";
import { ensureTools, type Tools } from "./tools.ts";

/** The namespace of the lab's clusters, and its controller's platform namespace. */
export const labNamespace = "fleet";

export type LabOptions = {
  readonly dir: string;
  readonly progress: Progress;
  /** How long a Deployment takes to turn Available: a duration, or "off". */
  readonly standIn?: string;
  /** More flags for the hub's kube-apiserver. */
  readonly hubFlags?: readonly string[];
  /** Every API server writes an audit log of level Metadata: see `auditFile`. */
  readonly audit?: boolean;
  /** Every API server has memory as Go wants it, as in production: by default each is kept small, which costs CPU time. */
  readonly plentyOfMemory?: boolean;
  /** Whom the registry tells of each push. */
  readonly registryTells?: (lab: LabFile) => NonNullable<RegistryOptions["notify"]>;
  /** `own` gives the hub an etcd of its own, whose data `copyHubEtcd` and `restoreHubEtcd` roll back. */
  readonly hubEtcd?: "own" | "shared";
};

/**
 * Starts the management cluster: etcd, kube-apiserver, garbage collector, the CAPI core manager, the
 * lab provider, the stand-in and an OCI registry, all on loopback, all recorded under `dir`.
 * Whatever was there before is ended first; when something fails, everything is.
 */
export async function startLab(options: LabOptions): Promise<LabFile> {
  const { dir, progress } = options;
  const tools = await ensureTools(progress);
  await stopLab(dir);
  await mkdir(dir, { recursive: true });
  progress.action("starting the management cluster: etcd, kube-apiserver, Cluster API, registry");
  const ports = await claimPorts(dir);
  try {
    const lab: LabFile = {
      dir,
      ports,
      hubKubeconfig: join(serverDir(dir, "hub"), "kubeconfig"),
      registry: `127.0.0.1:${ports.registry}`,
      audit: options.audit ?? false,
      plentyOfMemory: options.plentyOfMemory ?? false,
      hubEtcd: options.hubEtcd ?? "shared",
    };
    await writeLab(lab);
    await Promise.all([
      startRegistry(dir, tools.registry, {
        name: "registry",
        port: ports.registry,
        ...(options.registryTells === undefined ? {} : { notify: options.registryTells(lab) }),
      }),
      startHub(lab, tools, options.hubFlags ?? []),
    ]);
    const hub = await clientOf(lab.hubKubeconfig);
    await startHubServices(lab, hub, tools, options.standIn ?? "200ms");
    await hub.close();
    progress.done(`management cluster is up: export KUBECONFIG=${lab.hubKubeconfig}`);
    return lab;
  } catch (error) {
    await stopLab(dir);
    throw error;
  }
}

async function startHub(lab: LabFile, tools: Tools, flags: readonly string[]): Promise<void> {
  const { dir, ports, audit, plentyOfMemory } = lab;
  await startEtcd(dir, tools.etcd, ports);
  if (lab.hubEtcd === "own") await startEtcd(dir, tools.etcd, ports, "etcd-hub");
  await startApiServer(dir, tools["kube-apiserver"], {
    name: "hub",
    port: ports.hub,
    etcdPort: etcdPortOf(lab, "hub"),
    audit,
    plentyOfMemory,
    flags,
  });
}

async function startHubServices(
  lab: LabFile,
  hub: KubeClient,
  tools: Tools,
  standIn: string,
): Promise<void> {
  await startCapi(lab.dir, tools, lab.ports, hub);
  await hub.apply(
    resources.namespace,
    { apiVersion: "v1", kind: "Namespace", metadata: { name: labNamespace } },
    { manager: "capitan-lab" },
  );
  const script = (name: string) => join(root, "hack", "lab", `${name}.ts`);
  await launch(lab.dir, {
    name: "provider",
    command: process.execPath,
    args: [script("provider"), lab.dir],
  });
  await launch(lab.dir, {
    name: "stand-in",
    command: process.execPath,
    args: [script("stand-in"), lab.dir, standIn],
  });
}

/** Ends every recorded process of a lab by its pid, etcd last, and removes its files. Safe at any time, also after a kill. */
export async function stopLab(dir: string): Promise<void> {
  // First those who would start or write something, then API servers, then what they stand on.
  const order = [
    /^(controller|receiver|ci|provider|stand-in|source-|capi-|kube-controller-manager|kustomize-controller)/,
    /^(apiserver-|registry)/,
    /./,
  ];
  for (const pattern of order) {
    const names = (await recorded(dir)).filter((name) => pattern.test(name));
    await Promise.all(names.map((name) => stop(dir, name)));
  }
  const lab = await readLab(dir).catch(() => undefined);
  if (lab !== undefined) await releasePorts(lab.ports);
  await rm(dir, { recursive: true, force: true });
}
