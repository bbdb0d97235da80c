import type { CommandModule } from "yargs";
import { hubResources } from "../../pkg/api/index.ts";
import { fleetBuilder, findFleet, type FleetArguments } from "./fleet.ts";
import { withHub } from "./hub.ts";

/** `capitan suspend fleet NAME`: it resolves nothing and changes no member until it is resumed. */
export const suspendFleet: CommandModule<object, FleetArguments> = {
  command: "fleet <name>",
  describe: "Resolve nothing and change no member; drift is still put back",
  builder: fleetBuilder,
  handler: (args) => setSuspend(args, true),
};

/** `capitan resume fleet NAME` */
export const resumeFleet: CommandModule<object, FleetArguments> = {
  command: "fleet <name>",
  describe: "End a Fleet's suspension",
  builder: fleetBuilder,
  handler: (args) => setSuspend(args, false),
};

function setSuspend(args: FleetArguments, suspend: boolean): Promise<void> {
  return withHub(args, async (hub) => {
    const { metadata } = await findFleet(hub, args);
    await hub.mergePatch(hubResources.fleet, metadata, { spec: { suspend } });
    const hint = suspend ? `\n  → to go on: capitan resume fleet ${metadata.name}` : "";
    const what = suspend ? "suspended" : "resumed";
    process.stdout.write(`Fleet ${metadata.namespace ?? ""}/${metadata.name} is ${what}${hint}\n`);
  });
}
