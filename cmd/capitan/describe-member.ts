import type { CommandModule } from "yargs";
import { conditionOf, type Fleet, type FleetMember } from "../../pkg/api/index.ts";
import { hubResources } from "../../pkg/api/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";
import { causeOf, describedFor, eventsOf, facts } from "./describe.ts";
import { withHub } from "./hub.ts";
import { findMember, memberBuilder, type MemberArguments } from "./member.ts";
import { outputOption, table, type Output } from "./text.ts";

/** `capitan describe member NAME`, where NAME is the member's or its cluster's. */
export const describeMember: CommandModule<object, MemberArguments & Output> = {
  command: "member <name>",
  describe: "Show a FleetMember, by its name or by its cluster's",
  builder: (y) => memberBuilder(y).options(outputOption),
  handler: (args) =>
    withHub(args, async (hub) => {
      const member = await findMember(hub, args);
      const { output } = args;
      process.stdout.write(
        output === "text" ? await describe(hub, member) : await describedFor(output, hub, member),
      );
    }),
};

async function describe(hub: KubeClient, object: KubeObject): Promise<string> {
  const { spec, status } = object as unknown as FleetMember;
  const fleet = (await hub.get(hubResources.fleet, spec.fleetRef)) as unknown as Fleet | undefined;
  const head = headOf(object as unknown as FleetMember, fleet);
  const events = await eventsOf(hub, object);
  return `${head}${fleetTrouble(fleet)}${layers(status?.layers ?? [])}${events}`;
}

function headOf({ metadata, spec, status }: FleetMember, fleet: Fleet | undefined): string {
  const missing = fleet === undefined ? " (does not exist)" : "";
  return facts([
    ["Member", `${metadata.namespace ?? ""}/${metadata.name}`],
    ["Cluster", spec.clusterRef.name],
    ["Fleet", `${spec.fleetRef.namespace}/${spec.fleetRef.name}${missing}`],
    ["Revision", revisionOf(spec.revision, status?.currentRevision)],
    ["State", spec.state === "Removed" ? "Removed (is to leave the cluster)" : undefined],
    ...causeOf(status?.conditions),
    ["Objects", status?.objects?.toString()],
    ["Last applied", status?.lastAppliedTime],
  ]);
}

function revisionOf(wanted: string, applied: string | undefined): string {
  return wanted === applied ? wanted : `${wanted} (applied: ${applied ?? "none"})`;
}

/** When the Fleet itself cannot go on, its members stay where they are: say so here. */
function fleetTrouble(fleet: Fleet | undefined): string {
  const ready = conditionOf(fleet?.status?.conditions, "Ready");
  const own = ready?.status === "False" && !ready.message.includes(" clusters ready");
  return own
    ? `\nThe Fleet is stuck, so this member stays at its revision\n${facts(causeOf(fleet?.status?.conditions))}`
    : "";
}

function layers(all: NonNullable<FleetMember["status"]>["layers"] = []): string {
  if (all.length === 0) return "";
  const rows = all.map(({ name, state, objects, revision, reason, message }) => [
    name,
    state,
    String(objects),
    (revision ?? "-").slice(0, 40),
    reason === undefined ? "" : `${reason}: ${message ?? ""}`,
  ]);
  return `\nLayers\n${table(["name", "state", "objects", "source", "message"], rows)}`;
}
