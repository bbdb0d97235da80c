import type { CommandModule } from "yargs";
import { conditionOf, hubResources, type Receiver } from "../../pkg/api/index.ts";
import { listingOptions, printListing, type ListingArguments } from "./listing.ts";
import { ago } from "./text.ts";

/** `capitan get receivers` */
export const getReceivers: CommandModule<object, ListingArguments> = {
  command: "receivers",
  aliases: ["receiver", "rcv"],
  describe: "List Receivers, and the path to which each provider is to post",
  builder: listingOptions,
  handler: (args) =>
    printListing<Receiver>(
      {
        resource: hubResources.receiver,
        headers: ["namespace", "name", "type", "ready", "age", "status", "path"],
        row: ({ metadata, spec, status }, now) => {
          const ready = conditionOf(status?.conditions, "Ready");
          return [
            metadata.namespace ?? "",
            metadata.name,
            spec.type,
            ready?.status ?? "Unknown",
            ago(metadata.creationTimestamp, now),
            ready?.message ?? "has not been looked at yet",
            status?.webhookPath ?? "-",
          ];
        },
      },
      args,
    ),
};
