import type { Code } from "../errors/index.ts";
import {
  sameEntries,
  withEntries,
  type DeletionPolicy,
  type Entry,
  type Inventory,
} from "../inventory/index.ts";
import { versionOf, type Health } from "../object/index.ts";
import { judgeLayers, type LayerVerdict } from "./layers.ts";
import { planRemoval } from "./removal.ts";
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
  readonly objects: readonly DesiredObject[];
  /** Why the layer cannot be applied at all. Then `objects` is empty or not placed. */
  readonly problem?: Problem | undefined;
};

/** What is known of an object in the cluster. */
export type Live = {
  readonly uid: string;
  readonly own: string;
  /** The owner label's value, if any. */
  readonly owner: string | undefined;
  readonly deleting: boolean;
  readonly generation: number | undefined;
  /** Judged from its ownership metadata, for when the reply to the creating apply was lost. */
  readonly createdByUs: boolean;
  /** For CRDs and Namespaces: whether they can be used; undefined when nobody has looked. */
  readonly established?: boolean | undefined;
  /** Undefined when nobody has looked. */
  readonly health?: Health | undefined;
};

/** Everything that decides the next step of one member. */
export type Facts = {
  readonly owner: string;
  /** `namespace/name` of the Cluster; part of what is approved. */
  readonly cluster: string;
  /** In an order in which each layer comes after those it depends on. Empty when the member is Removed. */
  readonly layers: readonly LayerPlan[];
  /** As it is in the workload cluster. */
  readonly stored: Inventory;
  /** As it is to be there: `stored` and what this pass has learned. */
  readonly inventory: Inventory;
  readonly live: ReadonlyMap<string, Live>;
  /** What failed in this pass, by object. */
  readonly problems: ReadonlyMap<string, Problem>;
  /** Objects that this pass has tried to remove and that are still there. */
  readonly held: ReadonlySet<string>;
  /** The value of the member's approval annotation. */
  readonly approval: string | undefined;
  readonly nowMs: number;
  /** When each layer was first seen completely applied. */
  readonly appliedSinceMs: ReadonlyMap<string, number>;
};

/** The next request, or what there is to say when there is none. */
export type Step =
  | { readonly kind: "store"; readonly inventory: Inventory }
  | { readonly kind: "apply"; readonly objects: readonly DesiredObject[] }
  | { readonly kind: "establish"; readonly keys: readonly string[] }
  | { readonly kind: "look"; readonly keys: readonly string[] }
  | { readonly kind: "release"; readonly entries: readonly Entry[] }
  | { readonly kind: "delete"; readonly entries: readonly Entry[] }
  | {
      readonly kind: "rest";
      readonly layers: readonly LayerVerdict[];
      readonly removal: Problem | undefined;
    };

/**
 * The next thing to do for a member, from facts alone: first write down everything that is to be
 * applied, then apply layer by layer and stage by stage, then remove what is left over, then write
 * down what came of it. One request, or one batch of independent ones, per step.
 */
export function step(facts: Facts): Step {
  const intent = recordIntent(facts);
  if (intent !== undefined) return intent;
  const layers = judgeLayers(facts);
  const action = layers.find((layer) => layer.next !== undefined)?.next;
  if (action !== undefined) return action;
  const removal = planRemoval(facts, layers);
  if (removal.next !== undefined) return removal.next;
  const inventory = withPolicies(facts);
  if (!sameEntries(inventory, facts.stored)) return { kind: "store", inventory };
  return { kind: "rest", layers, removal: removal.problem };
}

/** Inventory before action: nothing is created that a crash could make us forget. */
function recordIntent({ layers, stored, inventory, owner }: Facts): Step | undefined {
  const missing = layers.flatMap((layer) =>
    layer.objects.filter((o) => !stored.has(o.key)).map((o) => intentOf(o, layer, owner)),
  );
  return missing.length === 0
    ? undefined
    : { kind: "store", inventory: withEntries(inventory, missing) };
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
