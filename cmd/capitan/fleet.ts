import type { Argv } from "yargs";
import { hubResources, type Fleet, type FleetMember } from "../../pkg/api/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { onlyOne } from "./describe.ts";
import { hubOptions, type HubArguments } from "./hub.ts";
import { inNamespace, listOf } from "./listing.ts";

/** How every command about one Fleet is told which. */
export type FleetArguments = HubArguments & {
  readonly namespace?: string | undefined;
  readonly name: string;
};

/** The options and the argument of a command about one Fleet. */
export function fleetBuilder(y: Argv): Argv<FleetArguments> {
  return y
    .options({
      ...hubOptions,
      namespace: { alias: "n", type: "string", describe: "The Fleet's namespace" },
    })
    .positional("name", { type: "string", demandOption: true, describe: "The Fleet" });
}

/** The Fleet of this name. Throws NotFound, also when there are several. */
export async function findFleet(
  hub: KubeClient,
  { namespace, name }: FleetArguments,
): Promise<Fleet> {
  const all = await listOf(hub, hubResources.fleet, { namespace });
  const named = all.filter(({ metadata }) => metadata.name === name);
  return onlyOne(named, `Fleet named ${name}${inNamespace(namespace)}`) as unknown as Fleet;
}

/** All members of a Fleet, by name. */
export async function membersOfFleet(
  hub: KubeClient,
  { metadata }: Fleet,
): Promise<readonly FleetMember[]> {
  const { namespace, name } = metadata;
  const all = await listOf(hub, hubResources.fleetMember, { namespace });
  const members = all as unknown as readonly FleetMember[];
  return members.filter(({ spec }) => spec.fleetRef.name === name);
}
