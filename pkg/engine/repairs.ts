import type { Attempts } from "../drift/index.ts";
import type { DesiredObject } from "./render.ts";
import type { Facts } from "./step.ts";

/**
 * Objects to be read before they are applied: to name who takes them again and again, or to take
 * what others keep of what the layer drops. The values are the paths that are known to be kept.
 */
export function questionsAbout(
  objects: readonly DesiredObject[],
  { inventory, live, nowMs }: Facts,
  attempts: Attempts,
): ReadonlyMap<string, readonly string[]> {
  const asked = objects.flatMap(({ key, digest }) => {
    const { want, kept } = inventory.get(key) ?? {};
    const isChanged = want !== undefined && want !== digest;
    const isShared = isChanged && live.get(key)?.shared === true;
    if (!isShared && kept === undefined && !attempts.isContested(key, nowMs)) return [];
    return [[key, kept === undefined ? [] : [kept.path]] as const];
  });
  return new Map(asked);
}

/**
 * Takes note of which objects of a batch were repaired and which only verified. Gives how many were applied, and
 * how many of these repaired.
 */
export function noteAttempts(
  attempts: Attempts,
  batch: readonly DesiredObject[],
  before: Facts,
  after: Facts,
): { readonly applied: number; readonly repaired: number } {
  const counts = { applied: 0, repaired: 0 };
  for (const { key, digest } of batch) {
    const failed = after.problems.has(key);
    // It comes after a stage of which something failed, and was not tried.
    if (!failed && after.live.get(key) === before.live.get(key)) continue;
    if (!failed) counts.applied += 1;
    // What was not applied before is no repair.
    if (before.inventory.get(key)?.want !== digest) continue;
    const repaired = wasRepaired(key, before, after);
    attempts.note(key, failed || repaired, after.nowMs);
    if (repaired && !failed) counts.repaired += 1;
  }
  return counts;
}

/** A repair changes our fields or makes the object anew; what an admission policy writes each time does neither. */
function wasRepaired(key: string, before: Facts, after: Facts): boolean {
  const held = before.live.get(key);
  const found = after.live.get(key);
  if (held?.version === found?.version) return false;
  return held === undefined || held.own !== found?.own || held.uid !== found.uid;
}
