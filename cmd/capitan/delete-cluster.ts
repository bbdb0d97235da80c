import type { CommandModule } from "yargs";
import { durationMs, hubResources, type FleetMember } from "../../pkg/api/index.ts";
import { clusterResource } from "../../pkg/capi/index.ts";
import {
  planRemoval,
  removedObjects,
  type ApprovedObject,
  type Cluster,
  type FileChange,
} from "../../pkg/clustertemplate/index.ts";
import { clusterKey, clusterOf } from "../../pkg/cluster/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import { Discovery, type KubeClient } from "../../pkg/kube/index.ts";
import { idOf, nameOf, type KubeObject } from "../../pkg/object/index.ts";
import { confirmed } from "./ask.ts";
import {
  commit,
  commitOptions,
  filesNow,
  openRepository,
  said,
  type CommitArguments,
  type OpenRepository,
  type RepositoryFiles,
} from "./cluster-commit.ts";
import { hubOptions, withHub, type HubArguments } from "./hub.ts";
import { listOf } from "./listing.ts";
import { membersNamed } from "./member.ts";
import { clean } from "./text.ts";
import { isWaitUsable } from "./wait.ts";
import { withdrawn } from "./withdrawal.ts";

type Arguments = CommitArguments &
  HubArguments & {
    readonly name: string;
    readonly namespace?: string | undefined;
    readonly yes: boolean;
    readonly withdraw: boolean;
    readonly timeout: string;
  };

/** `capitan delete cluster NAME` */
export const deleteCluster: CommandModule<object, Arguments> = {
  command: "cluster <name>",
  describe:
    "Take a cluster away: one commit that removes its files and agrees to what goes with them",
  builder: (y) =>
    y
      .positional("name", { type: "string", demandOption: true, describe: "The cluster" })
      .options({
        namespace: {
          alias: "n",
          type: "string",
          describe: "Namespace on the hub; .capitan.yaml says which when not set",
        },
        yes: { alias: "y", type: "boolean", default: false, describe: "Do not ask" },
        withdraw: {
          type: "boolean",
          default: false,
          describe: "First take the layers of all Fleets off the cluster, backwards",
        },
        timeout: {
          type: "string",
          default: "10m",
          describe: "How long --withdraw may take; then nothing is committed",
        },
        ...hubOptions,
        ...commitOptions,
      })
      .check(isWaitUsable)
      .example("$0 delete cluster prod-eu-1 --withdraw", "Load balancers and volumes first"),
  handler: (args) => withHub(args, (hub) => remove(hub, args)),
};

/** Nothing is changed anywhere before the person has agreed to exactly what goes. */
async function remove(hub: KubeClient, args: Arguments): Promise<void> {
  const open = await openRepository(args);
  const { namespace = open.repository.settings.namespace } = args;
  const cluster = { name: args.name, namespace };
  const approved = await approvedObjects(hub, open.files, cluster, open);
  const plan = planFor(hub, cluster, approved, open);
  // Whatever stands in the way is said before anybody is asked.
  const { changes } = await plan(open.files);
  process.stderr.write(clean(await goingText(hub, cluster, approved)));
  const files = changes.filter(({ before }) => before !== undefined);
  process.stderr.write(clean(`In the repository:\n${files.map(fileText).join("")}`));
  if (args["dry-run"]) return void (await commit(open, args, plan));
  await refuseUnlessMeant(args);
  const push = async (signal?: AbortSignal) => {
    const pushed = await commit(open, args, plan, signal);
    if (pushed === undefined) return;
    process.stdout.write(said(`cluster ${cluster.name} is to go`, pushed, open.repository));
  };
  if (!args.withdraw) return push();
  const leaving = changes.filter(({ after }) => after === undefined);
  const isPushed = async (signal: AbortSignal) => {
    const now = await filesNow(open.repository, signal);
    return leaving.every(({ path }) => !now.has(path));
  };
  await withdrawn(hub, cluster, durationMs(args.timeout), { push, isPushed });
}

function planFor(
  hub: KubeClient,
  cluster: Cluster,
  approved: readonly ApprovedObject[],
  { repository }: OpenRepository,
) {
  const { clusters } = repository.settings;
  return async (files: RepositoryFiles) => {
    const now = await approvedObjects(hub, files, cluster, { repository });
    if (JSON.stringify(now) !== JSON.stringify(approved))
      throw new CapitanError(
        "RemovalNeedsApproval",
        `what belongs to cluster ${cluster.name} has changed meanwhile: look again`,
      );
    const changes = planRemoval(files, cluster, { clusters, approved });
    return { changes, message: `Delete cluster ${cluster.name}` };
  };
}

/** The objects of the cluster's files that are on the hub, each as this very one. */
async function approvedObjects(
  hub: KubeClient,
  files: RepositoryFiles,
  cluster: Cluster,
  { repository }: Pick<OpenRepository, "repository">,
): Promise<readonly ApprovedObject[]> {
  const discovery = new Discovery(hub);
  const objects = removedObjects(files, cluster, repository.settings.clusters);
  const found = await Promise.all(objects.map((object) => approvedObject(hub, discovery, object)));
  return found.flatMap((one) => one ?? []);
}

async function approvedObject(
  hub: KubeClient,
  discovery: Discovery,
  object: KubeObject,
): Promise<ApprovedObject | undefined> {
  const { apiVersion, kind, metadata } = object;
  const resource = await discovery.find(apiVersion, kind);
  if (resource === undefined) return undefined;
  const { name, namespace } = metadata;
  const place = resource.namespaced ? { namespace: namespace ?? "default", name } : { name };
  const live = await hub.get(resource, place, { metadataOnly: true });
  return live?.metadata.uid === undefined
    ? undefined
    : { apiVersion, kind, ...place, uid: live.metadata.uid };
}

/** What goes, in words. */
async function goingText(
  hub: KubeClient,
  cluster: Cluster,
  approved: readonly ApprovedObject[],
): Promise<string> {
  const { namespace, name } = cluster;
  const members = (await membersNamed(hub, cluster)) as unknown as readonly FleetMember[];
  const own = members.filter((member) => clusterKey(clusterOf(member)) === clusterKey(cluster));
  const labelSelector = `cluster.x-k8s.io/cluster-name=${name}`;
  const secrets = await listOf(hub, hubResources.secret, { namespace, selector: labelSelector });
  const live = await hub.get(clusterResource, cluster, { metadataOnly: true });
  return [
    `Cluster ${namespace}/${name} goes${live === undefined ? "; the hub does not have it" : ", with everything that runs in it"}:\n`,
    ...approved.map(
      ({ kind, namespace = "", name, uid }) =>
        `  - ${nameOf({ group: "", kind, namespace, name })} (uid ${uid})\n`,
    ),
    ...secrets.map((secret) => `  - ${nameOf(idOf({ ...secret, kind: "Secret" }))}\n`),
    ...own.map(({ spec, status }) => {
      const layers = (status?.layers ?? []).map((layer) => layer.name).join(", ");
      return `  - Fleet ${spec.fleetRef.name} on it: ${status?.objects ?? 0} objects${layers === "" ? "" : `, layers ${layers}`}\n`;
    }),
  ].join("");
}

const fileText = ({ path, after }: FileChange) =>
  `  - ${path} ${after === undefined ? "goes" : "changes"}\n`;

async function refuseUnlessMeant({ name, yes }: Arguments): Promise<void> {
  if (yes || (await confirmed(`Delete cluster ${name}?`, "say --yes"))) return;
  throw new CapitanError("RemovalNeedsApproval", "not agreed: nothing was changed");
}
