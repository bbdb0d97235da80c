import type { CommandModule } from "yargs";
import type { FleetMember, LayerStatus } from "../../pkg/api/index.ts";
import { clusterOf } from "../../pkg/cluster/index.ts";
import { ownerOf } from "../../pkg/fleet/index.ts";
import { idOfEntry, ownedBy, type Entry } from "../../pkg/inventory/index.ts";
import { nameOf } from "../../pkg/object/index.ts";
import { withHub } from "./hub.ts";
import { findMember, memberBuilder, type MemberArguments } from "./member.ts";
import { readLedger, withWorkload } from "./on-cluster.ts";
import { clean, formatted, outputOption } from "./text.ts";

type Arguments = MemberArguments & { readonly output: string };
type Branch = {
  readonly layer: string;
  readonly state: string;
  readonly source: string | undefined;
  readonly message: string | undefined;
  readonly objects: readonly { readonly name: string; readonly origin: string }[];
};

/** `capitan tree member NAME`: its layers, and the objects of each as the cluster's inventory has them. */
export const treeMember: CommandModule<object, Arguments> = {
  command: "member <name>",
  describe: "Show a member's layers and the objects that each has on its cluster",
  builder: (y) => memberBuilder(y).options(outputOption),
  handler: (args) =>
    withHub(args, async (hub) => {
      const member = (await findMember(hub, args)) as unknown as FleetMember;
      const cluster = clusterOf(member);
      const { inventory } = await withWorkload(hub, cluster, (on) => readLedger(on, cluster));
      const entries = ownedBy(inventory, ownerOf(member.spec.fleetRef));
      const branches = branchesOf(member.status?.layers ?? [], entries);
      const title = `${member.metadata.name} (cluster ${cluster.name}, Fleet ${member.spec.fleetRef.name}, revision ${member.spec.revision})`;
      process.stdout.write(
        args.output === "json" || args.output === "yaml"
          ? formatted({ member: member.metadata.name, layers: branches }, args.output)
          : clean(drawn(title, branches)),
      );
    }),
};

function branchesOf(layers: readonly LayerStatus[], entries: readonly Entry[]): readonly Branch[] {
  const known = new Set(layers.map(({ name }) => name));
  const gone = [...new Set(entries.map(({ layer }) => layer))].filter((name) => !known.has(name));
  const of = (name: string) =>
    entries
      .filter((entry) => entry.layer === name)
      .map((entry) => ({ name: nameOf(idOfEntry(entry)), origin: originOf(entry) }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  return [
    ...layers.map(({ name, state, revision, reason, message }) => ({
      layer: name,
      state,
      source: revision,
      message: reason === undefined ? undefined : `${reason}: ${message ?? ""}`,
      objects: of(name),
    })),
    ...gone.map((name) => ({
      layer: name === "" ? "(unknown)" : name,
      state: "Leaving",
      source: undefined,
      message: "is not in the member's revision any more",
      objects: of(name),
    })),
  ];
}

/** What would become of the object if the layer left. */
function originOf({ uid, created, policy }: Entry): string {
  if (uid === undefined) return "not applied yet";
  if (created !== true) return "adopted, never deleted";
  return policy === "Orphan" ? "created, left behind" : "created";
}

function drawn(title: string, branches: readonly Branch[]): string {
  const lines = branches.flatMap(({ layer, state, source, message, objects }, i) => {
    const isLast = i === branches.length - 1;
    const what = [layer, state, source?.slice(0, 40), message].filter((t) => t !== undefined);
    const width = Math.max(0, ...objects.map(({ name }) => name.length));
    return [
      `${isLast ? "└──" : "├──"} ${what.join("   ")}`,
      ...objects.map(({ name, origin }, j) => {
        const branch = j === objects.length - 1 ? "└──" : "├──";
        return `${isLast ? "   " : "│  "} ${branch} ${name.padEnd(width)}   ${origin}`;
      }),
    ];
  });
  return `${[title, ...lines].join("\n")}\n`;
}
