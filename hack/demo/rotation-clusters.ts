// The clusters of the third act: made by commits, with a Flux of their own that opens their secrets.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { asMap, asString } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import type { ClusterName } from "../lab/clusters.ts";
import { fluxResources, fluxSync, startFlux } from "../lab/kustomize.ts";
import { labNamespace } from "../lab/lab.ts";
import { root } from "../lab/paths.ts";
import { progress } from "../lab/progress.ts";
import { resources } from "../lab/resources.ts";
import { until } from "../lab/wait.ts";
import type { Ground } from "./birth.ts";
import { capitan } from "./cli.ts";
import { memberReady, onCluster } from "./clusters.ts";
import { git, person } from "./repository.ts";

/** Whose keys are rotated. The API server of the last one hangs for a while. */
export const rotated: readonly ClusterName[] = ["dev-eu-1", "dev-eu-2", "dev-us-1"].map((name) => ({
  namespace: labNamespace,
  name,
}));
/** The Secrets that each has besides the one of its template. */
const extra = ["database", "mail"];
const stepMaxMs = 180_000;

/** Where the encrypted files of a cluster lie below the directory that CI publishes. */
export const secretsOf = ({ name }: ClusterName) => `clusters/${name}/secrets`;

/** Makes the clusters, and waits until each one's own Flux has opened its secrets. */
export async function bringClusters(ground: Ground): Promise<void> {
  const { lab, hub, clone } = ground;
  await addFleet(ground);
  for (const cluster of rotated) {
    progress.action(`capitan create cluster ${cluster.name} --template lab --set environment=dev`);
    const args = ["create", "cluster", cluster.name, "--template", "lab"];
    const set = ["--set", "environment=dev", "--set-file", "adminPassword=-"];
    const input = `admin of ${cluster.name}`;
    await capitan(lab, [...args, ...set], { cwd: clone, env: person, input });
  }
  await addSecrets(ground);
  for (const cluster of rotated) {
    await until(() => onCluster(hub, cluster, hasKustomization), {
      deadlineMs: stepMaxMs,
      what: `Flux on ${cluster.name}`,
      everyMs: 100,
    });
    await startFlux(lab, cluster.name, progress);
  }
  for (const cluster of rotated) {
    await memberReady(hub, "development", cluster, stepMaxMs);
    await until(() => onCluster(hub, cluster, hasSecrets), {
      deadlineMs: stepMaxMs,
      what: `the secrets on ${cluster.name}`,
      everyMs: 100,
    });
    progress.done(`the kustomize-controller of ${cluster.name} has decrypted its secrets`);
  }
}

async function addFleet({ lab, clone }: Ground): Promise<void> {
  const text = await readFile(join(root, "hack", "demo", "development.yaml"), "utf8");
  const file = join(clone, "management", "fleets", "development.yaml");
  await writeFile(file, text.replaceAll("registry.example", lab.registry));
  await push(clone, "Clusters for development, which decrypt for themselves");
  progress.done("committed a Fleet whose clusters have a Flux of their own, with decryption");
}

/** More Secrets, encrypted as `.sops.yaml` says: to the manager and to their cluster. */
async function addSecrets({ lab, clone }: Ground): Promise<void> {
  for (const cluster of rotated) {
    const dir = join(clone, "config", secretsOf(cluster));
    await mkdir(dir, { recursive: true });
    for (const name of extra) {
      const metadata = { name, namespace: "default" };
      const stringData = { password: `${name} of ${cluster.name}` };
      const secret = { apiVersion: "v1", kind: "Secret", metadata, stringData };
      await writeFile(join(dir, `${name}.sops.yaml`), `${JSON.stringify(secret)}\n`);
    }
  }
  await capitan(lab, ["secrets", "encrypt", "--in-place", "config/clusters"], { cwd: clone });
  await push(clone, "Their secrets");
}

async function push(clone: string, message: string): Promise<void> {
  await git(clone, "add", "--all");
  await git(clone, "commit", "--quiet", "--message", message);
  await git(clone, "push", "--quiet", "origin", "HEAD:main");
}

const hasKustomization = (client: KubeClient) => client.get(fluxResources.kustomization, fluxSync);

async function hasSecrets(client: KubeClient): Promise<boolean> {
  const found = ["admin", ...extra].map((name) =>
    client.get(resources.secret, { namespace: "default", name }, { metadataOnly: true }),
  );
  return (await Promise.all(found)).every((secret) => secret !== undefined);
}

/** The digest of what the Flux of a cluster has applied. */
export function appliedDigest(hub: KubeClient, cluster: ClusterName): Promise<string> {
  return onCluster(hub, cluster, async (client) => {
    const status = asMap((await hasKustomization(client))?.["status"]);
    return /sha256:[0-9a-f]{64}$/.exec(asString(status["lastAppliedRevision"]) ?? "")?.[0] ?? "";
  });
}
