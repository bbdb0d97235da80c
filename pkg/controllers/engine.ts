import type { FleetRevision } from "../api/index.ts";
import { CapitanError } from "../errors/index.ts";
import {
  learnApplied,
  learnEstablished,
  learnHealth,
  learnRemoved,
  learnStored,
  placeLayers,
  startFacts,
  renderLayers,
  step,
  type Facts,
  type LayerInputs,
  type LayerPlan,
  type LayerVerdict,
  type Problem,
  type Step,
} from "../engine/index.ts";
import { ownedBy, type Inventory } from "../inventory/index.ts";
import { kindOf, parseKey, type KubeObject } from "../object/index.ts";
import type { Clock, Kind, WorkloadPort } from "./ports.ts";

/** A pass of more steps than this is a bug, not work. */
const stepsMax = 1_000;

/** What one member wants of its cluster. */
export type MemberPlan = {
  readonly owner: string;
  readonly cluster: string;
  /** Undefined withdraws everything. */
  readonly revision: FleetRevision | undefined;
  readonly inputs: ReadonlyMap<string, LayerInputs | Problem>;
  readonly approval: string | undefined;
  readonly secretKey: Uint8Array;
  readonly appliedSinceMs: ReadonlyMap<string, number>;
  /** What the Fleet says now about leaving objects behind; overrides what the inventory remembers, never towards deletion. */
  readonly leavesBehind: (layer: string) => boolean;
  /** How many objects the member's status remembers. */
  readonly knownObjects: number;
};

export type PassResult = {
  readonly layers: readonly LayerVerdict[];
  readonly removal: Problem | undefined;
  readonly inventory: Inventory;
  /** Objects applied in this pass, and when the last one was. */
  readonly applied: number;
  readonly appliedTime: string | undefined;
};

/**
 * One pass over one member on its cluster: read what is there, then step by step do what the
 * decisions say until there is nothing more to do now. Throws when the cluster cannot be reached.
 */
export async function runPass(
  workload: WorkloadPort,
  plan: MemberPlan,
  clock: Clock,
  signal: AbortSignal,
): Promise<PassResult> {
  const stored = await workload.inventory.read(signal);
  const planned = await planLayers(workload, plan, signal);
  const kinds = await kindsToObserve(workload, planned, stored, { owner: plan.owner, signal });
  const observed = await workload.observe(kinds, signal);
  const layers = plan.revision === undefined ? undefined : planned;
  let facts = startFacts({ ...plan, ...observed, layers, stored, nowMs: clock.monotonicMs() });
  let applied = 0;
  let appliedTime: string | undefined;
  for (let steps = 0; steps < stepsMax; steps++) {
    const next = step(facts);
    if (next.kind === "rest")
      return {
        layers: next.layers,
        removal: next.removal,
        inventory: facts.inventory,
        applied,
        appliedTime,
      };
    facts = await perform(next, facts, workload, signal);
    if (next.kind === "apply") {
      applied += next.objects.length;
      appliedTime = clock.now().toISOString();
    }
  }
  throw new CapitanError(
    "InternalError",
    `cluster ${plan.cluster}: ${stepsMax} steps were not enough`,
  );
}

/** Performs one request, or one batch, and gives the facts as they are afterwards. */
async function perform(
  next: Exclude<Step, { kind: "rest" }>,
  facts: Facts,
  workload: WorkloadPort,
  signal: AbortSignal,
): Promise<Facts> {
  switch (next.kind) {
    case "store":
      await workload.inventory.store(next.inventory, signal);
      return learnStored(facts, next.inventory);
    case "apply":
      return learnApplied(facts, next.objects, await workload.apply(next.objects, signal));
    case "establish":
      return learnEstablished(facts, await workload.establish(next.keys, signal));
    case "look":
      return learnHealth(facts, await workload.look(liveObjects(next.keys, facts), signal));
    case "release":
      return learnRemoved(facts, await workload.release(next.entries, signal));
    case "delete":
      return learnRemoved(facts, await workload.delete(next.entries, signal));
  }
}

function liveObjects(keys: readonly string[], { live }: Facts) {
  return keys.flatMap((key) => {
    const found = live.get(key);
    return found === undefined ? [] : [{ key, live: found }];
  });
}

async function planLayers(
  workload: WorkloadPort,
  plan: MemberPlan,
  signal: AbortSignal,
): Promise<readonly LayerPlan[]> {
  const rendered = renderLayers(plan.revision, plan.inputs);
  const all = rendered.flatMap((layer) => layer.objects);
  workload.kinds.expect(all);
  const scopes = await resolveKinds(workload, all, signal);
  return placeLayers(rendered, plan, scopes);
}

async function resolveKinds(
  workload: WorkloadPort,
  objects: readonly KubeObject[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Kind | undefined>> {
  const kinds = new Map(objects.map((object) => [kindOf(object), object]));
  const find = async () =>
    new Map(
      await Promise.all(
        [...kinds].map(
          async ([key, o]) =>
            [key, await workload.kinds.find(o.apiVersion, o.kind, signal)] as const,
        ),
      ),
    );
  const found = await find();
  if ([...found.values()].every((resource) => resource !== undefined)) return found;
  workload.kinds.forget();
  return find();
}

type Scope = { readonly owner: string; readonly signal: AbortSignal };

/** The kinds of what is wanted and of what is ours, as far as the cluster serves them. */
async function kindsToObserve(
  workload: WorkloadPort,
  layers: readonly LayerPlan[],
  stored: Inventory,
  { owner, signal }: Scope,
): Promise<readonly Kind[]> {
  const wanted = layers.flatMap((layer) => layer.objects.map(({ id }) => id));
  const ours = ownedBy(stored, owner).flatMap((entry) => parseKey(entry.key) ?? []);
  const kinds = new Map(
    [...wanted, ...ours].map(({ group, kind }) => [`${group}/${kind}`, { group, kind }]),
  );
  const served = await Promise.all(
    [...kinds.values()].map(({ group, kind }) => workload.kinds.findServed(group, kind, signal)),
  );
  return served.filter((resource) => resource !== undefined);
}
