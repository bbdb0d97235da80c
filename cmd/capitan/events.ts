import type { CommandModule } from "yargs";
import { hubResources } from "../../pkg/api/index.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";
import { withHub } from "./hub.ts";
import { listOf, listingOptions, printItems, type ListingArguments } from "./listing.ts";
import { ago } from "./text.ts";

type Arguments = ListingArguments & { readonly for?: string | undefined };

/** `capitan events`: what the controller said about Fleets and members, oldest first. */
export const events: CommandModule<object, Arguments> = {
  command: "events",
  describe: "What the controller said about Fleets and members, oldest first",
  builder: (y) =>
    y.options({
      ...listingOptions,
      for: { type: "string", describe: "Only about this Fleet, member or cluster" },
    }),
  handler: (args) =>
    withHub(args.kubeconfig, async (hub) => {
      const all = await listOf(hub, hubResources.event, args);
      const ours = all.filter((event) => isOurs(event) && isAbout(event, args.for));
      const timeOf = (event: KubeObject) => asString(event["eventTime"]) ?? "";
      printItems(
        ours.sort((a, b) => (timeOf(a) < timeOf(b) ? -1 : 1)),
        {
          resource: hubResources.event,
          headers: ["age", "namespace", "about", "type", "reason", "note"],
          row: (event, now) => [
            ago(timeOf(event), now),
            event.metadata.namespace ?? "",
            `${text(event, "kind")}/${text(event, "name")}`,
            asString(event["type"]) ?? "",
            asString(event["reason"]) ?? "",
            asString(event["note"]) ?? "",
          ],
        },
        args,
      );
    }),
};

const text = (event: KubeObject, field: string) => asString(asMap(event["regarding"])[field]) ?? "";

const isOurs = (event: KubeObject) =>
  (asString(asMap(event["regarding"])["apiVersion"]) ?? "").startsWith("capitan.dev/");

/** A member's name holds its Fleet's and its cluster's: `<fleet>-<cluster>-<hash>`. */
function isAbout(event: KubeObject, name: string | undefined): boolean {
  if (name === undefined) return true;
  const about = text(event, "name");
  return about === name || about.startsWith(`${name}-`) || about.includes(`-${name}-`);
}
