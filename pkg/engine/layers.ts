import { compareFootprints, displayPath, type Live } from "../drift/index.ts";
import type { Entry } from "../inventory/index.ts";
import { hasHealthRule, nameOf, type Stage } from "../object/index.ts";
import type { DesiredObject } from "./render.ts";
import type { Facts, LayerPlan, Problem, Step } from "./step.ts";

/** Where a layer stands. `next` is what could be done for it now. */
export type LayerVerdict = {
  readonly name: string;
  readonly state: "Pending" | "Applying" | "Waiting" | "Ready" | "Failed";
  readonly objects: number;
  readonly problem?: Problem | undefined;
  /** Whether every object carries what we want. */
  readonly applied: boolean;
  /** For a layer that waits for health: how long until its timeout. */
  readonly remainingMs?: number | undefined;
  readonly next?: Step | undefined;
};

/** After this stage the engine waits until CRDs are Established and Namespaces are Active. */
const barrierStage: Stage = 0;

/** Judges every layer, in order, each by its own objects and by the layers that it depends on. */
export function judgeLayers(facts: Facts): readonly LayerVerdict[] {
  const verdicts = new Map<string, LayerVerdict>();
  for (const layer of facts.layers) verdicts.set(layer.name, judge(layer, facts, verdicts));
  return [...verdicts.values()];
}

function judge(
  layer: LayerPlan,
  facts: Facts,
  earlier: ReadonlyMap<string, LayerVerdict>,
): LayerVerdict {
  const base = { name: layer.name, objects: layer.objects.length, applied: false };
  const blocker = layer.dependsOn.find((name) => earlier.get(name)?.state !== "Ready");
  if (blocker !== undefined) return { ...base, ...waitFor(blocker, layer, facts) };
  if (layer.problem !== undefined) return { ...base, state: "Failed", problem: layer.problem };
  const refused =
    foreignObject(layer, facts) ?? managedElsewhere(layer, facts) ?? deniedObject(layer, facts);
  if (refused !== undefined) return { ...base, state: "Failed", problem: refused };
  return (
    applyStages(layer, facts, base) ??
    fight(layer, facts, { ...base, applied: true }) ??
    keptField(layer, facts, { ...base, applied: true }) ??
    awaitHealth(layer, facts, { ...base, applied: true })
  );
}

/** A layer that waits starts nothing new; what it has applied already it keeps as it is. */
function waitFor(
  blocker: string,
  { objects }: LayerPlan,
  facts: Facts,
): Pick<LayerVerdict, "state" | "problem" | "next"> {
  const problem: Problem = { code: "DependencyNotReady", message: `waits for layer ${blocker}` };
  const drifted = objects.filter((object) => {
    const { key, digest } = object;
    const entry = facts.inventory.get(key);
    const wasApplied = entry?.owner === facts.owner && entry.want === digest;
    return wasApplied && !isSettled(object, facts) && canApply(object, facts);
  });
  if (drifted.length === 0) return { state: "Pending", problem };
  return { state: "Pending", problem, next: { kind: "apply", objects: drifted } };
}

const canApply = ({ key }: DesiredObject, { problems, live }: Facts) =>
  !problems.has(key) && live.get(key)?.deleting !== true;

type Base = Pick<LayerVerdict, "name" | "objects" | "applied">;

/** Whether an object of the layer belongs to another Fleet. */
export const isForeign = (layer: LayerPlan, facts: Facts): boolean =>
  foreignObject(layer, facts) !== undefined;

/** Whether something else manages an object of the layer. */
export const isRefused = (layer: LayerPlan, facts: Facts): boolean =>
  managedElsewhere(layer, facts) !== undefined;

/** Whether the Fleet's user may not apply an object of the layer. */
export const isDenied = (layer: LayerPlan, facts: Facts): boolean =>
  deniedObject(layer, facts) !== undefined;

/** Nothing of a layer is applied when part of it may not be: what a tenant has would be half of what it wrote. */
function deniedObject({ objects }: LayerPlan, { inspected }: Facts): Problem | undefined {
  return objects.flatMap(({ key }) => inspected.get(key)?.refused ?? [])[0];
}

/** Another Fleet as people know it; when this cluster knows none by that mark, what to do about that. */
function fleetName(fleets: ReadonlyMap<string, string>, owner: string): string {
  const name = fleets.get(owner);
  if (name !== undefined) return `another Fleet, ${name}`;
  return `another Fleet that nobody here knows (owner ${owner}); if it is gone for good, take the label capitan.dev/owner off the object`;
}

/**
 * Another Fleet's object is never touched: with the same field manager we would wipe its fields. The
 * inventory has the last word: a Fleet hands an object over by writing the new owner there.
 */
