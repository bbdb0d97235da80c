import type { CommandModule } from "yargs";
import { crds, fleetFinalizer, hubResources } from "../../pkg/api/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import {
  controllerAccount,
  installedSelector,
  isInstalled,
  podLabels,
  removedKinds,
  systemNamespace,
} from "../../pkg/install/index.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import { Discovery, isConflict, type KubeClient } from "../../pkg/kube/index.ts";
import { idOf, nameOf, type KubeObject, type Resource } from "../../pkg/object/index.ts";
import { hubOptions, resourceOf, withHub, type HubArguments } from "./hub.ts";

/** Pods have 30 s to end, and a Lease that nobody gave back is free after 15 s. */
const stoppedMs = 90_000;
const leaseMs = 15_000;
const goneMs = 60_000;
const pollMs = 250;
const triesMax = 10;

const removedDeployment = { apiVersion: "apps/v1", kind: "Deployment" };
const pods = { group: "", version: "v1", kind: "Pod", plural: "pods", namespaced: true };
const podSelector = Object.entries(podLabels)
  .map(([key, value]) => `${key}=${value}`)
  .join(",");

type UninstallArguments = HubArguments & {
  readonly crds: boolean;
  readonly yes: boolean;
};

/** `capitan uninstall`: the controller first, seen gone; then its rights; CRDs last. No workload cluster is asked. */
export const uninstall: CommandModule<object, UninstallArguments> = {
  command: "uninstall",
  describe: "Take Capitan off the hub; nothing is deleted on any workload cluster",
  builder: (y) =>
    y
      .options({
        ...hubOptions,
        crds: {
          type: "boolean",
          default: false,
          describe:
            "Delete the CRDs too, with all Fleets, FleetMembers, FleetRevisions and ClusterTemplates",
        },
        yes: { type: "boolean", default: false, describe: "Really do what --crds says" },
      })
      .check(
        ({ crds, yes }) =>
          !crds || yes || "--crds deletes every Fleet on the hub: say --crds --yes if you mean it",
      ),
  handler: (args) => withHub(args, (hub) => removeAll(hub, args)),
};

async function removeAll(hub: KubeClient, args: UninstallArguments): Promise<void> {
  const discovery = new Discovery(hub);
  await stopController(hub, discovery);
  await removeInstalled(hub, discovery);
  if (args.crds) {
    await letFleetsGo(hub, discovery);
    await refuseComeback(hub, discovery);
    await removeDefinitions(hub, discovery);
  }
  say(`Namespace/${systemNamespace} is kept, with what else may be in it`);
  say("what Capitan had applied to workload clusters is left there as it is");
  if (!args.crds) say("Fleets are kept, and nobody looks after them: capitan install goes on");
}

/** A controller that still ran would withdraw Fleets that are deleted: it must be gone before anything else. */
async function stopController(hub: KubeClient, discovery: Discovery): Promise<void> {
  const deployment = await resourceOf(discovery, removedDeployment);
  await remove(hub, deployment, { namespace: systemNamespace, name: controllerAccount });
  const none = async () => {
    const options = { namespace: systemNamespace, labelSelector: podSelector, metadataOnly: true };
    return (await hub.list(pods, options)).items.length === 0;
  };
  if (!(await within(stoppedMs, none)))
    throw new CapitanError("ControllerRuns", `pods of ${controllerAccount} have not ended`);
  await leaseIsFree(hub, discovery);
  say("no controller runs");
}

/** Given back, or not renewed for as long as it lasts. */
async function leaseIsFree(hub: KubeClient, discovery: Discovery): Promise<void> {
  const resource = await resourceOf(discovery, {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
  });
  const name = { namespace: systemNamespace, name: controllerAccount };
  const first = await hub.get(resource, name);
  let holder = holderOf(first);
  if (holder === "") return;
  say(`waiting ${leaseMs / 1000} s, to see whether ${holder} renews its Lease`);
  const isRenewed = async () => {
    const lease = await hub.get(resource, name);
    holder = holderOf(lease);
    return holder !== "" && lease?.metadata.resourceVersion !== first?.metadata.resourceVersion;
  };
  if (await within(leaseMs, isRenewed))
    throw new CapitanError("ControllerRuns", `the controller ${holder} runs`);
}

