import type { Live, Pause, Thief } from "../drift/index.ts";
import type { Code } from "../errors/index.ts";
import {
  sameEntries,
  withEntries,
  type DeletionPolicy,
  type Entry,
  type Inventory,
} from "../inventory/index.ts";
import { versionOf } from "../object/index.ts";
import { isDenied, isForeign, isRefused, judgeLayers, type LayerVerdict } from "./layers.ts";
import { planRemoval } from "./removal.ts";
import type { ApprovedRemoval } from "./approved.ts";
import type { DesiredObject } from "./render.ts";

export type { LayerVerdict } from "./layers.ts";

/** Why something does not go on, in a code and in words. */
export type Problem = { readonly code: Code; readonly message: string };

/** One layer as it is to be in this cluster. */
export type LayerPlan = {
  readonly name: string;
  readonly dependsOn: readonly string[];
  readonly wait: boolean;
  readonly timeoutMs: number;
  readonly policy: DeletionPolicy;
  /** Take over objects that another tool manages. */
  readonly adopt: boolean;
  /** Whether the source is the preset `flux`. */
  readonly isFlux: boolean;
  readonly objects: readonly DesiredObject[];
  /** Why the layer cannot be applied at all. Then `objects` is empty or not placed. */
  readonly problem?: Problem | undefined;
  /** Keys that the layer names although it cannot be placed: nobody else may take these objects away meanwhile. */
  readonly named?: readonly string[];
  /** It is not known which objects the layer has: its source could not be had, or not be read. */
  readonly isUnknown?: boolean;
  /** Objects whose removal the layer's files approve. */
  readonly approvals?: readonly ApprovedRemoval[] | undefined;
};

/** What was there before the first apply of an object: nothing, something of ours, somebody's. */
export type Inspection = {
  readonly exists: boolean;
  /** It has fields of ours, from an earlier time. */
  readonly ours: boolean;
  /** Who else manages it, as people read it. */
  readonly managedBy?: string | undefined;
  /** Why the Fleet's user may not apply it. */
  readonly refused?: Problem | undefined;
};

/**
 * What was done since the last batch of writes so that no second writer is at work: nothing; the header was seen
 * to be the one that we know; its sequence number was raised, which only one writer can do.
 */
export type Fence = "none" | "confirmed" | "raised";

/** Everything that decides the next step of one member. */
export type Facts = {
  /** Names of the Fleets that the inventory knows, by owner. */
  readonly fleets: ReadonlyMap<string, string>;
  readonly owner: string;
  /** `namespace/name` of the Cluster; part of what is approved. */
  readonly cluster: string;
  /** On the hub itself: the key of the Fleet's own object there. */
  readonly self: string | undefined;
  /** Whether everything is to leave the cluster, also what a Fleet would leave behind. */
  readonly withdraws: boolean;
  /** In an order in which each layer comes after those it depends on. Empty when the member is Removed. */
  readonly layers: readonly LayerPlan[];
  /** As it is in the workload cluster. */
  readonly stored: Inventory;
  /** As it is to be there: `stored` and what this pass has learned. */
  readonly inventory: Inventory;
  /** The sequence number in the header, for this owner. */
  readonly sequence: number;
  readonly fence: Fence;
  /** Whether this pass has raised the sequence number: what it wants was announced, and is in the inventory. */
  readonly isAnnounced: boolean;
  readonly live: ReadonlyMap<string, Live>;
  /** Whether what changes is tried out before: the Fleet acts as a user who may not do everything. */
  readonly triesFirst: boolean;
  /** What was found where this Fleet has never applied. */
  readonly inspected: ReadonlyMap<string, Inspection>;
  /** What failed in this pass, by object. */
  readonly problems: ReadonlyMap<string, Problem>;
  /** Objects that this pass has tried to remove and that are still there, and what holds them. */
  readonly held: ReadonlyMap<string, string>;
  /** The value of the member's approval annotation. */
  readonly approval: string | undefined;
  readonly nowMs: number;
  /** When each layer was first seen completely applied. */
  readonly appliedSinceMs: ReadonlyMap<string, number>;
  /** Objects that were repaired or verified too often of late. */
  readonly pauses: ReadonlyMap<string, Pause>;
  /** Who took a field of an object again and again. */
  readonly thieves: ReadonlyMap<string, Thief>;
  /** Objects to be applied whatever their metadata says: the slow net below the watches. */
  readonly unverified: ReadonlySet<string>;
  /** Objects that another member on this cluster wants, with its owner. */
  readonly claims: ReadonlyMap<string, string>;
  /** Why nothing may be removed yet. */
  readonly removalWaits: string | undefined;
  /** Whether any deletion needs approval, because an input has changed for many clusters at once. */
  readonly prunesMany: boolean;
  /** Whether Flux's controllers are gone and its objects have no finalizers, when Flux is withdrawn. */
  readonly disarmed: boolean;
};

/** The next request, or what there is to say when there is none. */
export type Step =
  | { readonly kind: "inspect"; readonly objects: readonly DesiredObject[] }
  /** Whether these objects are there, whoever made them: what is to go depends on that. */
  | { readonly kind: "seek"; readonly keys: readonly string[] }
  | {
      readonly kind: "store";
      /** Objects are handed to another member, which should look then. */
      readonly handsOver?: boolean;
      readonly inventory: Inventory;
      /** The sequence number to write: the same, or one more. */
      readonly sequence: number;
    }
  /** Whether the inventory's header is still the one that was last read or written. */
  | { readonly kind: "confirm" }
  /** Stage by stage: when something of a stage fails, those after it are left out. */
  | { readonly kind: "apply"; readonly objects: readonly DesiredObject[] }
  | { readonly kind: "establish"; readonly keys: readonly string[] }
  | { readonly kind: "look"; readonly keys: readonly string[] }
  | { readonly kind: "release"; readonly entries: readonly Entry[] }
  | { readonly kind: "delete"; readonly entries: readonly Entry[] }
  | { readonly kind: "disarm" }
  | {
      readonly kind: "rest";
      readonly layers: readonly LayerVerdict[];
      readonly removal: Problem | undefined;
    };

