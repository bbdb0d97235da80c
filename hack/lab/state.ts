import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Ports } from "./ports.ts";

/** What a running lab writes down about itself, in `lab.json`. */
export type LabFile = {
  readonly dir: string;
  readonly ports: Ports;
  /** Path of the hub's admin kubeconfig. */
  readonly hubKubeconfig: string;
  /** host:port of the OCI registry, plain HTTP. */
  readonly registry: string;
  /** Whether every API server writes an audit log. */
  readonly audit: boolean;
  /** Whether API servers have memory as Go wants it. */
  readonly plentyOfMemory: boolean;
  /** Whether the hub has an etcd of its own, or a prefix in the one of the workload clusters. */
  readonly hubEtcd: "own" | "shared";
};

const fileOf = (labDir: string) => join(labDir, "lab.json");

export async function writeLab(lab: LabFile): Promise<void> {
  await writeFile(fileOf(lab.dir), JSON.stringify(lab, undefined, 2));
}

/** Throws when there is no lab in the directory. */
export async function readLab(labDir: string): Promise<LabFile> {
  const text = await readFile(fileOf(labDir), "utf8").catch(() => {
    throw new Error(`there is no lab in ${labDir}: npm run lab -- up`);
  });
  return JSON.parse(text) as LabFile;
}
