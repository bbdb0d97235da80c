import { text as textOfStream } from "node:stream/consumers";
import type { Argv, CommandModule } from "yargs";
import { hubResources, type Fleet } from "../../pkg/api/index.ts";
import { clusterFacts, clusterResource } from "../../pkg/capi/index.ts";
import { managedElsewhere } from "../../pkg/drift/index.ts";
import type { DesiredObject, LayerPlan } from "../../pkg/engine/index.ts";
import { CapitanError, isCapitanError, messageOf } from "../../pkg/errors/index.ts";
import { managementFacts, type ClusterFacts } from "../../pkg/cluster/index.ts";
import { accountUser, isSelected, ownerOf } from "../../pkg/fleet/index.ts";
import { idOfEntry, ownedBy, type Inventory } from "../../pkg/inventory/index.ts";
import { ApiError, Discovery, type KubeClient } from "../../pkg/kube/index.ts";
import {
  fieldManager,
  labels,
  nameOf,
  parseManifests,
  type KubeObject,
  type Resource,
} from "../../pkg/object/index.ts";
import { changesBetween, type Change } from "./changes.ts";
import { layersFor, withResolved, type Resolved } from "./desired.ts";
import { textOfFile } from "./file-text.ts";
import { findFleet, fleetBuilder, type FleetArguments } from "./fleet.ts";
import { eachCluster } from "./each-cluster.ts";
import { withHub } from "./hub.ts";
import { hubMeans } from "./means.ts";
import { listOf } from "./listing.ts";
import { readLedger, withWorkload } from "./on-cluster.ts";
import { clean, formatted, outputOption } from "./text.ts";

/** How `diff` and `plan` are told which Fleet, and whether as it is or as a file has it. */
export type FleetOrFile = FleetArguments & {
  readonly file?: string | undefined;
  readonly output: string;
};

export function fleetOrFileBuilder(y: Argv): Argv<FleetOrFile> {
  return fleetBuilder(y).options({
    file: { alias: "f", type: "string", describe: "The Fleet as this file has it, - for stdin" },
    ...outputOption,
  });
}

type DiffArguments = FleetOrFile & { readonly cluster: string | undefined };

/** `capitan diff fleet NAME`: what the Fleet would change on its clusters now. Exit 0 nothing, 1 something, 2 failed. */
export const diffFleet: CommandModule<object, DiffArguments> = {
  command: "fleet <name>",
  describe:
    "What a Fleet would change on its clusters: a server-side dry run; exit 0 nothing, 1 something, 2 failed",
  builder: (y) =>
    fleetOrFileBuilder(y).option("cluster", { type: "string", describe: "Only this Cluster" }),
  handler: async (args) => {
    try {
      const all = await withHub(args, (hub) => diff(hub, args));
      process.stdout.write(
        args.output === "json" || args.output === "yaml"
          ? formatted(all, args.output)
          : all.map(textOf).join(""),
      );
      process.exitCode = all.some(isFailed) ? 2 : all.some(hasChanges) ? 1 : 0;
    } catch (error) {
      process.exitCode = 2;
      throw error;
    }
  },
};

type ObjectDiff = {
  readonly object: string;
  readonly layer: string;
  readonly action: "create" | "change" | "delete" | "release" | "refused";
  readonly changes: readonly Change[];
  readonly message?: string;
};

type ClusterDiff = {
  readonly cluster: string;
  readonly objects: readonly ObjectDiff[];
  /** Why the cluster, or a layer, could not be compared. */
  readonly problems: readonly { readonly code: string; readonly message: string }[];
};

const hasChanges = ({ objects }: ClusterDiff) => objects.length > 0;
const isFailed = ({ objects, problems }: ClusterDiff) =>
  problems.length > 0 || objects.some(({ action }) => action === "refused");

async function diff(hub: KubeClient, args: DiffArguments): Promise<readonly ClusterDiff[]> {
  const fleet = await fleetOf(hub, args);
  const selected = (await clustersOf(hub, fleet)).filter((cluster) => isSelected(fleet, cluster));
  const clusters = selected.filter(
    ({ name }) => args.cluster === undefined || name === args.cluster,
  );
  if (args.cluster !== undefined && clusters.length === 0)
    throw new CapitanError("NotFound", `the Fleet does not select a Cluster named ${args.cluster}`);
  return withResolved(hubMeans(hub), fleet, (resolved) =>
    eachCluster(clusters, (cluster) => diffCluster(hub, resolved, cluster)),
  );
}

