import { conditionOf, type Condition, type Fleet, type FleetMember } from "../../pkg/api/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import { annotations, type ObjectMeta } from "../../pkg/object/index.ts";
import { isMemberReady } from "../../pkg/status/index.ts";
import { judge, notLookedAt, type Standing } from "./wait.ts";

/** What may ask for an approval: a Fleet or a member. */
export type Approvable = {
  readonly metadata: ObjectMeta;
  readonly status?: { readonly conditions?: readonly Condition[] | undefined } | undefined;
};

/** What was approved, and on which object, as messages name it. */
export type Approved = { readonly name: string; readonly digest: string };

const askedFor = new RegExp(`${annotations.approveRemoval}=([0-9a-f]{16})`);

/** The digest that an object's condition asks to be approved; undefined when it asks for nothing. */
export function approvalAskedFor({ status }: Approvable): string | undefined {
  return askedFor.exec(conditionOf(status?.conditions, "Ready")?.message ?? "")?.[1];
}

/** How far a member is with what was approved. Throws RemovalNeedsApproval when it asks for something else by now, and what `judge` does. */
export function memberStanding(
  approved: Approved,
  member: FleetMember | undefined,
): Standing<string> {
  if (member === undefined) return { done: "is gone" };
  return heldBack(approved, member) ?? judged(approved, member);
}

/**
 * How far a Fleet is: with its clusters whose members it has changed since `before`. Throws as
 * `memberStanding` does.
 */
export function fleetStanding(
  approved: Approved,
  fleet: Fleet | undefined,
  { before, now }: Readonly<Record<"before" | "now", readonly FleetMember[]>>,
): Standing<string> {
  if (fleet === undefined) return { done: "is gone" };
  const held = heldBack(approved, fleet);
  if (held !== undefined) return held;
  const untouched = new Set(now.map(versionOf));
  const concerned = before.filter((member) => !untouched.has(versionOf(member)));
  if (concerned.length === 0) return judged(approved, fleet);
  const names = new Set(concerned.map(({ metadata }) => metadata.name));
  const open = now.filter((member) => names.has(member.metadata.name) && !isDone(member));
  const [first] = open;
  const clusters = concerned.length === 1 ? "1 cluster" : `${concerned.length} clusters`;
  if (first === undefined) return { done: `is done with ${clusters}` };
  return { waitsFor: `${open.length} of ${clusters}, ${troubleOf(first)}` };
}

/** A member that leaves is done when it is gone, which is a moment after nothing of it is left in its cluster. */
const isDone = (member: FleetMember) =>
  member.spec.state !== "Removed" && isMemberReady(member, member.spec.revision);

/** As long as the object asks, for this or for something else. */
function heldBack({ name, digest }: Approved, object: Approvable): Standing<string> | undefined {
  const asked = approvalAskedFor(object);
  if (asked === undefined) return undefined;
  if (asked === digest) return { waitsFor: notLookedAt };
  const message = `${name} asks for another approval by now, ${asked}: the set has changed`;
  throw new CapitanError("RemovalNeedsApproval", message);
}

function judged({ name }: Approved, { status }: Approvable): Standing<string> {
  const standing = judge(name, status?.conditions);
  return "done" in standing ? { done: `is Ready: ${standing.done}` } : standing;
}

/** Another one when its spec has changed, or it was made anew. */
const versionOf = ({ metadata }: FleetMember) =>
  `${metadata.name} ${metadata.uid ?? ""} ${metadata.generation ?? 0}`;

function troubleOf({ spec, status }: FleetMember): string {
  const { reason, message } = conditionOf(status?.conditions, "Ready") ?? {};
  const why = reason === undefined ? notLookedAt : `${reason}: ${message ?? ""}`;
  return `${spec.clusterRef.name}: ${why}`;
}