function holderOf(lease: KubeObject | undefined): string {
  return asString(asMap(lease?.["spec"])["holderIdentity"]) ?? "";
}

async function removeInstalled(hub: KubeClient, discovery: Discovery): Promise<void> {
  for (const kind of removedKinds) {
    const resource = await resourceOf(discovery, kind);
    const isLease = kind.kind === "Lease";
    const scope = isLease ? { namespace: systemNamespace } : { labelSelector: installedSelector };
    const { items } = await hub.list(resource, { ...scope, metadataOnly: true });
    for (const object of items.filter(isInstalled)) await remove(hub, resource, object.metadata);
  }
}

/** GitOps may have brought the controller back meanwhile; it would withdraw Fleets that are being deleted. */
async function refuseComeback(hub: KubeClient, discovery: Discovery): Promise<void> {
  const name = { namespace: systemNamespace, name: controllerAccount };
  for (const kind of removedKinds) {
    const resource = await resourceOf(discovery, kind);
    if (!resource.namespaced || (await hub.get(resource, name)) === undefined) continue;
    const message = `${kind.kind} ${systemNamespace}/${controllerAccount} has come back: suspend what applies it`;
    throw new CapitanError("ControllerRuns", message);
  }
}

/** Nobody is there any more to take our finalizer off, so Fleets would hang, and their CRD with them. */
async function letFleetsGo(hub: KubeClient, discovery: Discovery): Promise<void> {
  const served = await discovery.find("capitan.dev/v1alpha1", "Fleet");
  if (served === undefined) return;
  const { items } = await hub.list(hubResources.fleet, { metadataOnly: true });
  for (const { metadata } of items) {
    await retried(async () => {
      const live = await hub.get(hubResources.fleet, metadata, { metadataOnly: true });
      const { finalizers = [], resourceVersion } = live?.metadata ?? {};
      if (!finalizers.includes(fleetFinalizer)) return;
      const kept = finalizers.filter((name) => name !== fleetFinalizer);
      const patch = { metadata: { resourceVersion, finalizers: kept } };
      await hub.mergePatch(hubResources.fleet, metadata, patch, { metadataOnly: true });
    });
  }
}

async function removeDefinitions(hub: KubeClient, discovery: Discovery): Promise<void> {
  for (const { apiVersion, kind, metadata } of crds) {
    const resource = await resourceOf(discovery, { apiVersion, kind });
    await remove(hub, resource, metadata);
    const isGone = async () => (await hub.get(resource, metadata)) === undefined;
    if (await within(goneMs, isGone)) continue;
    const message = `${kind} ${metadata.name} is not gone after ${goneMs / 1000} s: finalizers of others hold its objects`;
    throw new CapitanError("HealthTimeout", message);
  }
}

/** Deletes what is there, as it is now, and says so. */
async function remove(
  hub: KubeClient,
  resource: Resource,
  name: { readonly namespace?: string; readonly name: string },
): Promise<void> {
  await retried(async () => {
    const live = await hub.get(resource, name, { metadataOnly: true });
    if (live === undefined) return;
    await hub.delete(resource, live);
    say(
      `${nameOf(idOf({ ...live, apiVersion: apiVersionOf(resource), kind: resource.kind }))} deleted`,
    );
  });
}

const apiVersionOf = ({ group, version }: Resource) =>
  group === "" ? version : `${group}/${version}`;

/** Somebody may write an object between our read and our write, as controllers do. */
async function retried(attempt: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (!isConflict(error) || tries >= triesMax) throw error;
    }
  }
}

/** Whether the condition came true within the time. */
async function within(ms: number, condition: () => Promise<boolean>): Promise<boolean> {
  const endMs = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > endMs) return false;
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  return true;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