/** The Fleet of this name as it is on the hub, or as the file has it. Throws NotFound, ManifestInvalid. */
export async function fleetOf(hub: KubeClient, args: FleetOrFile): Promise<Fleet> {
  if (args.file === undefined) return findFleet(hub, args);
  const text = args.file === "-" ? await textOfStream(process.stdin) : await textOfFile(args.file);
  const fleets = parseManifests(text, args.file).filter(({ kind }) => kind === "Fleet");
  const found = fleets.find(({ metadata }) => metadata.name === args.name);
  if (found === undefined)
    throw new CapitanError("NotFound", `${args.file} has no Fleet named ${args.name}`);
  const { name, namespace = args.namespace ?? "default" } = found.metadata;
  const live = await hub.get(hubResources.fleet, { namespace, name });
  return dryReplace(hub, { ...found, metadata: { ...found.metadata, namespace } }, live);
}

/**
 * The Fleet as it would be if the file were all of it: the hub fills in defaults and refuses
 * nonsense, and stores nothing. An apply would keep what somebody else had applied.
 */
async function dryReplace(
  hub: KubeClient,
  wanted: KubeObject,
  live: KubeObject | undefined,
): Promise<Fleet> {
  const options = { dryRun: true };
  if (live === undefined)
    return (await hub.create(hubResources.fleet, wanted, options)) as unknown as Fleet;
  const { uid, resourceVersion } = live.metadata;
  const metadata = { ...wanted.metadata, uid, resourceVersion };
  const replaced = { ...live, ...wanted, metadata } as KubeObject;
  return (await hub.replace(hubResources.fleet, replaced, options)) as unknown as Fleet;
}

/** All Clusters of the Fleet's namespace, and the hub itself. */
export async function clustersOf(
  hub: KubeClient,
  { metadata }: Fleet,
): Promise<readonly ClusterFacts[]> {
  const { namespace = "" } = metadata;
  const all = await listOf(hub, clusterResource, { namespace });
  return [...all.map(clusterFacts), managementFacts(namespace)];
}

async function diffCluster(
  hub: KubeClient,
  resolved: Resolved,
  cluster: ClusterFacts,
): Promise<ClusterDiff> {
  try {
    return await withWorkload(hub, cluster, async (workload) => {
      const layers = await layersFor({ hub, workload }, resolved, cluster);
      const problems = layers.flatMap(({ problem }) => problem ?? []);
      const { inventory } = await readLedger(workload, cluster);
      const { namespace = "", name } = resolved.fleet.metadata;
      // As the controller: what it may not do for this Fleet is refused here too.
      const account = resolved.fleet.spec.serviceAccountName;
      const user = account === undefined ? undefined : accountUser(namespace, account);
      const on = { workload: workload.as(user), inventory, owner: ownerOf({ namespace, name }) };
      const objects = await diffObjects(on, layers);
      const dropped = droppedFrom(on, layers);
      return { cluster: cluster.name, objects: [...objects, ...dropped], problems };
    });
  } catch (error) {
    const code = isCapitanError(error) ? error.code : "InternalError";
    return { cluster: cluster.name, objects: [], problems: [{ code, message: messageOf(error) }] };
  }
}

/** A workload cluster, what is written down there, and how the Fleet is called there. */
type On = {
  readonly workload: KubeClient;
  readonly inventory: Inventory;
  readonly owner: string;
};

async function diffObjects(on: On, layers: readonly LayerPlan[]): Promise<readonly ObjectDiff[]> {
  const discovery = new Discovery(on.workload);
  const wanted = layers.flatMap((layer) => layer.objects.map((object) => ({ layer, object })));
  const found = await Promise.all(
    wanted.map(({ layer, object }) => diffObject(on, discovery, layer, object)),
  );
  return found.flatMap((one) => one ?? []);
}

