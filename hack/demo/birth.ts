// Somebody asks for a cluster. What happens is a commit; the rest follows: CI, the hub, Cluster API, Flux,
// configuration, a decrypted Secret. Then the cluster is upgraded, and then it goes, with all that was its.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { conditionOf, type FleetMember } from "../../pkg/api/index.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import type { Ci } from "../lab/ci.ts";
import type { ClusterName } from "../lab/clusters.ts";
import { receiverToken, startFleet } from "../lab/fleet.ts";
import type { Git } from "../lab/git.ts";
import { labNamespace } from "../lab/lab.ts";
import { pidOf } from "../lab/processes.ts";
import { progress } from "../lab/progress.ts";
import { resources } from "../lab/resources.ts";
import type { LabFile } from "../lab/state.ts";
import { until } from "../lab/wait.ts";
import { capitan } from "./cli.ts";
import { memberOf, onCluster } from "./clusters.ts";
import { exampleRepository, git, person } from "./repository.ts";

const cluster: ClusterName = { namespace: labNamespace, name: "prod-eu-1" };
const password = "Seestrasse-12";
const stepMaxMs = 120_000;

/** What came of it. `left` counts what there still is of the cluster in the end. */
export type Birth = {
  readonly ready: boolean;
  readonly commit: string;
  /** From the command to each step, in milliseconds. */
  readonly stepsMs: Readonly<Record<string, number>>;
  readonly upgradeMs: number;
  readonly afterDelete: { readonly left: number };
};

/** What a person works with who runs a fleet. */
export type Ground = {
  readonly lab: LabFile;
  readonly hub: KubeClient;
  readonly remote: Git;
  readonly ci: Ci;
  /** The person's clone. */
  readonly clone: string;
};

export async function showBirth(ground: Ground): Promise<Birth> {
  const born = await create(ground);
  const upgradeMs = await upgrade(ground);
  const left = await remove(ground);
  return { ready: true, ...born, upgradeMs, afterDelete: { left } };
}

/** A Git server, a CI system and the receiver; then a person bootstraps the fleet. */
export async function prepare(lab: LabFile, hub: KubeClient): Promise<Ground> {
  const { git: remote, ci } = await startFleet(lab);
  progress.done("a Git server, a CI process that hears of its pushes, and Capitan's receiver run");
  const offline = join(lab.dir, "birth-manager.agekey");
  await capitan(lab, ["init", "keys", "--namespace", labNamespace, "--out", offline]);
  const recipient = /age1[a-z0-9]{58}/.exec(await readFile(offline, "utf8"))?.[0] ?? "";
  const clone = await exampleRepository(lab, remote, recipient);
  await writeToken(lab, clone);
  await git(clone, "add", "--all");
  await git(clone, "commit", "--quiet", "--message", "Our fleet");
  await git(clone, "push", "--quiet", "origin", "HEAD:main");
  const first = await git(clone, "rev-parse", "HEAD");
  progress.done("pushed clusters/ as the fleet repository");
  const said = await capitan(lab, ["bootstrap", "--image", "capitan:demo"], {
    cwd: clone,
    env: person,
  });
  for (const line of said.trimEnd().split("\n").filter(Boolean)) progress.done(`  ${line}`);
  await until(async () => (await ci.runs()).some(({ commit, ok }) => commit === first && ok), {
    deadlineMs: stepMaxMs,
    what: "CI to publish the first commit",
  });
  await until(() => fleetReady(hub, "platform"), {
    deadlineMs: stepMaxMs,
    what: "the hub to be as Git says",
  });
  progress.done(
    "the hub is as the repository says: Fleets, templates, Receivers, and Capitan itself",
  );
  return { lab, hub, remote, ci, clone };
}

/** The Receivers' token is a secret of the repository like any other. */
async function writeToken(lab: LabFile, clone: string): Promise<void> {
  const secret = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "receiver-token", namespace: labNamespace },
    stringData: { token: receiverToken },
  };
  const file = join(clone, "management", "receivers", "token.sops.yaml");
  await writeFile(file, `${JSON.stringify(secret)}\n`);
  await capitan(lab, ["secrets", "encrypt", "--in-place", file], { cwd: clone });
}

async function fleetReady(hub: KubeClient, name: string): Promise<boolean> {
  const fleet = await hub.get(resources.fleet, { namespace: labNamespace, name });
  const ready = conditionOf(
    (asMap(fleet?.["status"]) as FleetMember["status"])?.conditions,
    "Ready",
  );
  if (ready?.status !== "True") throw new Error(ready?.message ?? "not there yet");
  return true;
}

type Step = readonly [name: string, isDone: () => Promise<unknown>];

/** The command, and when each thing that follows from it is there. */
async function create(ground: Ground): Promise<Pick<Birth, "commit" | "stepsMs">> {
  const { lab, clone, remote } = ground;
  const startedMs = performance.now();
  progress.action(`capitan create cluster ${cluster.name} --template lab --set region=eu`);
  const said = await capitan(
    lab,
    ["create", "cluster", cluster.name, "--template", "lab"].concat(
      ["--set", "region=eu", "--set", "environment=prod"],
      ["--set-file", "adminPassword=-"],
    ),
    { cwd: clone, env: person, input: password },
  );
  progress.done(`  ${said.split("\n")[0] ?? ""}`);
  const commit = await git(remote.dir, "rev-parse", "main");
  const stepsMs: Record<string, number> = { committed: Math.round(performance.now() - startedMs) };
  const follow = async ([name, isDone]: Step) => {
    await until(isDone, { deadlineMs: stepMaxMs, what: `${cluster.name}: ${name}`, everyMs: 10 });
    stepsMs[name] = Math.round(performance.now() - startedMs);
    progress.done(`${name} after ${((stepsMs[name] ?? 0) / 1000).toFixed(2)} s`);
  };
  const published = follow(["published", () => isPublished(ground, commit)]);
  for (const step of stepsOf(ground)) await follow(step);
  await published;
  return {
    commit,
    stepsMs: Object.fromEntries(Object.entries(stepsMs).sort(([, a], [, b]) => a - b)),
  };
}