function foreignObject(
  { objects }: LayerPlan,
  { live, inventory, owner, fleets }: Facts,
): Problem | undefined {
  for (const { key, id, mode } of objects) {
    const other = inventory.get(key)?.owner ?? live.get(key)?.owner;
    if (mode !== "Ignore" && other !== undefined && other !== owner)
      return {
        code: "OwnedByAnotherFleet",
        message: `${nameOf(id)} belongs to ${fleetName(fleets, other)}`,
      };
  }
  return undefined;
}

/** What another tool manages is taken over only when the layer says `adopt`. */
function managedElsewhere(layer: LayerPlan, facts: Facts): Problem | undefined {
  if (layer.adopt) return undefined;
  for (const object of layer.objects) {
    const manager = otherManager(object, layer, facts);
    if (manager === undefined) continue;
    return {
      code: layer.isFlux ? "FluxManagedElsewhere" : "ManagedElsewhere",
      message: `${nameOf(object.id)} is managed by ${manager}; to take it over: adopt: true in the layer`,
    };
  }
  return undefined;
}

function otherManager(
  { key, id, mode }: DesiredObject,
  { isFlux }: LayerPlan,
  { inspected, inventory }: Facts,
): string | undefined {
  const found = inspected.get(key);
  if (mode !== "Always" || found?.exists !== true || found.ours) return undefined;
  // Ours by the inventory: the reply to our first apply was lost, or the label was taken off.
  if (inventory.get(key)?.want !== undefined) return undefined;
  return found.managedBy ?? (isFlux && id.kind === "Deployment" ? "something else" : undefined);
}

/** What is before the barrier, the barrier, what is after it; undefined when all objects are applied. */
function applyStages({ objects }: LayerPlan, facts: Facts, base: Base): LayerVerdict | undefined {
  const first = objects.filter(({ stage }) => stage === barrierStage);
  const rest = objects.filter(({ stage }) => stage !== barrierStage);
  return (
    applyBatch(first, facts, base) ??
    passBarrier(first, facts, base) ??
    applyBatch(rest, facts, base)
  );
}

/** What can be applied now; why not all, when nothing can; undefined when all is as it shall be. */
function applyBatch(
  objects: readonly DesiredObject[],
  facts: Facts,
  base: Base,
): LayerVerdict | undefined {
  const unsettled = objects.filter((object) => !isSettled(object, facts));
  const blocked = unsettled.filter((object) => !canApply(object, facts));
  // What comes after a stage that cannot be finished waits for it.
  const last = Math.min(...blocked.map(({ stage }) => stage));
  const pending = unsettled.filter((o) => o.stage <= last && canApply(o, facts));
  if (pending.length > 0)
    return { ...base, state: "Applying", next: { kind: "apply", objects: pending } };
  const failed = blocked.find(({ key }) => facts.problems.has(key));
  if (failed !== undefined)
    return { ...base, state: "Failed", problem: facts.problems.get(failed.key) };
  const [held] = blocked;
  if (held === undefined) return undefined;
  return {
    ...base,
    state: "Applying",
    problem: {
      code: "RemovalBlocked",
      message: `${nameOf(held.id)} is being deleted; it is created again when it is gone`,
    },
  };
}

/** Settled: what we want was applied, and the API server still says that we own all of it. */
function isSettled(object: DesiredObject, facts: Facts): boolean {
  const { key, digest, mode } = object;
  if (mode !== "Always") return isLeftAlone(object, facts);
  const entry = facts.inventory.get(key);
  if (entry?.owner !== facts.owner || entry.want !== digest) return false;
  const found = facts.live.get(key);
  if (found?.deleting === true || facts.unverified.has(key)) return false;
  return isUntouched(entry, found, facts.owner) || isResting(key, facts);
}

/** Nobody has written to it since, or only its status. */
function isUntouched(entry: Entry, found: Live | undefined, owner: string): boolean {
  if (found?.owner !== owner) return false;
  const difference = differenceOf(entry, found);
  return difference === "same" || difference === "status";
}

/** It was repaired or verified too often. What has gone is only left so when somebody keeps deleting it. */
function isResting(key: string, { pauses, nowMs, live }: Facts): boolean {
  const pause = pauses.get(key);
  return pause !== undefined && pause.untilMs > nowMs && (pause.isFight || live.has(key));
}

/** IfNotPresent: settled as soon as something is there. Ignore: always. */
function isLeftAlone({ key, mode }: DesiredObject, facts: Facts): boolean {
  if (mode === "Ignore") return true;
  const found = facts.live.get(key);
  if (found !== undefined) return !found.deleting;
  const inspection = facts.inspected.get(key);
  return inspection?.exists === true && !inspection.ours;
}