/** Steps that write to objects of the cluster, and so come only behind a fence. */
const batches = new Set<Step["kind"]>(["apply", "release", "delete", "disarm"]);

/** What came of so many objects is written down before more are applied: a pass that is cut off goes on there. */
const unsavedMax = 50;

/**
 * The next thing to do for a member, from facts alone: look at what is there already, write down
 * everything that is to be applied, apply layer by layer and stage by stage, then remove what is
 * left over, then write down what came of it. One request, or one batch of independent ones, per
 * step. Before a batch the header's sequence number is raised, which only one writer can do. Before
 * a repair, and before what this pass applies after its first batch, it is enough that nobody else has
 * raised it since we did: who wants something else does.
 */
export function step(facts: Facts): Step {
  const next = decide(facts);
  if (!batches.has(next.kind) || facts.fence === "raised") return next;
  if (isKnown(next, facts) && unsaved(facts) < unsavedMax)
    return facts.fence === "confirmed" ? next : { kind: "confirm" };
  return { kind: "store", inventory: facts.inventory, sequence: facts.sequence + 1 };
}

/** How many objects came out otherwise than is written down. */
function unsaved({ inventory, stored }: Facts): number {
  let count = 0;
  for (const [key, entry] of inventory) if (stored.get(key) !== entry) count++;
  return count;
}

/** Whether nothing new is wanted of the cluster: this pass has announced it, or it was applied before just like this. */
function isKnown(next: Step, { stored, owner, live, sequence, isAnnounced }: Facts): boolean {
  if (next.kind !== "apply" || sequence === 0) return false;
  return next.objects.every(({ key, digest }) => {
    const entry = stored.get(key);
    const isHandedOver = (live.get(key)?.owner ?? owner) !== owner;
    return entry?.owner === owner && (isAnnounced || entry.want === digest) && !isHandedOver;
  });
}

function decide(facts: Facts): Step {
  const preparation = inspectFirst(facts) ?? recordIntent(facts);
  if (preparation !== undefined) return preparation;
  const layers = judgeLayers(facts);
  const action = layers.find((layer) => layer.next !== undefined)?.next;
  if (action !== undefined) return action;
  const removal = planRemoval(facts, layers);
  if (removal.next !== undefined) return removal.next;
  const inventory = withPolicies(facts);
  if (!sameEntries(inventory, facts.stored))
    return { kind: "store", inventory, sequence: facts.sequence };
  return { kind: "rest", layers, removal: removal.problem };
}

/** What is there where we have never applied: it may be somebody's. */
function inspectFirst(facts: Facts): Step | undefined {
  const unseen = facts.layers.flatMap((layer) =>
    layer.problem === undefined ? layer.objects.filter((object) => isUnseen(object, facts)) : [],
  );
  return unseen.length === 0 ? undefined : { kind: "inspect", objects: unseen };
}

function isUnseen({ key, mode, digest }: DesiredObject, facts: Facts): boolean {
  const { inventory, live, inspected, owner, triesFirst } = facts;
  if (mode === "Ignore" || inspected.has(key)) return false;
  const entry = inventory.get(key);
  const isThere = live.get(key)?.owner === owner;
  if (mode === "IfNotPresent") return !isThere;
  if (triesFirst && entry?.want !== digest) return true;
  return entry?.want === undefined && !isThere;
}

/** Inventory before action: nothing is created that a crash could make us forget. */
function recordIntent(facts: Facts): Step | undefined {
  const { layers, stored, inventory, owner, sequence } = facts;
  const missing = layers
    .filter(
      (layer) => !isForeign(layer, facts) && !isRefused(layer, facts) && !isDenied(layer, facts),
    )
    .flatMap((layer) =>
      layer.objects
        .filter((o) => !stored.has(o.key) && isOurs(o, facts))
        .map((o) => intentOf(o, layer, owner)),
    );
  if (missing.length === 0) return undefined;
  return { kind: "store", inventory: withEntries(inventory, missing), sequence: sequence + 1 };
}

/** Whether the object is to be applied by us at all. */
function isOurs({ key, mode }: DesiredObject, { inspected }: Facts): boolean {
  if (mode === "Always") return true;
  const found = inspected.get(key);
  return mode === "IfNotPresent" && !(found?.exists === true && !found.ours);
}

function intentOf(
  { key, layer, object }: DesiredObject,
  { policy }: LayerPlan,
  owner: string,
): Entry {
  return { key, version: versionOf(object.apiVersion), owner, layer, policy };
}

/** Entries whose object moved to another layer, whose layer changed its policy, or that are wanted again. */
function withPolicies({ layers, inventory, owner }: Facts): Inventory {
  const changed = layers.flatMap((layer) =>
    layer.objects.flatMap(({ key }) => {
      const entry = inventory.get(key);
      if (entry === undefined || entry.owner !== owner) return [];
      const same = entry.layer === layer.name && entry.policy === layer.policy;
      if (same && entry.approved === undefined) return [];
      const { approved: _approved, ...rest } = entry;
      return [{ ...rest, layer: layer.name, policy: layer.policy }];
    }),
  );
  return changed.length === 0 ? inventory : withEntries(inventory, changed);
}
