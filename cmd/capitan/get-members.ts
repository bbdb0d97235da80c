import type { CommandModule } from "yargs";
import { conditionOf, type FleetMember } from "../../pkg/api/index.ts";
import { hubResources } from "../../pkg/api/index.ts";
import { listingOptions, printListing, type ListingArguments } from "./listing.ts";
import { ago } from "./text.ts";

/** `capitan get members` */
export const getMembers: CommandModule<object, ListingArguments> = {
  command: "members",
  aliases: ["member", "flm"],
  describe: "List FleetMembers: one for each cluster of each Fleet",
  builder: listingOptions,
  handler: (args) =>
    printListing<FleetMember>(
      {
        resource: hubResources.fleetMember,
        headers: ["namespace", "cluster", "fleet", "revision", "ready", "age", "status"],
        row: ({ metadata, spec, status }, now) => {
          const ready = conditionOf(status?.conditions, "Ready");
          const reason = ready?.status === "False" ? `${ready.reason}: ` : "";
          return [
            metadata.namespace ?? "",
            spec.clusterRef.name,
            spec.fleetRef.name,
            spec.revision,
            ready?.status ?? "Unknown",
            ago(metadata.creationTimestamp, now),
            `${reason}${ready?.message ?? "has not been looked at yet"}`,
          ];
        },
      },
      args,
    ),
};