function differenceOf({ uid, own, seen }: Entry, found: Live) {
  if (uid !== found.uid || own !== found.own || found.own === "") return "repair";
  if (seen === undefined) return "verify";
  const { version, generation, main, meta } = seen;
  return compareFootprints({ ...found, version, generation, main, meta }, found);
}

/** Another writer takes the same object again and again: it is left to it for growing pauses. */
function fight(layer: LayerPlan, facts: Facts, base: Base): LayerVerdict | undefined {
  for (const { key, id } of layer.objects) {
    const pause = facts.pauses.get(key);
    if (pause === undefined || !pause.isFight || pause.untilMs <= facts.nowMs) continue;
    const thief = facts.thieves.get(key);
    const who = thief === undefined ? "another writer" : `manager ${thief.manager}`;
    const what = thief === undefined ? nameOf(id) : `${nameOf(id)} ${thief.field}`;
    const remainingMs = Math.max(0, pause.untilMs - facts.nowMs);
    const message = `${what} was taken by ${who} again after ${pause.times} repairs; next try in ${Math.ceil(remainingMs / 1000)} s`;
    return { ...base, state: "Failed", problem: { code: "FieldConflict", message }, remainingMs };
  }
  return undefined;
}

/** Later stages need Established CRDs and Active Namespaces; somebody else's that is left alone is taken to be so. */
function passBarrier(
  objects: readonly DesiredObject[],
  { live }: Facts,
  base: Base,
): LayerVerdict | undefined {
  const unknown = objects
    .map(({ key }) => key)
    .filter((key) => live.has(key) && live.get(key)?.established === undefined);
  if (unknown.length > 0)
    return { ...base, state: "Applying", next: { kind: "establish", keys: unknown } };
  const waiting = objects.find(({ key }) => live.get(key)?.established === false);
  if (waiting === undefined) return undefined;
  return {
    ...base,
    state: "Waiting",
    problem: { code: "HealthTimeout", message: `${nameOf(waiting.id)} is not established` },
    remainingMs: 1_000,
  };
}

/** A field that the layer dropped stays in the object because another applier wants it: that is never settled. */
function keptField(layer: LayerPlan, { inventory }: Facts, base: Base): LayerVerdict | undefined {
  for (const { key, id } of layer.objects) {
    const kept = inventory.get(key)?.kept;
    if (kept === undefined) continue;
    const field = displayPath(kept.path);
    const message = `${nameOf(id)} ${field} was dropped from the layer, but manager ${kept.manager} applies it too and keeps it`;
    return { ...base, state: "Failed", problem: { code: "RepairRefused", message } };
  }
  return undefined;
}

function awaitHealth(layer: LayerPlan, facts: Facts, base: Base): LayerVerdict {
  // A Fleet that brings itself is not ready before its own layer is.
  const others = layer.objects.filter(({ key }) => key !== facts.self);
  const ours = others.filter(({ key }) => facts.live.has(key));
  const watched = layer.wait ? ours.filter(({ object }) => hasHealthRule(object)) : [];
  const unseen = watched
    .filter(({ key }) => facts.live.get(key)?.health === undefined)
    .map(({ key }) => key);
  if (unseen.length > 0) return { ...base, state: "Waiting", next: { kind: "look", keys: unseen } };
  const unhealthy = watched.filter(({ key }) => facts.live.get(key)?.health?.state !== "Current");
  const failed = unhealthy.find(({ key }) => facts.live.get(key)?.health?.state === "Failed");
  if (failed !== undefined)
    return {
      ...base,
      state: "Failed",
      problem: { code: "HealthFailed", message: describe(failed, facts) },
    };
  const [first] = unhealthy;
  if (first === undefined) return { ...base, state: "Ready" };
  const more = unhealthy.length > 1 ? ` (and ${unhealthy.length - 1} more)` : "";
  const remainingMs =
    (facts.appliedSinceMs.get(layer.name) ?? facts.nowMs) + layer.timeoutMs - facts.nowMs;
  const problem: Problem = { code: "HealthTimeout", message: `${describe(first, facts)}${more}` };
  if (remainingMs > 0) return { ...base, state: "Waiting", problem, remainingMs };
  return {
    ...base,
    state: "Failed",
    problem: { ...problem, message: `${problem.message}, after ${layer.timeoutMs / 1000} s` },
  };
}

function describe({ key, id }: DesiredObject, { live }: Facts): string {
  return `${nameOf(id)}: ${live.get(key)?.health?.message ?? ""}`;
}
