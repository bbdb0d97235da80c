import type { LayerPlan } from "./step.ts";

type Claimant = { readonly owner: string; readonly layers: readonly LayerPlan[] };

/**
 * What these members want, by object, each with the owner that is to have it. A layer that cannot be
 * placed now wants its objects all the same: handed to it they stay, until it can.
 */
export function claimsBy(claimants: readonly Claimant[]): ReadonlyMap<string, string> {
  const claims = claimants.flatMap(({ owner, layers }) =>
    layers.flatMap(wantedBy).map((key) => [key, owner] as const),
  );
  return new Map(claims);
}

function wantedBy({ objects, named = [] }: LayerPlan): readonly string[] {
  return [...objects.filter(({ mode }) => mode !== "Ignore").map(({ key }) => key), ...named];
}