async function diffObject(
  on: On,
  discovery: Discovery,
  layer: LayerPlan,
  desired: DesiredObject,
): Promise<ObjectDiff | undefined> {
  const { workload } = on;
  const { id, object, mode } = desired;
  const base = { object: nameOf(id), layer: layer.name, changes: [] };
  const resource = await discovery.find(object.apiVersion, object.kind);
  if (resource === undefined) return { ...base, action: "create" };
  const live = await workload.get(resource, id);
  if (isLeftAlone(mode, live)) return undefined;
  const message = somebodysElse(on, layer, desired, live);
  if (message !== undefined) return { ...base, action: "refused", message };
  const { refused, object: result } = await dryRun(workload, resource, object);
  // Its Namespace comes with the same Fleet.
  const isEarly = live === undefined && refused?.status === 404;
  if (refused !== undefined && !isEarly)
    return { ...base, action: "refused", message: refused.message };
  return live === undefined ? { ...base, action: "create" } : changed(base, live, result);
}

function changed(
  base: Omit<ObjectDiff, "action">,
  live: KubeObject,
  result: KubeObject | undefined,
): ObjectDiff | undefined {
  const changes = changesBetween(live, result);
  return changes.length === 0 ? undefined : { ...base, action: "change", changes };
}

/** Why the controller would not write to an object that is there. */
function somebodysElse(
  { inventory, owner }: On,
  { adopt }: LayerPlan,
  { key }: DesiredObject,
  live: KubeObject | undefined,
): string | undefined {
  const found = inventory.get(key)?.owner ?? live?.metadata.labels?.[labels.owner];
  if (live === undefined || found === owner) return undefined;
  if (found !== undefined) return "OwnedByAnotherFleet: it belongs to another Fleet";
  const manager = adopt ? undefined : managedElsewhere(live.metadata);
  return manager === undefined ? undefined : `ManagedElsewhere: it is managed by ${manager}`;
}

const isLeftAlone = (mode: DesiredObject["mode"], live: KubeObject | undefined) =>
  mode === "Ignore" || (mode === "IfNotPresent" && live !== undefined);

type DryRun = {
  readonly object?: KubeObject;
  readonly refused?: { readonly message: string; readonly status: number };
};

/** What the object would be, or why the API server would not have it. */
async function dryRun(
  workload: KubeClient,
  resource: Resource,
  object: KubeObject,
): Promise<DryRun> {
  try {
    const options = { manager: fieldManager, dryRun: true };
    return { object: (await workload.apply(resource, object, options)).object };
  } catch (error) {
    if (!(error instanceof ApiError) || error.status === 0) throw error;
    const isSecret = object.kind === "Secret";
    const message = isSecret ? "(message withheld: it may quote the Secret)" : error.message;
    return { refused: { message, status: error.status } };
  }
}

/** What the Fleet has on the cluster and no longer wants. */
function droppedFrom(
  { inventory, owner }: On,
  layers: readonly LayerPlan[],
): readonly ObjectDiff[] {
  const wanted = new Set(layers.flatMap(({ objects }) => objects.map(({ key }) => key)));
  const broken = new Set(layers.filter((l) => l.problem !== undefined).map(({ name }) => name));
  const dropped = ownedBy(inventory, owner).filter(
    ({ key, layer }) => !wanted.has(key) && !broken.has(layer),
  );
  return dropped.map((entry) => ({
    object: nameOf(idOfEntry(entry)),
    layer: entry.layer,
    action: entry.created === true && entry.policy === "Delete" ? "delete" : "release",
    changes: [],
  }));
}

const signs = { create: "+", change: "~", delete: "-", release: "○", refused: "✗" } as const;

function textOf({ cluster, objects, problems }: ClusterDiff): string {
  const lines = objects.flatMap(({ object, layer, action, changes, message }) => [
    `  ${signs[action]} ${object} (layer ${layer}${action === "release" ? ", left behind" : ""})`,
    ...(message === undefined ? [] : [`      ${message}`]),
    ...changes.map(({ path, from, to }) => `      ${path}: ${short(from)} → ${short(to)}`),
  ]);
  const stuck = problems.map(({ code, message }) => `  ✗ ${code}: ${message}`);
  const all = [...stuck, ...lines];
  return clean(
    `${cluster}${all.length === 0 ? ": no change" : ""}\n${all.map((l) => `${l}\n`).join("")}`,
  );
}

function short(value: unknown): string {
  if (value === undefined) return "(none)";
  const text = JSON.stringify(value);
  return text.length > 120 ? `${text.slice(0, 119)}…` : text;
}
