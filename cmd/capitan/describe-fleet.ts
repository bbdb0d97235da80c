import type { CommandModule } from "yargs";
import type { Fleet } from "../../pkg/api/index.ts";
import { hubResources } from "../../pkg/api/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";
import { causeOf, eventsOf, facts, onlyOne } from "./describe.ts";
import { hubOptions, withHub } from "./hub.ts";
import { listOf } from "./listing.ts";
import { table } from "./text.ts";

type Arguments = {
  readonly kubeconfig?: string | undefined;
  readonly namespace?: string | undefined;
  readonly name: string;
};

/** `capitan describe fleet NAME` */
export const describeFleet: CommandModule<object, Arguments> = {
  command: "fleet <name>",
  describe: "Show a Fleet",
  builder: (y) =>
    y
      .options({
        ...hubOptions,
        namespace: { alias: "n", type: "string", describe: "The Fleet's namespace" },
      })
      .positional("name", { type: "string", demandOption: true, describe: "The Fleet" }),
  handler: (args) =>
    withHub(args.kubeconfig, async (hub) => {
      const all = await listOf(hub, hubResources.fleet, { namespace: args.namespace });
      const fleet = onlyOne(
        all.filter(({ metadata }) => metadata.name === args.name),
        `Fleet named ${args.name}`,
      );
      process.stdout.write(await describe(hub, fleet));
    }),
};

async function describe(hub: KubeClient, object: KubeObject): Promise<string> {
  const fleet = object as unknown as Fleet;
  return `${headOf(fleet)}${notReady(fleet)}${await eventsOf(hub, object)}`;
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
