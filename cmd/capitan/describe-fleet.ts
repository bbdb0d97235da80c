import type { CommandModule } from "yargs";
import type { Fleet } from "../../pkg/api/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { causeOf, eventsOf, facts } from "./describe.ts";
import { findFleet, fleetBuilder, type FleetArguments } from "./fleet.ts";
import { withHub } from "./hub.ts";
import { table } from "./text.ts";

/** `capitan describe fleet NAME` */
export const describeFleet: CommandModule<object, FleetArguments> = {
  command: "fleet <name>",
  describe: "Show a Fleet",
  builder: fleetBuilder,
  handler: (args) =>
    withHub(args.kubeconfig, async (hub) => {
      process.stdout.write(await describe(hub, await findFleet(hub, args)));
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
