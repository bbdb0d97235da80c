import type { FleetMember, FleetRevision, RevisionLayer } from "../api/index.ts";
import { renderLayer, type LayerInputs } from "../engine/index.ts";
import { CapitanError, isCapitanError } from "../errors/index.ts";
import type { ClusterFacts } from "../cluster/index.ts";
import type { MemberAction } from "../fleet/index.ts";
import { idOf, keyOf } from "../object/index.ts";
import type { Actor, Named } from "./ports.ts";
import type { Sources } from "./sources.ts";

/** Clusters that are judged at once. */
const atOnce = 16;

/** A member that is moved from one revision to another, by their names. */
export type Change = {
  readonly before: string;
  readonly after: string;
  readonly cluster: ClusterFacts;
};

/** The members that these actions move from one revision to another. */
export function changesIn(
  actions: readonly MemberAction[],
  members: readonly FleetMember[],
): readonly Change[] {
  const from = new Map(members.map((member) => [member.metadata.name, member.spec.revision]));
  return actions.flatMap((action) => {
    const before = from.get(action.name);
    if (action.kind !== "write" || before === undefined) return [];
    const after = action.spec.revision;
    return before === after ? [] : [{ before, after, cluster: action.cluster }];
  });
}

/** What a change deletes on a cluster, as keys of objects. */
export type Dropped = (before: string, after: string, cluster: string) => readonly string[];

type Means = {
  readonly fleet: Named;
  /** The user as whom the Fleet's inputs are read. */
  readonly as: Actor;
  readonly sources: Sources;
  readonly revision: (name: string) => Promise<FleetRevision | undefined>;
};

type Loaded = readonly { readonly layer: RevisionLayer; readonly inputs: LayerInputs }[];

/**
 * The objects that each of these changes deletes: those that the later revision has no more, where
 * the earlier one says Delete. A revision that cannot be made any more may drop anything: that counts
 * as something.
 */
export async function droppedBy(
  changes: readonly Change[],
  means: Means,
  signal: AbortSignal,
): Promise<Dropped> {
  const found = new Map<string, readonly string[]>();
  // Most clusters of a Fleet get the same: that is compared once.
  const compared = new Map<string, readonly string[]>();
  const judge = async ({ before, after, cluster }: Change): Promise<void> => {
    const sides = await Promise.all(
      [before, after].map((name) => loadOrUnknown(name, cluster, means, signal)),
    );
    const [from, to] = sides;
    const made = sides.map((side) => side?.map(({ inputs }) => inputs.made ?? ""));
    const same = JSON.stringify([before, after, made]);
    const dropped = compared.get(same) ?? compare(from, to, before);
    compared.set(same, dropped);
    found.set(`${before} ${after} ${cluster.name}`, dropped);
  };
  for (let i = 0; i < changes.length; i += atOnce)
    await Promise.all(changes.slice(i, i + atOnce).map(judge));
  return (before, after, cluster) => found.get(`${before} ${after} ${cluster}`) ?? [];
}

function compare(from: Loaded | undefined, to: Loaded | undefined, name: string) {
  const unknown = [`unknown objects of revision ${name}`];
  try {
    // What cannot be made is not applied, and nothing is removed for it.
    if (to === undefined) return [];
    if (from === undefined) return unknown;
    const kept = new Set(to.flatMap(keysIn));
    const deletable = from.filter(({ layer }) => layer.deletionPolicy === "Delete");
    return deletable.flatMap(keysIn).filter((key) => !kept.has(key));
  } catch (error) {
    if (!isCapitanError(error)) throw error;
    return unknown;
  }
}

/** The keys of a layer's objects; namespaces that the cluster fills in are left out. */
function keysIn({ layer, inputs }: Loaded[number]): readonly string[] {
  return renderLayer(layer, inputs).map((object) => keyOf(idOf(object)));
}

/** Undefined when it cannot be known what the revision has. */
async function loadOrUnknown(
  name: string,
  cluster: ClusterFacts,
  { fleet, as, sources, revision }: Means,
  signal: AbortSignal,
): Promise<Loaded | undefined> {
  const found = await revision(name);
  try {
    if (found === undefined)
      throw new CapitanError("RevisionNotFound", `FleetRevision ${name} does not exist`);
    return await Promise.all(
      found.spec.layers.map(async (layer) => ({
        layer,
        inputs: await sources.load(layer, { fleet, as, cluster: cluster.context }, signal),
      })),
    );
  } catch (error) {
    if (!isCapitanError(error)) throw error;
    return undefined;
  }
}
