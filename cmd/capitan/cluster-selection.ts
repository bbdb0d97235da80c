import { hubResources, type FleetMember } from "../../pkg/api/index.ts";
import { clusterResource } from "../../pkg/capi/index.ts";
import { clusterOf } from "../../pkg/cluster/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { listOf } from "./listing.ts";

/** Options of every command that is about some clusters of a fleet. */
export const selectionOptions = {
  cluster: { type: "string", array: true, nargs: 1, describe: "A Cluster by name; repeatable" },
  fleet: { type: "string", describe: "All clusters of this Fleet" },
  selector: { alias: "l", type: "string", describe: "Clusters with these labels" },
} as const;

export type SelectionArguments = {
  readonly namespace: string;
  readonly cluster?: readonly string[] | undefined;
  readonly fleet?: string | undefined;
  readonly selector?: string | undefined;
};

/** The names of the clusters that are meant; none when nothing says so. Throws NotFound when none is there. */
export async function clusterNames(
  hub: KubeClient,
  { namespace, cluster, fleet, selector }: SelectionArguments,
): Promise<readonly string[]> {
  const all = await listOf(hub, clusterResource, { namespace });
  const missing = cluster?.find((name) => all.every(({ metadata }) => metadata.name !== name));
  if (missing !== undefined)
    throw new CapitanError("NotFound", `there is no Cluster ${namespace}/${missing}`);
  const ofFleet = fleet === undefined ? [] : await clustersOfFleet(hub, namespace, fleet);
  const matching =
    selector === undefined ? [] : await listOf(hub, clusterResource, { namespace, selector });
  const selected = matching.map(({ metadata }) => metadata.name);
  const names = [...new Set([...(cluster ?? []), ...ofFleet, ...selected])].sort();
  const isAnybodyMeant = fleet !== undefined || selector !== undefined;
  if (names.length === 0 && isAnybodyMeant) throw nobody(namespace, fleet, selector);
  return names;
}

function nobody(namespace: string, fleet?: string, selector?: string): CapitanError {
  const by = [
    ...(fleet === undefined ? [] : [`is in Fleet ${fleet}`]),
    ...(selector === undefined ? [] : [`has the labels ${selector}`]),
  ];
  const message = `no Cluster in namespace ${namespace} ${by.join(" or ")}`;
  return new CapitanError("NotFound", message);
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
