import type { LayerPlan } from "./step.ts";

type Claimant = { readonly owner: string; readonly layers: readonly LayerPlan[] };

/** What these members want, by object, each with the owner that is to have it. */
export function claimsBy(claimants: readonly Claimant[]): ReadonlyMap<string, string> {
  const claims = claimants.flatMap(({ owner, layers }) =>
    layers
      .flatMap(({ objects }) => objects)
      .filter(({ mode }) => mode !== "Ignore")
      .map(({ key }) => [key, owner] as const),
  );
  return new Map(claims);
}
