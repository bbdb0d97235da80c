import type { FleetMember } from "../api/index.ts";
import { claimsBy } from "../engine/index.ts";
import type { MemberPlan } from "./engine.ts";
import type { Session } from "./session.ts";

/** Whether these plans are of exactly what the members are pinned to now. */
export function arePlanned(
  members: readonly FleetMember[],
  plans: ReadonlyMap<string, MemberPlan>,
): boolean {
  if (plans.size !== members.length) return false;
  return members.every(({ metadata, spec }) => {
    const plan = plans.get(metadata.name);
    const pinned = spec.state === "Removed" ? undefined : spec.revision;
    return plan !== undefined && plan.revision?.metadata.name === pinned;
  });
}

/** What the other members on the cluster want, by object. */
export function claimsOf(
  plans: ReadonlyMap<string, MemberPlan>,
  { metadata }: FleetMember,
  { placed }: Session,
): ReadonlyMap<string, string> {
  const others = [...plans].filter(([name]) => name !== metadata.name);
  return claimsBy(
    others.map(([name, { owner }]) => ({ owner, layers: placed.get(name)?.layers ?? [] })),
  );
}

/** Other members on the cluster of which it is not known what they want: objects may be on their way to them. */
export function unknownWishes(
  members: readonly FleetMember[],
  own: FleetMember,
  plans: ReadonlyMap<string, MemberPlan>,
  { placed }: Session,
): readonly FleetMember[] {
  return members.filter(({ metadata, spec }) => {
    if (metadata.name === own.metadata.name || spec.state === "Removed") return false;
    const layers = placed.get(metadata.name)?.layers ?? [];
    return !plans.has(metadata.name) || layers.some((layer) => layer.isUnknown === true);
  });
}
