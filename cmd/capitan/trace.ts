import type { CommandModule } from "yargs";
import {
  conditionOf,
  hubResources,
  type FleetMember,
  type FleetRevision,
} from "../../pkg/api/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import { clusterKey, clusterOf } from "../../pkg/cluster/index.ts";
import { ownerOf } from "../../pkg/fleet/index.ts";
import type { Entry, Inventory } from "../../pkg/inventory/index.ts";
import { Discovery, type KubeClient } from "../../pkg/kube/index.ts";
import { nameOf, parseKey, type KubeObject, type ObjectId } from "../../pkg/object/index.ts";
import { facts } from "./describe.ts";
import { hubOptions, withHub, type HubArguments } from "./hub.ts";
import { membersNamed } from "./member.ts";
import { readLedger, withWorkload } from "./on-cluster.ts";
import { formatted, outputOption } from "./text.ts";

type Arguments = HubArguments & {
  readonly object: string;
  readonly cluster: string;
  readonly namespace?: string | undefined;
  readonly "cluster-namespace"?: string | undefined;
  readonly output: string;
};

/** `capitan trace KIND/NAME --cluster C`: from an object on a cluster back to the artifact it comes from. */
export const trace: CommandModule<object, Arguments> = {
  command: "trace <object>",
  describe: "From an object on a cluster to its layer, Fleet and artifact",
  builder: (y) =>
    y
      .options({
        ...hubOptions,
        cluster: {
          type: "string",
          demandOption: true,
          describe: "The Cluster that has the object",
        },
        "cluster-namespace": { type: "string", describe: "The Cluster's namespace" },
        namespace: { alias: "n", type: "string", describe: "The object's namespace" },
        ...outputOption,
      })
      .positional("object", {
        type: "string",
        demandOption: true,
        describe: "KIND[.GROUP]/NAME or KIND[.GROUP]/NAMESPACE/NAME",
      })
      .check(
        ({ object }) =>
          /^[^/]+(\/[^/]+){1,2}$/.test(object) ||
          `${object} is not KIND/NAME or KIND/NAMESPACE/NAME`,
      ),
  handler: (args) =>
    withHub(args, async (hub) => {
      const found = await traced(hub, args);
      process.stdout.write(
        args.output === "json" || args.output === "yaml"
          ? formatted(Object.fromEntries(found), args.output)
          : facts(found.map(([name, value]) => [wordsOf(name), value])),
      );
    }),
};

type Facts = readonly (readonly [string, string | undefined])[];

async function traced(hub: KubeClient, args: Arguments): Promise<Facts> {
  const members = (await membersNamed(hub, {
    namespace: args["cluster-namespace"],
    name: args.cluster,
  })) as unknown as readonly FleetMember[];
  const [first] = members;
  if (first === undefined)
    throw new CapitanError("NotFound", `no Fleet is on a cluster named ${args.cluster}`);
  const cluster = clusterOf(first);
  return withWorkload(hub, cluster, async (workload) => {
    const { inventory } = await readLedger(workload, cluster);
    const entry = onlyEntry(inventory, args);
    const id = parseKey(entry.key) as ObjectId;
    const member = members.find(({ spec }) => ownerOf(spec.fleetRef) === entry.owner);
    const live = await liveOf(workload, id, entry.version);
    return [
      ["object", `${nameOf(id)} on cluster ${clusterKey(cluster)}`],
      ["state", stateOf(entry, live)],
      ["layer", entry.layer],
      ...(await originOf(hub, member, entry)),
    ];
  });
}

/** The one object of the inventory that the arguments mean. Throws NotFound, also when there are several. */
function onlyEntry(inventory: Inventory, { object, namespace, cluster }: Arguments): Entry {
  const [kind = "", ...rest] = object.split("/");
  const [kindName = "", ...group] = kind.toLowerCase().split(".");
  const name = rest.at(-1) ?? "";
  const wanted = rest.length > 1 ? rest[0] : namespace;
  const found = [...inventory.values()].filter(({ key }) => {
    const id = parseKey(key);
    if (id === undefined || id.name !== name || id.kind.toLowerCase() !== kindName) return false;
    if (group.length > 0 && id.group.toLowerCase() !== group.join(".")) return false;
    return wanted === undefined || id.namespace === wanted;
  });
  const [first] = found;
  if (first !== undefined && found.length === 1) return first;
  const names = found.map(({ key }) => nameOf(parseKey(key) as ObjectId)).join(", ");
  throw new CapitanError(
    "NotFound",
    found.length === 0
      ? `${object} on cluster ${cluster} is in no inventory: no Fleet brought it`
      : `${object} may be ${names}; say KIND.GROUP/NAMESPACE/NAME`,
  );
}

async function liveOf(
  workload: KubeClient,
  { kind, group, namespace, name }: ObjectId,
  version: string,
): Promise<KubeObject | undefined> {
  const apiVersion = group === "" ? version || "v1" : `${group}/${version}`;
  const resource = await new Discovery(workload).find(apiVersion, kind);
  if (resource === undefined) return undefined;
  return workload.get(resource, { namespace, name }, { metadataOnly: true });
}

function stateOf({ uid, created }: Entry, live: KubeObject | undefined): string {
  if (uid === undefined) return live === undefined ? "not applied yet" : "being applied";
  if (live === undefined) return "gone from the cluster; it is put back at the next look";
  if (live.metadata.uid !== uid) return "made anew by somebody since it was last applied";
  return created === true ? "there, created by Capitan" : "there, adopted by Capitan";
}

async function originOf(
  hub: KubeClient,
  member: FleetMember | undefined,
  { layer }: Entry,
): Promise<Facts> {
  if (member === undefined) return [["fleet", "none on this hub: see capitan describe member"]];
  const { spec, metadata, status } = member;
  const { namespace, name } = spec.fleetRef;
  const revision = status?.currentRevision ?? spec.revision;
  const found = await hub.get(hubResources.fleetRevision, { namespace, name: revision });
  const ready = conditionOf(status?.conditions, "Ready");
  return [
    ["fleet", `${namespace}/${name}`],
    ["member", `${metadata.name}: ${ready?.reason ?? "has not been looked at yet"}`],
    ["revision", revision],
    ...sourceOf(found as unknown as FleetRevision | undefined, layer),
  ];
}

function sourceOf(revision: FleetRevision | undefined, layer: string): Facts {
  if (revision === undefined) return [["artifact", "unknown: the FleetRevision is gone"]];
  const source = revision.spec.layers.find(({ name }) => name === layer);
  if (source?.git !== undefined) {
    const { url, commit, revision } = source.git;
    return [
      ["artifact", `${url}@${commit}`],
      ["resolvedFrom", revision],
    ];
  }
  const artifact = source?.oci ?? source?.flux;
  if (artifact === undefined) return [["artifact", "none: inline in the Fleet"]];
  return [
    ["artifact", `${artifact.url}@${artifact.digest}`],
    ["resolvedFrom", artifact.revision.split("@")[0]],
  ];
}

/** `resolvedFrom` → `Resolved from`. */
function wordsOf(name: string): string {
  const words = name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return `${words.slice(0, 1).toUpperCase()}${words.slice(1)}`;
}
