import type { CommandModule } from "yargs";
import type { Fleet, FleetMember } from "../../pkg/api/index.ts";
import { isCapitanError, messageOf } from "../../pkg/errors/index.ts";
import { clusterKey, clusterOf, momentOf, type ClusterFacts } from "../../pkg/cluster/index.ts";
import { guardActions, ownerOf, planMembers, type MemberAction } from "../../pkg/fleet/index.ts";
import { approvalFor, ownedBy } from "../../pkg/inventory/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { nameOf, parseKey } from "../../pkg/object/index.ts";
import { changesIn } from "../../pkg/controllers/index.ts";
import { droppedOf, layersFor, withResolved, type Resolved } from "./desired.ts";
import { clustersOf, fleetOf, fleetOrFileBuilder, type FleetOrFile } from "./diff-fleet.ts";
import { membersOfFleet } from "./fleet.ts";
import { eachCluster } from "./each-cluster.ts";
import { withHub } from "./hub.ts";
import { hubMeans } from "./means.ts";
import { readLedger, withWorkload } from "./on-cluster.ts";
import { clean, formatted, table } from "./text.ts";

/** `capitan plan fleet NAME`: which clusters come and go, what each gains and loses, what needs approval. */
export const planFleet: CommandModule<object, FleetOrFile> = {
  command: "fleet <name>",
  describe: "Which clusters would come and go, how many objects, and which approvals are needed",
  builder: fleetOrFileBuilder,
  handler: (args) =>
    withHub(args, async (hub) => {
      const plan = await planOf(hub, await fleetOf(hub, args));
      process.stdout.write(
        args.output === "json" || args.output === "yaml"
          ? formatted(plan, args.output)
          : textOf(plan),
      );
    }),
};

type ClusterPlan = {
  readonly cluster: string;
  readonly action: "joins" | "leaves" | "updates" | "stays";
  readonly adds: readonly string[];
  readonly removes: readonly string[];
  /** The approval that is needed on the member. */
  readonly approval?: string | undefined;
  readonly problem?: string | undefined;
  /** Until when nothing of this happens there. */
  readonly suspendedUntil?: string | undefined;
};

type Plan = {
  readonly fleet: string;
  readonly revision: string;
  /** Nothing of this happens before the Fleet is resumed. */
  readonly suspended: boolean;
  readonly clusters: readonly ClusterPlan[];
  /** What the Fleet itself would ask for. */
  readonly approval?: string | undefined;
};

async function planOf(hub: KubeClient, fleet: Fleet): Promise<Plan> {
  return withResolved(hubMeans(hub), fleet, async (resolved) => {
    const members = await membersOfFleet(hub, fleet);
    const clusters = await clustersOf(hub, fleet);
    const revision = resolved.revision.metadata.name;
    const now = new Date();
    const actions = planMembers({ fleet, clusters, members, revision, now });
    const affected = clusters.flatMap((cluster) => {
      const key = clusterKey(cluster);
      const action = actions.find((a) => a.kind === "write" && clusterKey(a.cluster) === key);
      const member = members.find((one) => clusterKey(clusterOf(one)) === key);
      if (action === undefined && member === undefined) return [];
      return [{ fleet, resolved, cluster, action, member }];
    });
    const touched = await eachCluster(affected, (one) => planCluster(hub, one));
    const dropped = await droppedOf(hub, resolved, changesIn(actions, members));
    const { problem } = guardActions({ fleet, members, actions, dropped, now });
    const { namespace = "", name } = fleet.metadata;
    return {
      fleet: clusterKey({ namespace, name }),
      revision,
      suspended: fleet.spec.suspend ?? false,
      clusters: touched,
      approval: problem?.message,
    };
  });
}

type Of = {
  readonly fleet: Fleet;
  readonly resolved: Resolved;
  readonly cluster: ClusterFacts;
  readonly action: MemberAction | undefined;
  readonly member: FleetMember | undefined;
};

async function planCluster(hub: KubeClient, of: Of): Promise<ClusterPlan> {
  const { name: cluster, suspendedUntil: until } = of.cluster;
  const suspendedUntil = momentOf(until) > Date.now() ? until : undefined;
  const base = { cluster, action: wordOf(of), adds: [], removes: [], suspendedUntil };
  try {
    return await withWorkload(hub, of.cluster, async (workload) => {
      const { namespace = "", name } = of.fleet.metadata;
      const owned = ownedBy(
        (await readLedger(workload, of.cluster)).inventory,
        ownerOf({ namespace, name }),
      );
      const layers =
        base.action === "leaves" ? [] : await layersFor({ hub, workload }, of.resolved, of.cluster);
      const wanted = layers.flatMap(({ objects }) => objects.map(({ key }) => key));
      const has = new Set(owned.map(({ key }) => key));
      const goes = owned.filter(({ key }) => !wanted.includes(key));
      const approved = layers.flatMap(({ approvals = [] }) => approvals);
      const deleted = goes.filter(
        (e) =>
          e.created === true &&
          e.policy === "Delete" &&
          !approved.some(({ key, uid }) => key === e.key && uid === e.uid),
      );
      const stuck = layers.flatMap(({ problem }) => problem ?? [])[0];
      return {
        ...base,
        adds: wanted.filter((key) => !has.has(key)).map(nameOfKey),
        removes: stuck === undefined ? goes.map(({ key }) => nameOfKey(key)) : [],
        approval: approvalFor(clusterKey(of.cluster), deleted, owned.length)?.message,
        problem: stuck === undefined ? undefined : `${stuck.code}: ${stuck.message}`,
      };
    });
  } catch (error) {
    const code = isCapitanError(error) ? error.code : "InternalError";
    return { ...base, problem: `${code}: ${messageOf(error)}` };
  }
}

function wordOf({ action, member }: Of): ClusterPlan["action"] {
  if (action === undefined || action.kind !== "write") return "stays";
  if (action.spec.state === "Removed") return "leaves";
  return member === undefined ? "joins" : "updates";
}

function nameOfKey(key: string): string {
  const id = parseKey(key);
  return id === undefined ? key : nameOf(id);
}

function obstacleOf({ problem, approval, suspendedUntil }: ClusterPlan): string {
  const pause = suspendedUntil === undefined ? undefined : `suspended until ${suspendedUntil}`;
  return problem ?? approval ?? pause ?? "";
}

function textOf({ fleet, revision, suspended, clusters, approval }: Plan): string {
  const hint = suspended
    ? `it is suspended: nothing of this happens before capitan resume fleet\n`
    : "";
  const head = `Fleet ${fleet} would pin its members to ${revision}\n${hint}`;
  if (clusters.length === 0) return `${head}no Cluster is concerned\n`;
  const headers = ["cluster", "action", "adds", "removes", "what is in the way"];
  const rows = clusters.map((plan) => [
    plan.cluster,
    plan.action,
    String(plan.adds.length),
    String(plan.removes.length),
    obstacleOf(plan),
  ]);
  const detail = clusters.flatMap(({ cluster, adds, removes }) => [
    ...adds.map((name) => `  + ${name} on ${cluster}\n`),
    ...removes.map((name) => `  - ${name} on ${cluster}\n`),
  ]);
  const needs = approval === undefined ? "" : `\nThe Fleet would need approval: ${approval}\n`;
  return clean(
    `${head}\n${table(headers, rows)}${detail.length === 0 ? "" : "\n"}${detail.join("")}${needs}`,
  );
}
