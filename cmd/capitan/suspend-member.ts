import type { CommandModule } from "yargs";
import { durationMs, type FleetMember } from "../../pkg/api/index.ts";
import { clusterResource } from "../../pkg/capi/index.ts";
import { clusterKey, clusterOf, isManagement } from "../../pkg/cluster/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { annotations } from "../../pkg/object/index.ts";
import { withHub } from "./hub.ts";
import { memberBuilder, membersNamed, type MemberArguments } from "./member.ts";
import { isDuration } from "./wait.ts";

const maxMs = 7 * 24 * 3_600_000;

/** `capitan suspend member NAME --for 1h`: what is changed on the cluster by hand stays for a while. */
export const suspendMember: CommandModule<object, MemberArguments & { readonly for: string }> = {
  command: "member <name>",
  describe: "Write nothing to a cluster for a while, so that a fix made by hand stays",
  builder: (y) =>
    memberBuilder(y)
      .option("for", {
        type: "string",
        default: "1h",
        describe: "How long, as a duration such as 30m, up to 168h; it ends by itself",
      })
      .check(({ for: text }) => isUsable(text) || `--for ${text} is no duration up to 168h`),
  handler: (args) =>
    withHub(args, async (hub) => {
      const until = new Date(Date.now() + durationMs(args.for)).toISOString().replace(/\.\d+/, "");
      const { name, fleets } = await annotateCluster(hub, args, until);
      process.stdout.write(
        `Cluster ${name} is suspended until ${until} for Fleets ${fleets}\n  → to end it earlier: capitan resume member ${args.name}\n`,
      );
    }),
};

/** `capitan resume member NAME` */
export const resumeMember: CommandModule<object, MemberArguments> = {
  command: "member <name>",
  describe: "End a suspension: what was changed by hand meanwhile is put back",
  builder: memberBuilder,
  handler: (args) =>
    withHub(args, async (hub) => {
      const { name, fleets } = await annotateCluster(hub, args, null);
      process.stdout.write(`Cluster ${name} is resumed for Fleets ${fleets}\n`);
    }),
};

const isUsable = (text: string) => isDuration(text) && durationMs(text) <= maxMs;

/** The suspension is on the Cluster: it holds for all Fleets, and outlives members and moves. */
async function annotateCluster(
  hub: KubeClient,
  args: MemberArguments,
  until: string | null,
): Promise<{ readonly name: string; readonly fleets: string }> {
  const members = (await membersNamed(hub, args)) as unknown as readonly FleetMember[];
  const clusters = new Map(
    members.map((member) => [clusterKey(clusterOf(member)), clusterOf(member)]),
  );
  const [[key, cluster] = ["", undefined]] = clusters;
  if (cluster === undefined)
    throw new CapitanError("NotFound", `there is no FleetMember or cluster named ${args.name}`);
  if (clusters.size > 1) {
    const names = [...clusters.keys()].join(", ");
    throw new CapitanError("NotFound", `${args.name} means several: ${names}; use --namespace`);
  }
  if (isManagement(cluster)) {
    const message = "the management cluster has no Cluster to be suspended: capitan suspend fleet";
    throw new CapitanError("NotFound", message);
  }
  const patch = { metadata: { annotations: { [annotations.suspendedUntil]: until } } };
  await hub.mergePatch(clusterResource, cluster, patch);
  const fleets = members.map(({ spec }) => spec.fleetRef.name).join(", ");
  return { name: key, fleets };
}
