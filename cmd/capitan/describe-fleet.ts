import type { CommandModule } from "yargs";
import type { Fleet } from "../../pkg/api/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { causeOf, describedFor, eventsOf, facts } from "./describe.ts";
import { findFleet, fleetBuilder, type FleetArguments } from "./fleet.ts";
import { withHub } from "./hub.ts";
import { outputOption, table, type Output } from "./text.ts";

/** `capitan describe fleet NAME` */
export const describeFleet: CommandModule<object, FleetArguments & Output> = {
  command: "fleet <name>",
  describe: "Show a Fleet",
  builder: (y) => fleetBuilder(y).options(outputOption),
  handler: (args) =>
    withHub(args, async (hub) => {
      const fleet = await findFleet(hub, args);
      const { output } = args;
      process.stdout.write(
        output === "text" ? await describe(hub, fleet) : await describedFor(output, hub, fleet),
      );
    }),
};

async function describe(hub: KubeClient, fleet: Fleet): Promise<string> {
  return `${headOf(fleet)}${notReady(fleet)}${await eventsOf(hub, fleet)}`;
}

function headOf({ metadata, spec, status }: Fleet): string {
  return facts([
    ["Fleet", `${metadata.namespace ?? ""}/${metadata.name}`],
    ["Layers", spec.layers.map(({ name }) => name).join(", ")],
    ["Revision", status?.updateRevision],
    ["Suspended", spec.suspend ? "yes" : undefined],
    ...causeOf(status?.conditions),
    ["Clusters", countsOf(status)],
    ["Last resolved", status?.lastResolvedTime],
  ]);
}

function countsOf(status: Fleet["status"]): string | undefined {
  if (status?.clusters === undefined) return undefined;
  const { matched, ready, updating, failed } = status.clusters;
  return `${matched} matched, ${ready} ready, ${updating} updating, ${failed} failed`;
}

function notReady({ status }: Fleet): string {
  const rows = (status?.worst ?? []).map(({ cluster, reason, message }) => [
    cluster,
    reason,
    message,
  ]);
  return rows.length === 0 ? "" : `\nNot ready\n${table(["cluster", "reason", "message"], rows)}`;
}
