import type { CommandModule } from "yargs";
import { conditionOf, type Fleet } from "../../pkg/api/index.ts";
import { hubResources } from "../../pkg/api/index.ts";
import { listingOptions, printListing, type ListingArguments } from "./listing.ts";
import { ago } from "./text.ts";

/** `capitan get fleets` */
export const getFleets: CommandModule<object, ListingArguments> = {
  command: "fleets",
  aliases: ["fleet", "fl"],
  describe: "List Fleets",
  builder: listingOptions,
  handler: (args) =>
    printListing<Fleet>(
      {
        resource: hubResources.fleet,
        headers: ["namespace", "name", "ready", "revision", "age", "status"],
        row: ({ metadata, status }, now) => [
          metadata.namespace ?? "",
          metadata.name,
          status?.summary ?? "-",
          status?.updateRevision ?? "-",
          ago(metadata.creationTimestamp, now),
          conditionOf(status?.conditions, "Ready")?.message ?? "has not been looked at yet",
        ],
      },
      args,
    ),
};
