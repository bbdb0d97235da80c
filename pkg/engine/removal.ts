import { ownedBy, withEntries, type Entry } from "../inventory/index.ts";
import { nameOf, parseKey, stageOf, type ObjectId } from "../object/index.ts";
import { sha256Hex } from "../json/index.ts";
import type { LayerVerdict } from "./layers.ts";
import type { Facts, Problem, Step } from "./step.ts";

export type Removal = { readonly next?: Step | undefined; readonly problem?: Problem | undefined };

/** Namespaces that every cluster needs; they are never deleted, whoever made them. */
const keptNamespaces = new Set(["default", "kube-system", "kube-public", "kube-node-lease"]);
/** Deleting one of these deletes what is inside. */
const dangerousKinds = new Set([
  "/Namespace",
  "apiextensions.k8s.io/CustomResourceDefinition",
  "/PersistentVolumeClaim",
]);

/**
 * What is left over once everything wanted is applied: first our mark comes off what we leave, then
 * objects are deleted backwards through the stages, each stage only when the one before is gone.
 */
export function planRemoval(facts: Facts, layers: readonly LayerVerdict[]): Removal {
  if (!layers.every((layer) => layer.applied)) return {};
  const wanted = new Set(facts.layers.flatMap((layer) => layer.objects.map((o) => o.key)));
  const leftovers = ownedBy(facts.inventory, facts.owner).filter((e) => !wanted.has(e.key));
  const released = leftovers.filter((entry) => isReleased(entry, facts));
  const deleted = leftovers.filter((entry) => !isReleased(entry, facts));
  const asked = askApproval(deleted, facts);
  if (asked !== undefined) return asked;
  const release = released.filter((entry) => !isTried(entry, facts));
  if (release.length > 0) return { next: { kind: "release", entries: release } };
  const deletion = deleteStage(deleted, facts);
  const [stuck] = released;
  if (deletion.next !== undefined || stuck === undefined) return deletion;
  return deletion.problem === undefined ? { problem: blockedBy(stuck, facts) } : deletion;
}

/**
 * Dangerous deletions are approved as a set, and the approval is written down before the first of
 * them goes: what is left of the set afterwards needs no second approval.
 */
function askApproval(deleted: readonly Entry[], facts: Facts): Removal | undefined {
  const unapproved = deleted.filter((entry) => entry.approved !== true);
  const dangerous = dangerousRemoval(facts.cluster, unapproved);
  if (dangerous === undefined) return undefined;
  if (dangerous.approval !== facts.approval) return { problem: dangerous.problem };
  const approved = unapproved.map((entry) => ({ ...entry, approved: true }));
  return { next: { kind: "store", inventory: withEntries(facts.inventory, approved) } };
}

/** Whether an object stays in the cluster, without our mark. */
function isReleased(entry: Entry, { live }: Facts): boolean {
  const { group, kind, name } = idOfEntry(entry);
  if (entry.policy === "Orphan" || entry.created === false) return true;
  if (group === "" && kind === "Namespace" && keptNamespaces.has(name)) return true;
  if (kind === "CustomResourceDefinition" && name.endsWith(".capitan.dev")) return true;
  // Whether we created it was never learned: judge by the object.
  return entry.created === undefined && live.get(entry.key)?.createdByUs === false;
}

const isTried = ({ key }: Entry, { held, problems }: Facts) => held.has(key) || problems.has(key);

function deleteStage(entries: readonly Entry[], facts: Facts): Removal {
  const stages = entries.map(stageOfEntry);
  const current = entries.filter((entry) => stageOfEntry(entry) === Math.max(...stages));
  const untried = current.filter((entry) => !isTried(entry, facts));
  if (untried.length > 0) return { next: { kind: "delete", entries: untried } };
  const [stuck] = current;
  return stuck === undefined ? {} : { problem: blockedBy(stuck, facts) };
}

function blockedBy(entry: Entry, { problems }: Facts): Problem {
  const why = problems.get(entry.key)?.message ?? "is held by a finalizer, or changes all the time";
  return { code: "RemovalBlocked", message: `${nameOf(idOfEntry(entry))} ${why}` };
}

/** What needs approval before these entries are deleted: the approval of exactly this set, and the words that ask for it. */
export function dangerousRemoval(
  cluster: string,
  entries: readonly Entry[],
): { readonly approval: string; readonly problem: Problem } | undefined {
  const dangerous = entries.filter((entry) => {
    const { group, kind } = idOfEntry(entry);
    return dangerousKinds.has(`${group}/${kind}`);
  });
  if (dangerous.length === 0) return undefined;
  const keys = dangerous.map(({ key }) => key).sort();
  const approval = sha256Hex([cluster, ...keys].join("\n")).slice(0, 16);
  const names = dangerous.slice(0, 3).map((entry) => nameOf(idOfEntry(entry)));
  const more = dangerous.length > 3 ? ` and ${dangerous.length - 3} more` : "";
  const message = `would delete ${names.join(", ")}${more} with everything inside; to allow it: capitan.dev/approve-removal=${approval}`;
  return { approval, problem: { code: "RemovalNeedsApproval", message } };
}

function idOfEntry({ key }: Entry): ObjectId {
  return parseKey(key) ?? { group: "", kind: "", namespace: "", name: key };
}

function stageOfEntry(entry: Entry): number {
  const { group, kind } = idOfEntry(entry);
  return stageOf({ apiVersion: group === "" ? entry.version : `${group}/${entry.version}`, kind });
}
