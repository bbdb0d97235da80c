import type { Live } from "../drift/index.ts";
import { CapitanError } from "../errors/index.ts";
import {
  ledgerOf,
  ownedBy,
  withEntries,
  type Entry,
  type Header,
  type Inventory,
  type Ledger,
} from "../inventory/index.ts";
import { stillRefused, type Refusal } from "./refusals.ts";
import type { Facts, LayerPlan, Problem } from "./step.ts";

/** What is known before the first step: what is wanted, and what was read from the cluster. */
export type Start = Pick<
  Facts,
  | "owner"
  | "cluster"
  | "self"
  | "withdraws"
  | "approval"
  | "nowMs"
  | "appliedSinceMs"
  | "pauses"
  | "thieves"
  | "unverified"
  | "claims"
  | "triesFirst"
  | "removalWaits"
> & {
  /** Undefined when the member is to be withdrawn. */
  readonly layers: readonly LayerPlan[] | undefined;
  readonly ledger: Ledger;
  /** uid of the cluster's namespace kube-system. */
  readonly clusterId: string;
  readonly live: ReadonlyMap<string, Live>;
  /** Kinds (`group/Kind`) that could not be listed. */
  readonly unlisted: ReadonlyMap<string, Problem>;
  /** What the Fleet says now about the objects of a layer that leaves. */
  readonly leavesBehind: (layer: string) => boolean;
  /** The last sequence number that the hub remembers; undefined when it remembers none. */
  readonly remembered: number | undefined;
  /** What was refused of late and is not to be tried again now. */
  readonly refused: ReadonlyMap<string, Refusal>;
  /** Objects whose deletion something held when they were last looked at, with what that was. */
  readonly held: ReadonlyMap<string, string>;
  /** Whether the list of this owner's objects was lost, so that all kinds were searched for our label. */
  readonly searched: boolean;
};

/**
 * The facts before the first step. Throws AnotherHub when somebody else has written since we did,
 * InventoryInvalid when objects could be forgotten.
 */
export function startFacts(start: Start): Facts {
  const { unlisted, live, searched } = start;
  const { header, inventory: found } = ledgerOf(start.ledger, start.clusterId);
  const sequence = header?.pins.get(start.owner)?.sequence;
  refuseAnotherHub(start, sequence);
  const layers = (start.layers ?? []).map((layer) => refuseUnlisted(layer, unlisted));
  if (searched && unlisted.size > 0) throw cannotSearch(unlisted);
  const inventory = withOrphans(withStrays(found, start, header), start);
  const { owner, cluster, self, withdraws, approval, nowMs, appliedSinceMs } = start;
  const { pauses, thieves, unverified, claims, removalWaits, triesFirst } = start;
  return {
    owner,
    cluster,
    self,
    withdraws,
    approval,
    nowMs,
    appliedSinceMs,
    pauses,
    thieves,
    unverified,
    claims,
    removalWaits,
    triesFirst,
    layers,
    fleets: new Map([...(header?.pins ?? [])].map(([owned, { fleet }]) => [owned, fleet])),
    prunesMany: false,
    stored: found,
    inventory,
    live,
    disarmed: false,
    fence: "none",
    isAnnounced: false,
    sequence: Math.max(sequence ?? 0, start.remembered ?? 0),
    inspected: new Map(),
    held: stillHeld(start, found),
    problems: stillRefused(layers, start.refused),
  };
}

/** Nothing remembered: the hub is new here and takes over. Less remembered than found: it is the old one. */
function refuseAnotherHub({ remembered, cluster }: Start, sequence: number | undefined): void {
  if (remembered === undefined || sequence === undefined || remembered >= sequence) return;
  const message = `another hub has written to cluster ${cluster} since this one did (its inventory is at ${sequence}, this hub knows ${remembered}); to take the cluster over: capitan adopt member`;
  throw new CapitanError("AnotherHub", message);
}

/** What is there of a kind that cannot be listed is unknown, so a layer with that kind is left alone. */
function refuseUnlisted(layer: LayerPlan, unlisted: ReadonlyMap<string, Problem>): LayerPlan {
  const problems = layer.objects.map(({ id }) => unlisted.get(`${id.group}/${id.kind}`));
  const problem = problems.find((p) => p !== undefined);
  return problem === undefined ? layer : { ...layer, objects: [], problem };
}

/** An inventory that has gone must not look like a cluster with nothing of ours in it. */
function cannotSearch(unlisted: ReadonlyMap<string, Problem>): CapitanError {
  const [[kind, problem] = ["", undefined]] = unlisted;
  const message = `the inventory is gone, and not every kind can be searched for our objects: ${kind}: ${problem?.message ?? ""}`;
  return new CapitanError("InventoryInvalid", message);
}

/**
 * Objects with our label and with fields of ours, after the list of them was lost. One that is there is
 * complete: an object that it does not name was marked by somebody else. A copy that somebody made with
 * our label has no fields of ours, and is not ours.
 */
function withStrays(inventory: Inventory, start: Start, header: Header | undefined): Inventory {
  if (!start.searched && header !== undefined) return inventory;
  const { live, owner, leavesBehind } = start;
  const strays: Entry[] = [];
  for (const [key, { own, owner: label, uid, createdByUs, deleting }] of live) {
    if (inventory.has(key) || label !== owner || own === "" || deleting) continue;
    const policy = leavesBehind("") ? "Orphan" : "Delete";
    strays.push({ key, version: "", owner, layer: "", policy, own, uid, created: createdByUs });
  }
  return strays.length === 0 ? inventory : withEntries(inventory, strays);
}

/**
 * A Fleet may have said Orphan since the objects were applied. That counts for everything that no
 * layer wants any more: never towards deletion.
 */
function withOrphans(inventory: Inventory, { owner, layers = [], leavesBehind }: Start): Inventory {
  const wanted = new Set(layers.flatMap(({ objects }) => objects.map(({ key }) => key)));
  const orphans = ownedBy(inventory, owner).filter(
    (e) => e.policy === "Delete" && !wanted.has(e.key) && leavesBehind(e.layer),
  );
  if (orphans.length === 0) return inventory;
  return withEntries(
    inventory,
    orphans.map((entry) => ({ ...entry, policy: "Orphan" as const })),
  );
}

/** What is still on its way out under the same uid is not deleted again: its watch tells when it is gone. */
function stillHeld({ held, live }: Start, inventory: Inventory): ReadonlyMap<string, string> {
  return new Map(
    [...held].filter(([key]) => {
      const there = live.get(key);
      return there?.deleting === true && there.uid === inventory.get(key)?.uid;
    }),
  );
}
