import {
  approvalFor,
  idOfEntry,
  isFluxDefinition,
  ownedBy,
  withEntries,
  type Entry,
} from "../inventory/index.ts";
import { nameOf, stageOf } from "../object/index.ts";
import { isApprovedInFiles } from "./approved.ts";
import type { LayerVerdict } from "./layers.ts";
import { disarmKey } from "./learn.ts";
import { clusterOfIdentity, isInUse, isReleased, unseenClusters, whySpared } from "./spared.ts";
import type { Facts, LayerPlan, Problem, Step } from "./step.ts";

export type Removal = { readonly next?: Step | undefined; readonly problem?: Problem | undefined };

/**
 * What is left over once everything wanted is applied: what another member wants is handed to it,
 * our mark comes off what we leave, then objects are deleted backwards through the stages, each
 * stage only when the one before is gone.
 */
export function planRemoval(facts: Facts, layers: readonly LayerVerdict[]): Removal {
  if (!layers.every((layer) => layer.applied)) return {};
  const wanted = wantedKeys(facts);
  const leftovers = ownedBy(facts.inventory, facts.owner).filter((e) => !wanted.has(e.key));
  if (leftovers.length === 0) return {};
  const handOver = planHandOver(leftovers, facts);
  if (handOver !== undefined) return { next: handOver };
  if (facts.removalWaits !== undefined) {
    return { problem: { code: "RemovalBlocked", message: facts.removalWaits } };
  }
  const unseen = unseenClusters(leftovers, facts);
  if (unseen.length > 0) return { next: { kind: "seek", keys: unseen } };
  const spared = leftovers.map((entry) => whySpared(entry, leftovers, facts));
  const removal = removeAll(
    leftovers.filter((_, i) => spared[i] === undefined),
    facts,
  );
  const message = spared.find((why) => why !== undefined);
  if (message === undefined || removal.next !== undefined) return removal;
  return { problem: removal.problem ?? { code: "RemovalBlocked", message } };
}

function removeAll(leftovers: readonly Entry[], facts: Facts): Removal {
  const stays = new Set(leftovers.filter((entry) => isReleased(entry, facts)).map((e) => e.key));
  // The identity of a Cluster that is left alone may be the last copy: it is let go before the Cluster.
  const identities = leftovers.filter(
    (entry) => stays.has(clusterOfIdentity(entry) ?? "") || isInUse(entry, leftovers, facts),
  );
  const released = leftovers.filter((e) => stays.has(e.key) || identities.includes(e));
  const deleted = leftovers.filter((entry) => !released.includes(entry));
  const asked = askApproval(deleted, facts);
  if (asked !== undefined) return asked;
  const first = identities.length > 0 ? identities : released;
  const release = first.filter((entry) => !isTried(entry, facts));
  if (release.length > 0) return { next: { kind: "release", entries: release } };
  if (identities[0] !== undefined) return { problem: blockedBy(identities[0], facts) };
  const deletion = deleteInOrder(deleted, facts);
  const [stuck] = released;
  if (deletion.next !== undefined || stuck === undefined) return deletion;
  return deletion.problem === undefined ? { problem: blockedBy(stuck, facts) } : deletion;
}

/** What the layers keep; an object that is to be ignored is not kept, it is let go. */
function wantedKeys({ layers }: Facts): ReadonlySet<string> {
  const objects = layers.flatMap((layer) => layer.objects);
  return new Set(objects.filter((o) => o.mode !== "Ignore").map((o) => o.key));
}

/** A layer that moves to another Fleet, or a Fleet under another name: the objects stay. */
function planHandOver(leftovers: readonly Entry[], facts: Facts): Step | undefined {
  const given = leftovers.flatMap(({ approved: _approved, ...entry }) => {
    const owner = facts.claims.get(entry.key);
    return owner === undefined ? [] : [{ ...entry, owner }];
  });
  if (given.length === 0) return undefined;
  const inventory = withEntries(facts.inventory, given);
  return { kind: "store", inventory, sequence: facts.sequence, handsOver: true };
}

