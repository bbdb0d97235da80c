import type { CommandModule } from "yargs";
import { hubResources, type FleetMember, type FleetRevision } from "../../pkg/api/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";
import { withHub } from "./hub.ts";
import { listOf, listingOptions, printItems, type ListingArguments } from "./listing.ts";
import { ago } from "./text.ts";

/** `capitan get revisions` */
export const getRevisions: CommandModule<object, ListingArguments> = {
  command: "revisions",
  aliases: ["revision"],
  describe: "List FleetRevisions, what they were resolved from, and how many clusters are there",
  builder: listingOptions,
  handler: (args) =>
    withHub(args, async (hub) => {
      const revisions = await listOf(hub, hubResources.fleetRevision, args);
      const all = await listOf(hub, hubResources.fleetMember, { namespace: args.namespace });
      const members = all as unknown as readonly FleetMember[];
      printItems(
        revisions,
        {
          resource: hubResources.fleetRevision,
          headers: ["namespace", "name", "fleet", "pinned", "applied", "age", "sources"],
          row: (revision, now) => rowOf(revision, members, now),
        },
        args,
      );
    }),
};

function rowOf(object: KubeObject, members: readonly FleetMember[], now: Date): readonly string[] {
  const { metadata, spec } = object as unknown as FleetRevision;
  const count = (is: (member: FleetMember) => boolean) =>
    String(members.filter((m) => m.metadata.namespace === metadata.namespace && is(m)).length);
  return [
    metadata.namespace ?? "",
    metadata.name,
    spec.fleetRef.name,
    count((member) => member.spec.revision === metadata.name),
    count((member) => member.status?.currentRevision === metadata.name),
    ago(metadata.creationTimestamp, now),
    spec.layers.map(sourceOf).join(", "),
  ];
}

function sourceOf({ name, oci, git, flux }: FleetRevision["spec"]["layers"][number]): string {
  const resolved = oci?.revision ?? git?.revision;
  const from = flux?.version ?? resolved?.replace(/(@?sha(?:256|1):[0-9a-f]{8})[0-9a-f]*$/, "$1");
  return from === undefined ? name : `${name} ${from}`;
}
