import type { Argv } from "yargs";
import { hubResources, type FleetMember } from "../../pkg/api/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";
import { onlyOne } from "./describe.ts";
import { hubOptions, type HubArguments } from "./hub.ts";
import { inNamespace, listOf } from "./listing.ts";

/** How every command about one member is told which. */
export type MemberArguments = HubArguments & {
  readonly namespace?: string | undefined;
  readonly fleet?: string | undefined;
  readonly name: string;
};

/** The options and the argument of a command about one member. */
export function memberBuilder(y: Argv): Argv<MemberArguments> {
  return y
    .options({
      ...hubOptions,
      namespace: { alias: "n", type: "string", describe: "The Cluster's namespace" },
      fleet: { type: "string", describe: "The Fleet, when the cluster is in several" },
    })
    .positional("name", {
      type: "string",
      demandOption: true,
      describe: "The member, or its cluster",
    });
}

/** The member of this name, or of the cluster of this name. Throws NotFound, also when there are several. */
export async function findMember(
  hub: KubeClient,
  { namespace, name, fleet }: MemberArguments,
): Promise<KubeObject> {
  const matching = await membersNamed(hub, { namespace, name, fleet });
  const ofFleet = fleet === undefined ? "" : ` with Fleet ${fleet}`;
  const what = `FleetMember or cluster named ${name}${ofFleet}${inNamespace(namespace)}`;
  return onlyOne(matching, what);
}

/** All members of the cluster of this name, or the one with this name. */
export async function membersNamed(
  hub: KubeClient,
  { namespace, name, fleet }: Omit<MemberArguments, keyof HubArguments>,
): Promise<readonly KubeObject[]> {
  const all = await listOf(hub, hubResources.fleetMember, { namespace });
  return all.filter((object) => {
    const { metadata, spec } = object as unknown as FleetMember;
    const isNamed = metadata.name === name || spec.clusterRef.name === name;
    return isNamed && (fleet === undefined || spec.fleetRef.name === fleet);
  });
}