/**
 * Dangerous deletions are approved as a set, or one by one in the layers' files. The approval is
 * written down before the first of them goes: what is left afterwards needs no second approval.
 */
function askApproval(deleted: readonly Entry[], facts: Facts): Removal | undefined {
  const unapproved = deleted.filter((entry) => entry.approved !== true);
  const inFiles = unapproved.filter((entry) => isApprovedInFiles(entry, facts));
  const rest = unapproved.filter((entry) => !inFiles.includes(entry));
  const owned = ownedBy(facts.inventory, facts.owner).length;
  const { prunesMany, withdraws } = facts;
  const asked = approvalFor(facts.cluster, rest, owned, { prunesMany, withdraws });
  if (asked !== undefined && asked.approval !== facts.approval)
    return { problem: { code: "RemovalNeedsApproval", message: asked.message } };
  const given = asked === undefined ? inFiles : unapproved;
  if (given.length === 0) return undefined;
  const approved = given.map((entry) => ({ ...entry, approved: true }));
  const inventory = withEntries(facts.inventory, approved);
  return { next: { kind: "store", inventory, sequence: facts.sequence } };
}

const isTried = ({ key }: Entry, { held, problems }: Facts) => held.has(key) || problems.has(key);

function deleteInOrder(entries: readonly Entry[], facts: Facts): Removal {
  const isFluxLeaving = entries.some(isFluxDefinition) && !facts.layers.some(keepsFlux);
  const rankOf = isFluxLeaving ? fluxRank : clusterRank;
  const current = entries.filter((entry) => rankOf(entry) === Math.max(...entries.map(rankOf)));
  const [first] = current;
  if (first === undefined) return {};
  if (rankOf === fluxRank && rankOf(first) < fluxControllers && !facts.disarmed) {
    const problem = facts.problems.get(disarmKey);
    return problem === undefined ? { next: { kind: "disarm" } } : { problem };
  }
  const untried = current.filter((entry) => !isTried(entry, facts));
  if (untried.length > 0) return { next: { kind: "delete", entries: untried } };
  return { problem: blockedBy(first, facts) };
}

/** A Flux that only loses a component goes on: nobody strips what its controllers hold. */
const keepsFlux = (layer: LayerPlan) => layer.isFlux && layer.objects.length > 0;

const fluxControllers = 6;
const clusters = 7;

/** Clusters go first and alone: until one has gone, Cluster API needs its templates and Secrets. */
function clusterRank(entry: Entry): number {
  const { group, kind } = idOfEntry(entry);
  return group === "cluster.x-k8s.io" && kind === "Cluster" ? clusters : stageOfEntry(entry);
}

/**
 * Flux goes as `flux uninstall` does: its controllers first, then its objects, its definitions, and
 * last what the controllers stood on. Otherwise kustomize-controller prunes what tenants run, or
 * definitions hang on finalizers that nobody takes off.
 */
function fluxRank(entry: Entry): number {
  const { group, kind } = idOfEntry(entry);
  if (kind === "Deployment") return fluxControllers;
  if (group.endsWith(".toolkit.fluxcd.io")) return 5;
  return isFluxDefinition(entry) ? 4 : clusterRank(entry);
}

function blockedBy(entry: Entry, { problems, held }: Facts): Problem {
  const why = problems.get(entry.key)?.message ?? held.get(entry.key) ?? "is still there";
  const name = nameOf(idOfEntry(entry));
  const message = why.startsWith(name) ? why : `${name} ${why}`;
  return { code: "RemovalBlocked", message };
}

function stageOfEntry(entry: Entry): number {
  const { group, kind } = idOfEntry(entry);
  return stageOf({ apiVersion: group === "" ? entry.version : `${group}/${entry.version}`, kind });
}
