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
const stages: readonly Stage[] = [0, 1, 2, 3];

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
  if (blocker !== undefined)
    return {
      ...base,
      state: "Pending",
      problem: { code: "DependencyNotReady", message: `waits for layer ${blocker}` },
    };
  if (layer.problem !== undefined) return { ...base, state: "Failed", problem: layer.problem };
  const foreign = foreignObject(layer, facts);
  if (foreign !== undefined) return { ...base, state: "Failed", problem: foreign };
  return applyStages(layer, facts, base) ?? awaitHealth(layer, facts, { ...base, applied: true });
}

type Base = Pick<LayerVerdict, "name" | "objects" | "applied">;

/** Another Fleet's object is never touched: with the same field manager we would wipe its fields. */
function foreignObject(
  { objects }: LayerPlan,
  { live, inventory, owner }: Facts,
): Problem | undefined {
  for (const { key, id } of objects) {
    const other = [inventory.get(key)?.owner, live.get(key)?.owner].find(
      (o) => o !== undefined && o !== owner,
    );
    if (other !== undefined)
      return {
        code: "OwnedByAnotherFleet",
        message: `${nameOf(id)} belongs to another Fleet (owner ${other}, this one is ${owner})`,
      };
  }
  return undefined;
}

/** The first stage that is not done; undefined when all objects are applied. */
function applyStages(layer: LayerPlan, facts: Facts, base: Base): LayerVerdict | undefined {
  for (const stage of stages) {
    const objects = layer.objects.filter((object) => object.stage === stage);
    const verdict =
      applyStage(objects, facts, base) ??
      (stage === barrierStage ? passBarrier(objects, facts, base) : undefined);
    if (verdict !== undefined) return verdict;
  }
  return undefined;
}

function applyStage(
  objects: readonly DesiredObject[],
  facts: Facts,
  base: Base,
): LayerVerdict | undefined {
  const unsettled = objects.filter((object) => !isSettled(object, facts));
  const pending = unsettled.filter(
    ({ key }) => !facts.problems.has(key) && facts.live.get(key)?.deleting !== true,
  );
  if (pending.length > 0)
    return { ...base, state: "Applying", next: { kind: "apply", objects: pending } };
  const failed = unsettled.find(({ key }) => facts.problems.has(key));
  if (failed !== undefined)
    return { ...base, state: "Failed", problem: facts.problems.get(failed.key) };
  const [held] = unsettled;
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
function isSettled({ key, digest }: DesiredObject, { inventory, live, owner }: Facts): boolean {
  const entry = inventory.get(key);
  const found = live.get(key);
  if (entry?.owner !== owner || entry.want !== digest || found === undefined || found.deleting)
    return false;
  return entry.uid === found.uid && entry.own === found.own && found.own !== "";
}

/** Later stages need Established CRDs and Active Namespaces. */
function passBarrier(
  objects: readonly DesiredObject[],
  { live }: Facts,
  base: Base,
): LayerVerdict | undefined {
  const unknown = objects
    .filter(({ key }) => live.get(key)?.established === undefined)
    .map(({ key }) => key);
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

function awaitHealth(layer: LayerPlan, facts: Facts, base: Base): LayerVerdict {
  const watched = layer.wait ? layer.objects.filter(({ object }) => hasHealthRule(object)) : [];
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
