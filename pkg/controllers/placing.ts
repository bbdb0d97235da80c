import { placeLayers, renderLayers, type LayerPlan } from "../engine/index.ts";
import { ownedBy, type Inventory } from "../inventory/index.ts";
import { hmacHex } from "../json/index.ts";
import { kindOf, parseKey, type KubeObject } from "../object/index.ts";
import type { MemberPlan } from "./engine.ts";
import type { Kind, WorkloadPort } from "./ports.ts";
import type { Placed, Session } from "./session.ts";

/** Renders and places a member's layers, unless that was done from the same revision and inputs. */
export async function placeMember(
  session: Session,
  plan: MemberPlan,
  signal: AbortSignal,
): Promise<Placed> {
  const { workload } = session;
  const secretKey = await workload.inventory.secretKey(signal);
  const made = madeFrom(plan, secretKey);
  const held = session.placed.get(plan.member);
  const isUsable = held?.made === made && held.layers.every((layer) => layer.problem === undefined);
  if (isUsable) return held;
  const rendered = renderLayers(plan.revision, plan.inputs);
  const all = rendered.flatMap((layer) => layer.objects);
  workload.kinds.expect(all);
  const scopes = await resolveKinds(workload, all, signal);
  const placement = {
    owner: plan.owner,
    secretKey,
    shared: session.shared,
    isHub: plan.self !== undefined,
  };
  const layers = placeLayers(rendered, placement, scopes).map((layer) => remembering(layer, held));
  const placed = { made, layers };
  session.placed.set(plan.member, placed);
  return placed;
}

/** A layer that cannot be made now goes on claiming what it had when it could. */
function remembering(layer: LayerPlan, before: Placed | undefined): LayerPlan {
  const had = before?.layers.find(({ name }) => name === layer.name);
  if (layer.isUnknown !== true || had === undefined) return layer;
  return { ...layer, named: [...(had.named ?? []), ...had.objects.map(({ key }) => key)] };
}

/** What the layers are made from: the revision, their inputs, the key of digests over Secrets. */
function madeFrom({ revision, inputs, owner }: MemberPlan, secretKey: Uint8Array): string {
  const given = [...inputs].map(([layer, input]) =>
    "code" in input ? [layer, input.code, input.message] : [layer, input.made],
  );
  const { name, uid } = revision?.metadata ?? {};
  return JSON.stringify([owner, name, uid, given, hmacHex(secretKey, "made")]);
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

/** The kinds of what is wanted and of what is ours, as far as the cluster serves them. */
export async function kindsToObserve(
  workload: WorkloadPort,
  placed: Placed | undefined,
  inventory: Inventory | undefined,
  { owner, signal }: { readonly owner: string; readonly signal: AbortSignal },
): Promise<readonly Kind[]> {
  const wanted = (placed?.layers ?? []).flatMap((layer) => layer.objects.map(({ id }) => id));
  const entries = inventory === undefined ? [] : ownedBy(inventory, owner);
  const ours = entries.flatMap((entry) => parseKey(entry.key) ?? []);
  const kinds = new Map(
    [...wanted, ...ours].map(({ group, kind }) => [`${group}/${kind}`, { group, kind }]),
  );
  const served = await Promise.all(
    [...kinds.values()].map(({ group, kind }) => workload.kinds.findServed(group, kind, signal)),
  );
  return served.filter((resource) => resource !== undefined);
}
