import type { CommandModule } from "yargs";
import { parseGitUrl } from "../../pkg/gitdata/index.ts";
import { hubResources, type FleetMember, type KeyRotation } from "../../pkg/api/index.ts";
import { clusterNameLabel, clusterResource } from "../../pkg/capi/index.ts";
import { clusterOf } from "../../pkg/cluster/index.ts";
import { generationsIn } from "../../pkg/controllers/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { labels } from "../../pkg/object/index.ts";
import { hubOptions, withHub } from "./hub.ts";
import { repeatable } from "./repeatable.ts";
import { rotationDone, showPlan } from "./rotate-status.ts";
import { isDuration, waitOptions, type WaitArguments } from "./wait.ts";

type Arguments = WaitArguments & {
  readonly kubeconfig?: string | undefined;
  readonly namespace: string;
  readonly cluster?: readonly string[] | undefined;
  readonly fleet?: string | undefined;
  readonly selector?: string | undefined;
  readonly repo: string;
  readonly branch: string;
  readonly secret: string;
  readonly path?: string | undefined;
  readonly delivery: "Push" | "Branch";
  readonly manager: string;
  readonly reason: "scheduled" | "compromise";
  readonly immediate: boolean;
  readonly plan: boolean;
};

/** `capitan rotate keys` */
export const rotateKeys: CommandModule<object, Arguments> = {
  command: "keys",
  describe: "Give clusters new age keys, re-encrypt their files, and take the old keys away",
  builder: (y) =>
    repeatable(y, "cluster")
      .options({
        ...hubOptions,
        ...waitOptions,
        timeout: { ...waitOptions.timeout, default: "30m" },
        namespace: {
          alias: "n",
          type: "string",
          default: "fleet",
          describe: "The namespace of the Clusters",
        },
        cluster: { type: "string", array: true, describe: "Clusters by name" },
        fleet: { type: "string", describe: "All clusters of this Fleet" },
        selector: { alias: "l", type: "string", describe: "Clusters with these labels" },
        repo: {
          type: "string",
          demandOption: true,
          describe: "URL of the Git repository with the encrypted files",
        },
        branch: { type: "string", default: "main", describe: "Branch that is released from" },
        secret: {
          type: "string",
          default: "git-write",
          describe: "Secret with a login that may write to the repository",
        },
        path: {
          type: "string",
          describe: "Directory of the repository that CI pushes as an artifact",
        },
        delivery: {
          choices: ["Push", "Branch"] as const,
          default: "Push" as const,
          describe: "Branch: propose branches, for a protected branch",
        },
        manager: {
          type: "string",
          default: "manager-key",
          describe: "Secret that opens every file",
        },
        reason: {
          choices: ["scheduled", "compromise"] as const,
          default: "scheduled" as const,
          describe: "compromise: also list the values that the old keys could read",
        },
        immediate: {
          type: "boolean",
          default: false,
          describe: "Take the old key out as soon as the cluster has the new one, without a proof",
        },
        plan: {
          type: "boolean",
          default: false,
          describe: "Show what would be done, to which files, and change nothing",
        },
      })
      .check(({ timeout }) => isDuration(timeout) || `--timeout ${timeout} is no duration`)
      .example("$0 rotate keys --cluster prod-eu-1 --repo https://git.example/fleet", "One cluster")
      .example(
        "$0 rotate keys --selector env=prod --repo https://git.example/fleet --plan",
        "What would happen",
      )
      .example("$0 rotate status", "How far every cluster has come"),
  handler: (args) => withHub(args.kubeconfig, (hub) => rotate(hub, args)),
};

async function rotate(hub: KubeClient, args: Arguments): Promise<void> {
  parseGitUrl(args.repo, undefined);
  const targets = await targetsOf(hub, args);
  const object = rotationOf(args, targets);
  await hub.create(hubResources.keyRotation, object, {});
  const { name } = object.metadata;
  const names = targets.map((target) => `${target.name} (generation ${target.ends})`).join(", ");
  if (args.plan) return showPlan(hub, { namespace: args.namespace, name }, args.timeout);
  process.stdout.write(`KeyRotation ${args.namespace}/${name}: ${names}\n`);
  if (args.wait) await rotationDone(hub, { namespace: args.namespace, name }, args.timeout);
}

/** Which clusters, and for each the newest generation that it has: that one is to end. */
async function targetsOf(
  hub: KubeClient,
  args: Arguments,
): Promise<KeyRotation["spec"]["clusters"]> {
  const { namespace } = args;
  const names = await clusterNames(hub, args);
  const options = { namespace, labelSelector: labels.ageGeneration };
  const { items } = await hub.list(hubResources.secret, options);
  const targets = names.map(async (name) => {
    const own = items.filter(({ metadata }) => metadata.labels?.[clusterNameLabel] === name);
    const generations = (await generationsIn(own, { name })).map(({ generation }) => generation);
    if (generations.length > 0) return { name, ends: Math.max(...generations) };
    const message = `Cluster ${namespace}/${name} has no age identity: there is nothing to rotate`;
    throw new CapitanError("NotFound", message);
  });
  return Promise.all(targets);
}

async function clusterNames(
  hub: KubeClient,
  { namespace, cluster, fleet, selector }: Arguments,
): Promise<readonly string[]> {
  const { items } = await hub.list(clusterResource, { namespace });
  const missing = cluster?.find((name) => items.every(({ metadata }) => metadata.name !== name));
  if (missing !== undefined)
    throw new CapitanError("NotFound", `there is no Cluster ${namespace}/${missing}`);
  const ofFleet = fleet === undefined ? [] : await clustersOfFleet(hub, namespace, fleet);
  const options = { namespace, labelSelector: selector };
  const matching = selector === undefined ? [] : (await hub.list(clusterResource, options)).items;
  const selected = matching.map(({ metadata }) => metadata.name);
  const names = new Set([...(cluster ?? []), ...ofFleet, ...selected]);
  if (names.size > 0) return [...names].sort();
  throw new CapitanError("NotFound", "no Cluster is meant: name --cluster, --fleet or --selector");
}

async function clustersOfFleet(
  hub: KubeClient,
  namespace: string,
  fleet: string,
): Promise<readonly string[]> {
  const { items } = await hub.list(hubResources.fleetMember, { namespace });
  const members = items as unknown as readonly FleetMember[];
  return members
    .filter(({ spec }) => spec.fleetRef.name === fleet)
    .map((member) => clusterOf(member).name);
}

function rotationOf(args: Arguments, clusters: KeyRotation["spec"]["clusters"]) {
  const path = args.path === undefined ? {} : { path: args.path };
  const { repo: url, branch, secret, delivery } = args;
  const time = new Date().toISOString().replace(/\D/g, "").slice(0, 17);
  return {
    apiVersion: "capitan.dev/v1alpha1",
    kind: "KeyRotation",
    metadata: { name: `keys-${time}`, namespace: args.namespace },
    spec: {
      clusters,
      repository: { url, branch, secretRef: { name: secret }, delivery, ...path },
      decryption: { secretRef: { name: args.manager } },
      ...(args.plan ? { dryRun: true } : {}),
      rollout: args.immediate ? "Immediate" : "Proven",
      reason: args.reason === "compromise" ? "Compromise" : "Scheduled",
    },
  };
}
