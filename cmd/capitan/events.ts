import type { CommandModule } from "yargs";
import { hubResources, type FleetMember } from "../../pkg/api/index.ts";
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
    withHub(args, async (hub) => {
      const all = await listOf(hub, hubResources.event, args);
      const found = await listOf(hub, hubResources.fleetMember, { namespace: args.namespace });
      const members = found as unknown as readonly FleetMember[];
      const isWanted = (event: KubeObject) =>
        args.for === undefined ||
        isAbout({ kind: text(event, "kind"), name: text(event, "name") }, args.for, members);
      const ours = all.filter((event) => isOurs(event) && isWanted(event));
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

/** Whether this is the Fleet or member of that name, or a member of that Fleet or cluster. */
export function isAbout(
  regarding: { readonly kind: string; readonly name: string },
  wanted: string,
  members: readonly FleetMember[],
): boolean {
  if (regarding.name === wanted) return true;
  if (regarding.kind !== "FleetMember") return false;
  const member = members.find(({ metadata }) => metadata.name === regarding.name);
  if (member !== undefined)
    return member.spec.fleetRef.name === wanted || member.spec.clusterRef.name === wanted;
  // The member has gone; its name was `<fleet>-<cluster>-<8 hex>`.
  const rest = regarding.name.replace(/-[0-9a-f]{8}$/, "");
  return rest.startsWith(`${wanted}-`) || rest.endsWith(`-${wanted}`);
}