const isPublished = async ({ ci }: Ground, commit: string) =>
  (await ci.runs()).some((run) => run.commit === commit && run.ok);

function stepsOf(ground: Ground): readonly Step[] {
  const { hub } = ground;
  const member = () => memberOf(hub, cluster);
  const isReady = (name: string) => async () =>
    (await member())?.status?.layers?.some(
      (layer) => layer.name === name && layer.state === "Ready",
    );
  return [
    ["onHub", () => hub.get(resources.cluster, cluster)],
    [
      "apiServer",
      () => onWorkload(hub, (client) => client.get(resources.namespace, { name: "kube-system" })),
    ],
    ["flux", isReady("flux")],
    ["configuration", () => onWorkload(hub, settingsOf)],
    ["secret", () => onWorkload(hub, async (client) => (await passwordOf(client)) === password)],
    [
      "ready",
      async () => conditionOf((await member())?.status?.conditions, "Ready")?.status === "True",
    ],
  ];
}

/** The cluster of this act, as soon as it has a kubeconfig. */
const onWorkload = <T>(hub: KubeClient, work: (client: KubeClient) => Promise<T>): Promise<T> =>
  onCluster(hub, cluster, work, 50);

async function settingsOf(client: KubeClient) {
  const found = await client.get(resources.configMap, { namespace: "shop", name: "settings" });
  return found === undefined ? undefined : asMap(found["data"]);
}

async function passwordOf(client: KubeClient): Promise<string> {
  const found = await client.get(resources.secret, { namespace: "default", name: "admin" });
  const text = asString(asMap(found?.["data"])["password"]) ?? "";
  return Buffer.from(text, "base64").toString("utf8");
}

/** Another version and another parameter. The lab's control plane only takes note of its version. */
async function upgrade({ lab, hub, clone }: Ground): Promise<number> {
  const startedMs = performance.now();
  progress.action(`capitan upgrade cluster ${cluster.name} --version v1.36.4 --set replicas=4`);
  const args = ["upgrade", "cluster", cluster.name, "--version", "v1.36.4", "--set", "replicas=4"];
  const said = await capitan(lab, args, { cwd: clone, env: person });
  progress.done(`  ${said.split("\n")[0] ?? ""}`);
  await until(
    async () => {
      const plane = await hub.get(resources.labControlPlane, cluster);
      return asMap(plane?.["status"])["version"] === "v1.36.4";
    },
    { deadlineMs: stepMaxMs, what: "the new version" },
  );
  await until(
    () => onWorkload(hub, async (client) => (await settingsOf(client))?.["replicas"] === "4"),
    {
      deadlineMs: stepMaxMs,
      what: "the new configuration",
    },
  );
  const ms = Math.round(performance.now() - startedMs);
  progress.done(
    `${cluster.name} has the new version and the new configuration after ${(ms / 1000).toFixed(2)} s`,
  );
  return ms;
}

/** Takes the cluster away by a commit, and counts what is left of it. */
async function remove(ground: Ground): Promise<number> {
  const { lab, clone } = ground;
  progress.action(`capitan delete cluster ${cluster.name} --yes`);
  const args = ["delete", "cluster", cluster.name, "--yes"];
  const said = await capitan(lab, args, { cwd: clone, env: person });
  progress.done(`  ${said.split("\n")[0] ?? ""}`);
  const isGone = async () => {
    const left = await leftOf(ground);
    if (left.length > 0) throw new Error(left.join(", "));
    return true;
  };
  await until(isGone, { deadlineMs: stepMaxMs, what: `${cluster.name} to be gone` }).catch(
    (error: unknown) => progress.done(`still there: ${String(error)}`),
  );
  const left = await leftOf(ground);
  progress.done(
    left.length === 0 ? `nothing is left of ${cluster.name}` : `left: ${left.join(", ")}`,
  );
  return left.length;
}

/** Everything on the hub, on this machine and in the repository that carries the cluster's name. */
async function leftOf({ lab, hub, remote }: Ground): Promise<readonly string[]> {
  const kinds = [
    resources.cluster,
    resources.labCluster,
    resources.labControlPlane,
    resources.secret,
    resources.configMap,
    resources.fleetMember,
  ];
  const lists = await Promise.all(
    kinds.map(async (resource) => {
      const { items } = await hub.list(resource, { namespace: labNamespace, metadataOnly: true });
      return items
        .filter(({ metadata }) => metadata.name.includes(cluster.name))
        .map(({ metadata }) => `${resource.kind}/${metadata.name}`);
    }),
  );
  const server = await pidOf(lab.dir, `apiserver-${cluster.name}`);
  const files = (await git(remote.dir, "ls-tree", "-r", "--name-only", "main")).split("\n");
  return [
    ...lists.flat(),
    ...(server === undefined ? [] : [`API server, pid ${server}`]),
    ...files.filter(
      (file) => file.includes(`/${cluster.name}/`) && !file.endsWith("/removed.yaml"),
    ),
  ];
}
