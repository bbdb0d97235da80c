// Two clusters get different configuration and different secrets from one artifact,
// and when one fact of one cluster changes, only that cluster is written to.
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { asMap, asString } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { parseManifests } from "../../pkg/object/index.ts";
import { auditOf, writes } from "../lab/audit.ts";
import type { ClusterName } from "../lab/clusters.ts";
import { labNamespace } from "../lab/lab.ts";
import { root } from "../lab/paths.ts";
import { progress } from "../lab/progress.ts";
import { resources } from "../lab/resources.ts";
import type { LabFile } from "../lab/state.ts";
import { until } from "../lab/wait.ts";
import { capitan } from "./cli.ts";
import { memberReady, onCluster } from "./clusters.ts";

const readyMs = 60_000;
const passwords = { eu: "Seestrasse-12", us: "Main-Street-7" };

/** What one cluster got. */
export type Configured = {
  readonly name: string;
  readonly region: string;
  readonly tier: string;
  readonly password: string;
};

export type Configuration = {
  readonly clusters: readonly Configured[];
  /** What was written to each cluster after one fact of the first had changed. */
  readonly change: { readonly what: string; readonly writes: Readonly<Record<string, number>> };
};

export async function showConfiguration(
  lab: LabFile,
  hub: KubeClient,
  clusters: readonly ClusterName[],
): Promise<Configuration> {
  await pushConfiguration(lab, hub);
  const file = join(root, "hack", "demo", "configuration.yaml");
  const text = (await readFile(file, "utf8")).replaceAll("REGISTRY", lab.registry);
  for (const object of parseManifests(text, file))
    await hub.apply(resources.fleet, object, { manager: "capitan-demo" });
  progress.done("applied hack/demo/configuration.yaml: one source for both clusters");
  const shown: Configured[] = [];
  for (const cluster of clusters) {
    await memberReady(hub, "configuration", cluster, readyMs);
    shown.push(await configured(hub, cluster));
    progress.done(`${cluster.name} has its own settings and its own decrypted Secret`);
  }
  return { clusters: shown, change: await changeOne(lab, hub, clusters) };
}

/** The first act has made the key, if it was shown. */
async function ensureManagerKey(lab: LabFile, hub: KubeClient): Promise<void> {
  const name = { namespace: labNamespace, name: "manager-key" };
  if ((await hub.get(resources.secret, name, { metadataOnly: true })) !== undefined) return;
  const offline = join(lab.dir, "manager.agekey");
  await rm(offline, { force: true });
  await capitan(lab, ["init", "keys", "--namespace", labNamespace, "--out", offline]);
}

/** The CLI makes the manager's key, encrypts and pushes, as a person and a CI job would. */
async function pushConfiguration(lab: LabFile, hub: KubeClient): Promise<void> {
  const dir = join(lab.dir, "configuration");
  await rm(dir, { recursive: true, force: true });
  await mkdir(dir, { recursive: true });
  await cp(join(root, "hack", "demo", "configuration-source"), dir, { recursive: true });
  await ensureManagerKey(lab, hub);
  const rules = await capitan(lab, ["get", "recipients", "--namespace", "fleet", "-o", "sops"]);
  const config = join(lab.dir, "sops.yaml");
  await writeFile(config, rules.replaceAll(/^ *encrypted_regex:.*\n/gm, ""));
  for (const [region, password] of Object.entries(passwords)) {
    const file = join(dir, "values", `${region}.sops.yaml`);
    await writeFile(file, `password: ${password}\n`);
    await capitan(lab, ["secrets", "encrypt", "--in-place", "--config", config, file]);
  }
  progress.done("made the manager's key; encrypted one password for each region");
  const url = `oci://${lab.registry}/configuration:stable`;
  await capitan(lab, ["push", "artifact", url, "--path", dir, "--insecure"]);
  progress.done(`pushed ${url}: templates, values, ciphertext`);
}

function configured(hub: KubeClient, cluster: ClusterName): Promise<Configured> {
  return onCluster(hub, cluster, async (client) => {
    const of = (name: string) => ({ namespace: "shop", name });
    const settings = asMap((await client.get(resources.configMap, of("settings")))?.["data"]);
    const login = asMap((await client.get(resources.secret, of("login")))?.["data"]);
    return {
      name: cluster.name,
      region: asString(settings["region"]) ?? "",
      tier: asString(settings["tier"]) ?? "",
      password: Buffer.from(asString(login["password"]) ?? "", "base64").toString(),
    };
  });
}

/** One variable of the first cluster's topology changes; who is written to is in the audit logs. */
async function changeOne(
  lab: LabFile,
  hub: KubeClient,
  clusters: readonly ClusterName[],
): Promise<Configuration["change"]> {
  const [first] = clusters;
  if (first === undefined) throw new Error("there is no cluster");
  const marks = await Promise.all(
    clusters.map(async ({ name }) => ({ name, mark: await auditOf(lab.dir, name).mark() })),
  );
  progress.action(`somebody sets the topology variable tier of ${first.name} to gold`);
  const variables = [{ name: "tier", value: "gold" }];
  await hub.mergePatch(resources.cluster, first, { spec: { topology: { variables } } });
  await until(async () => (await configured(hub, first)).tier === "gold", {
    deadlineMs: readyMs,
    what: `the new tier on ${first.name}`,
    everyMs: 20,
  });
  const counts = await Promise.all(
    marks.map(async ({ name, mark }) => {
      const entries = writes(await auditOf(lab.dir, name).since(mark));
      const ours = entries.filter((entry) => entry.userAgent === "capitan-controller");
      return [name, ours.filter(({ namespace }) => namespace === "shop").length] as const;
    }),
  );
  progress.done(counts.map(([name, count]) => `${name}: ${count} written`).join(", "));
  return { what: `tier of ${first.name}`, writes: Object.fromEntries(counts) };
}
