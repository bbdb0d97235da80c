import type { CommandModule } from "yargs";
import { conditionOf, hubResources, type FleetMember } from "../../pkg/api/index.ts";
import { clusterFacts, clusterResource } from "../../pkg/capi/index.ts";
import { momentOf, type ClusterFacts } from "../../pkg/cluster/index.ts";
import { asMap, asString } from "../../pkg/json/index.ts";
import { annotations, type KubeObject } from "../../pkg/object/index.ts";
import { withHub } from "./hub.ts";
import { listOf, listingOptions, printItems, type ListingArguments } from "./listing.ts";
import { ago } from "./text.ts";

/** `capitan get clusters` */
export const getClusters: CommandModule<object, ListingArguments> = {
  command: "clusters",
  aliases: ["cluster"],
  describe: "List Clusters with the Fleets on them and whether they are ready",
  builder: listingOptions,
  handler: (args) =>
    withHub(args, async (hub) => {
      const { namespace } = args;
      const clusters = await listOf(hub, clusterResource, args);
      const all = await listOf(hub, hubResources.fleetMember, { namespace });
      const members = all as unknown as readonly FleetMember[];
      const onCluster = ({ metadata }: KubeObject) =>
        members.filter(
          (m) =>
            m.metadata.namespace === metadata.namespace && m.spec.clusterRef.name === metadata.name,
        );
      printItems(
        clusters,
        {
          resource: clusterResource,
          headers: ["namespace", "cluster", "version", "fleets", "ready", "age", "status"],
          row: (cluster, now) => rowOf(cluster, onCluster(cluster), now),
          wide: { headers: ["template"], row: (cluster) => [templateOf(cluster)] },
        },
        args,
      );
    }),
};

function rowOf(cluster: KubeObject, members: readonly FleetMember[], now: Date): readonly string[] {
  const facts = clusterFacts(cluster);
  const ready = members.filter(({ status }) => readyOf(status)?.status === "True");
  return [
    facts.namespace,
    facts.name,
    versionOf(cluster),
    members.map(({ spec }) => spec.fleetRef.name).join(",") || "-",
    `${ready.length}/${members.length}`,
    ago(cluster.metadata.creationTimestamp, now),
    statusOf(facts, members, now),
  ];
}

/** The ClusterTemplate that it was made from, where that one says so. */
const templateOf = ({ metadata }: KubeObject) =>
  metadata.annotations?.[annotations.template] ?? "-";

const readyOf = (status: FleetMember["status"]) => conditionOf(status?.conditions, "Ready");

function versionOf(cluster: KubeObject): string {
  return asString(asMap(asMap(cluster["spec"])["topology"])["version"]) ?? "-";
}

/** The first thing that a person wants to know of the cluster. */
function statusOf(facts: ClusterFacts, members: readonly FleetMember[], now: Date): string {
  const { suspendedUntil } = facts;
  if (facts.deleting) return "is being deleted";
  if (facts.paused) return "is paused";
  if (momentOf(suspendedUntil) > now.getTime()) return `is suspended until ${suspendedUntil ?? ""}`;
  if (!facts.controlPlaneInitialized) return "its control plane is not initialized yet";
  return members.length === 0 ? "no Fleet selects it" : troubleOf(members);
}

function troubleOf(members: readonly FleetMember[]): string {
  const stuck = members.find(({ status }) => readyOf(status)?.status === "False");
  const ready = readyOf(stuck?.status);
  if (stuck === undefined || ready === undefined) return "";
  return `${stuck.spec.fleetRef.name}: ${ready.reason}: ${ready.message}`;
}
