// What the real sops says after a rotation, of a fresh clone and of the artifact that each cluster runs.
import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { asMap, asString } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { parseReference } from "../../pkg/oci/index.ts";
import { RegistryClient } from "../../pkg/registry/index.ts";
import type { ClusterName } from "../lab/clusters.ts";
import { labNamespace } from "../lab/lab.ts";
import { progress } from "../lab/progress.ts";
import { resources } from "../lab/resources.ts";
import type { LabFile } from "../lab/state.ts";
import { ensureTool } from "../lab/tools.ts";
import { until } from "../lab/wait.ts";
import type { Ground } from "./birth.ts";
import { capitan } from "./cli.ts";
import { git } from "./repository.ts";
import { appliedDigest, rotated, secretsOf } from "./rotation-clusters.ts";

/** A place with encrypted files, and how many of them open. */
export type Tried = {
  readonly where: string;
  readonly files: number;
  readonly oldKeyOpens: number;
  readonly newKeyOpens: number;
};

const stepMaxMs = 120_000;
/** What sops ends with when no key opens the file. */
const noKey = 128;

/** Where everything lies that the proof is made of. */
export const placesOf = (lab: LabFile) => {
  const dir = join(lab.dir, "rotation");
  const [keys, clone] = [join(dir, "keys"), join(dir, "clone")];
  return { dir, keys, clone, artifactOf: ({ name }: ClusterName) => join(dir, "artifacts", name) };
};

/** Tries every encrypted file with all old keys, and with the one that is to open it now. */
export async function prove(ground: Ground): Promise<readonly Tried[]> {
  const { lab, hub, remote } = ground;
  const places = placesOf(lab);
  await rm(places.dir, { recursive: true, force: true });
  await writeKeys(hub, places.keys);
  await git(lab.dir, "clone", "--quiet", remote.url, places.clone);
  await newestRuns(ground);
  const tried = [await tryAll("a fresh clone", places.clone, places.keys)];
  for (const cluster of rotated) {
    const digest = await appliedDigest(hub, cluster);
    const url = `oci://${lab.registry}/fleet-config@${digest}`;
    const dir = places.artifactOf(cluster);
    await capitan(lab, ["pull", "artifact", url, "--path", dir]);
    const where = `what ${cluster.name} runs, ${digest.slice(0, 19)}`;
    tried.push(await tryAll(where, dir, places.keys));
  }
  return tried;
}

/** Keys as files, for nobody else to read: each cluster's old and new one, all old ones, the manager's. */
async function writeKeys(hub: KubeClient, dir: string): Promise<void> {
  await mkdir(dir, { recursive: true });
  const write = (name: string, text: string) =>
    writeFile(join(dir, `${name}.agekey`), text, { mode: 0o600 });
  const old: string[] = [];
  for (const { name } of rotated) {
    const before = await secretText(hub, `${name}-age-1`, "identity");
    old.push(before);
    await write(`${name}.old`, before);
    await write(`${name}.new`, await secretText(hub, `${name}-age-2`, "identity"));
  }
  await write("old", old.join(""));
  await write("manager", await secretText(hub, "manager-key", "manager.agekey"));
}

async function secretText(hub: KubeClient, name: string, key: string): Promise<string> {
  const found = await hub.get(resources.secret, { namespace: labNamespace, name });
  const text = asString(asMap(found?.["data"])[key]);
  if (text === undefined) throw new Error(`Secret ${name} has no ${key}`);
  return Buffer.from(text, "base64").toString("utf8");
}

/** The tag has the newest commit, and every cluster runs it. */
async function newestRuns({ lab, hub, ci, remote }: Ground): Promise<void> {
  const commit = await git(remote.dir, "rev-parse", "main");
  const deadline = (what: string) => ({ deadlineMs: stepMaxMs, what, everyMs: 200 });
  await until(
    async () => (await ci.runs()).some((run) => run.commit === commit && run.ok),
    deadline("CI to publish the last commit"),
  );
  const reference = parseReference(`oci://${lab.registry}/fleet-config:stable`);
  const registry = new RegistryClient(reference, {});
  const digest = await registry.resolve("stable");
  await registry.close();
  for (const cluster of rotated)
    await until(
      async () => (await appliedDigest(hub, cluster)) === digest,
      deadline(`${cluster.name} to run ${digest}`),
    );
}

async function tryAll(where: string, dir: string, keys: string): Promise<Tried> {
  const files = await encryptedFiles(dir);
  let [oldKeyOpens, newKeyOpens] = [0, 0];
  for (const file of files) {
    const key = join(keys, `${keyFor(relative(dir, file))}.agekey`);
    if (await opens(file, join(keys, "old.agekey"))) oldKeyOpens += 1;
    if (await opens(file, key)) newKeyOpens += 1;
  }
  progress.done(
    `sops, over ${where}: ${files.length} files, ${oldKeyOpens} open with an old key, ${newKeyOpens} with the new`,
  );
  return { where, files: files.length, oldKeyOpens, newKeyOpens };
}

/** Every file with a value that sops has encrypted, whatever its name is. */
async function encryptedFiles(dir: string): Promise<readonly string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile() && !`${entry.parentPath}/`.startsWith(join(dir, ".git/")))
    .map(({ parentPath, name }) => join(parentPath, name));
  const found = await Promise.all(
    files.map(async (file) =>
      (await readFile(file, "utf8")).includes("ENC[AES256_GCM,") ? [file] : [],
    ),
  );
  return found.flat().sort();
}

/** A cluster's new key opens the cluster's files; all others are the manager's. */
function keyFor(path: string): string {
  const cluster = rotated.find((each) => `/${path}`.includes(`/${secretsOf(each)}/`));
  return cluster === undefined ? "manager" : `${cluster.name}.new`;
}

/** Whether the real sops opens a file with this key. Throws when it fails for another reason. */
async function opens(file: string, keyFile: string): Promise<boolean> {
  const sops = await ensureTool("sops", progress);
  const env = { PATH: process.env["PATH"], HOME: "/nonexistent", SOPS_AGE_KEY_FILE: keyFile };
  return new Promise((resolve, reject) => {
    execFile(sops, ["decrypt", file], { env }, (error, _, stderr) => {
      if (error === null) resolve(true);
      else if (error.code === noKey) resolve(false);
      else reject(new Error(`sops decrypt ${file}: exit ${error.code ?? "?"}: ${stderr}`));
    });
  });
}

/** Two lines to try while the lab stays up, and where things are. */
export async function proofAdvice(lab: LabFile): Promise<readonly string[]> {
  const { keys, clone, dir } = placesOf(lab);
  const [cluster] = rotated;
  if (cluster === undefined) return [];
  const sops = await ensureTool("sops", progress);
  const file = join(clone, "config", secretsOf(cluster), "admin.sops.yaml");
  const attempt = (which: string) =>
    `SOPS_AGE_KEY_FILE=${join(keys, `${cluster.name}.${which}.agekey`)} ${sops} decrypt ${file}`;
  return [
    `# clone, artifacts and keys, old and new: ${dir}`,
    `${attempt("old")}   # fails`,
    `${attempt("new")}   # opens`,
  ];
}
