import type { Argv, CommandModule } from "yargs";
import { stringify } from "yaml";
import type { Fleet } from "../../pkg/api/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import type { ClusterFacts } from "../../pkg/cluster/index.ts";
import { isSelected } from "../../pkg/fleet/index.ts";
import type { DesiredObject, LayerPlan } from "../../pkg/engine/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";
import { clustersOf } from "./diff-fleet.ts";
import { layersFor, offlineLayers, withResolved, type Resolved } from "./desired.ts";
import { findFleet } from "./fleet.ts";
import { hubOptions, withHub, type HubArguments } from "./hub.ts";
import { hubMeans, offlineMeans } from "./means.ts";
import { directories, readOffline } from "./offline.ts";
import { withWorkload } from "./on-cluster.ts";
import { repeatable } from "./repeatable.ts";
import { clean } from "./text.ts";

type RenderArguments = HubArguments & {
  readonly namespace?: string | undefined;
  readonly name: string;
  readonly cluster: string;
  readonly file?: readonly string[] | undefined;
  readonly source?: readonly string[] | undefined;
  readonly "show-secrets": boolean;
  readonly output: string;
};
type LayerArguments = RenderArguments & { readonly fleet: string };

const options = {
  ...hubOptions,
  namespace: { alias: "n", type: "string", describe: "The Fleet's namespace" },
  cluster: { type: "string", demandOption: true, describe: "For which Cluster" },
  file: {
    alias: "f",
    type: "string",
    array: true,
    nargs: 1,
    describe:
      "Without a hub: files with the Fleet, the Cluster, and the ConfigMaps and Secrets that the Fleet names; may be repeated",
  },
  source: {
    type: "string",
    array: true,
    nargs: 1,
    describe:
      "Without a hub: LAYER=DIR, the directory in place of a layer's artifact; may be repeated",
  },
  "show-secrets": { type: "boolean", default: false, describe: "Print the values of Secrets" },
  output: {
    alias: "o",
    choices: ["yaml", "json"],
    default: "yaml",
    describe: "Form of the output",
  },
} as const;

const builder = (y: Argv, what: string) =>
  repeatable(y, "file", "source")
    .options(options)
    .positional("name", { type: "string", demandOption: true, describe: what });

/** `capitan render fleet NAME --cluster C`: every object as it is applied to that cluster. */
export const renderFleet: CommandModule<object, RenderArguments> = {
  command: "fleet <name>",
  describe: "Print what a Fleet applies to a cluster, byte for byte, with or without a hub",
  builder: (y) => builder(y, "The Fleet"),
  handler: (args) => print(args, args.name, () => true),
};

/** `capitan render layer NAME --fleet F --cluster C` */
export const renderLayer: CommandModule<object, LayerArguments> = {
  command: "layer <name>",
  describe: "Print what one layer of a Fleet applies to a cluster",
  builder: (y) =>
    builder(y, "The layer").option("fleet", {
      type: "string",
      demandOption: true,
      describe: "The layer's Fleet",
    }),
  handler: async (args) => print(args, args.fleet, (layer) => layer === args.name),
};

async function print(
  args: RenderArguments,
  fleet: string,
  isWanted: (layer: string) => boolean,
): Promise<void> {
  const all = await (args.file === undefined
    ? onHub(args, fleet)
    : offline(args, { fleet, isWanted }, args.file));
  const layers = all.filter(({ name }) => isWanted(name));
  if (layers.length === 0) {
    const known = all.map(({ name }) => name).join(", ");
    throw new CapitanError("NotFound", `Fleet ${fleet} has no such layer; it has ${known}`);
  }
  const broken = layers.find(({ problem }) => problem !== undefined);
  if (broken?.problem !== undefined)
    throw new CapitanError(broken.problem.code, broken.problem.message);
  const objects = layers.flatMap((layer) => layer.objects.map((one) => shown(one, args)));
  process.stdout.write(
    args.output === "json"
      ? `${JSON.stringify(objects, undefined, 2)}\n`
      : objects.map((object) => `---\n${clean(stringify(object))}`).join(""),
  );
}

function onHub(args: RenderArguments, name: string): Promise<readonly LayerPlan[]> {
  return withHub(args, async (hub) => {
    const fleet = await findFleet(hub, { ...args, name });
    const cluster = chosen(fleet, await clustersOf(hub, fleet), args.cluster);
    return withResolved(hubMeans(hub), fleet, (resolved) =>
      withWorkload(hub, cluster, (workload) => layersFor({ hub, workload }, resolved, cluster)),
    );
  });
}

async function offline(
  { cluster: wanted, namespace, source = [] }: RenderArguments,
  { fleet: name, isWanted }: { fleet: string; isWanted: (layer: string) => boolean },
  files: readonly string[],
): Promise<readonly LayerPlan[]> {
  const inputs = await readOffline(files);
  const found = inputs.fleets.find(
    ({ metadata }) =>
      metadata.name === name && (namespace === undefined || metadata.namespace === namespace),
  );
  if (found === undefined)
    throw new CapitanError("NotFound", `the files have no Fleet named ${name}`);
  const fleet = withOnly(found, isWanted);
  const cluster = chosen(fleet, inputs.clusters, wanted);
  const means = offlineMeans(inputs, await directories(fleet, source));
  return withResolved(means, fleet, (resolved: Resolved) =>
    offlineLayers(resolved, inputs, cluster),
  );
}

/** A Fleet of these layers alone, so that the sources of others need not be there. */
function withOnly(fleet: Fleet, isWanted: (layer: string) => boolean): Fleet {
  const all = fleet.spec.layers;
  const layers = all.filter(({ name }) => isWanted(name));
  if (layers.length === 0 || layers.length === all.length) return fleet;
  const alone = layers.map(({ dependsOn: _, ...layer }) => layer);
  return { ...fleet, spec: { ...fleet.spec, layers: alone } };
}

/** The Cluster of this name, when the Fleet selects it. Throws NotFound. */
function chosen(fleet: Fleet, clusters: readonly ClusterFacts[], name: string): ClusterFacts {
  const found = clusters.find((cluster) => cluster.name === name && isSelected(fleet, cluster));
  if (found !== undefined) return found;
  const message = `Fleet ${fleet.metadata.name} does not select a Cluster named ${name}`;
  throw new CapitanError("NotFound", message);
}

/** An object as it is sent; the values of a Secret only when they are asked for. */
function shown({ object }: DesiredObject, args: RenderArguments): KubeObject {
  if (object.kind !== "Secret" || args["show-secrets"]) return object;
  const keys = Object.keys((object["data"] as object | undefined) ?? {});
  return { ...object, data: Object.fromEntries(keys.map((key) => [key, "(masked)"])) };
}
