import { CapitanError } from "../errors/index.ts";
import { ownedBy, withEntries, type Inventory } from "../inventory/index.ts";
import type { Facts, LayerPlan, Live, Problem } from "./step.ts";

/** What is known before the first step: what is wanted, and what was read from the cluster. */
export type Start = Pick<Facts, "owner" | "cluster" | "approval" | "nowMs" | "appliedSinceMs"> & {
  /** Undefined when the member is to be withdrawn. */
  readonly layers: readonly LayerPlan[] | undefined;
  readonly stored: Inventory;
  readonly live: ReadonlyMap<string, Live>;
  /** Kinds (`group/Kind`) that could not be listed. */
  readonly unlisted: ReadonlyMap<string, Problem>;
  /** What the Fleet says now about the objects of a layer that leaves. */
  readonly leavesBehind: (layer: string) => boolean;
  /** How many objects the member's status remembers. */
  readonly knownObjects: number;
};

/** The facts before the first step. Throws InventoryInvalid when a withdrawal would forget objects. */
export function startFacts(start: Start): Facts {
  const { owner, cluster, approval, nowMs, appliedSinceMs, stored, live, unlisted } = start;
  const layers = (start.layers ?? []).map((layer) => refuseUnlisted(layer, unlisted));
  if (start.layers === undefined) refuseToForget(start);
  const inventory = start.layers === undefined ? withOrphans(start) : stored;
  const none = { problems: new Map(), held: new Set<string>() };
  return {
    owner,
    cluster,
    layers,
    stored,
    inventory,
    live,
    ...none,
    approval,
    nowMs,
    appliedSinceMs,
  };
}

/** What is there of a kind that cannot be listed is unknown, so a layer with that kind is left alone. */
function refuseUnlisted(layer: LayerPlan, unlisted: ReadonlyMap<string, Problem>): LayerPlan {
  const problems = layer.objects.map(({ id }) => unlisted.get(`${id.group}/${id.kind}`));
  const problem = problems.find((p) => p !== undefined);
  return problem === undefined ? layer : { ...layer, objects: [], problem };
}

/** An inventory that has gone must not look like a cluster with nothing of ours in it. */
function refuseToForget({ stored, owner, knownObjects }: Start): void {
  if (knownObjects === 0 || ownedBy(stored, owner).length > 0) return;
  const message = `ConfigMap capitan-system/inventory names no object of this Fleet, although ${knownObjects} are known`;
  throw new CapitanError("InventoryInvalid", message);
}

/** A Fleet may have said Orphan since the objects were applied, without another revision. */
function withOrphans({ stored, owner, leavesBehind }: Start): Inventory {
  const mine = ownedBy(stored, owner).filter((e) => e.policy === "Delete" && leavesBehind(e.layer));
  const orphans = mine.map((entry) => ({ ...entry, policy: "Orphan" as const }));
  return withEntries(stored, orphans);
}
