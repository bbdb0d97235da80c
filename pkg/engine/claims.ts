import type { LayerPlan } from "./step.ts";

type Claimant = { readonly owner: string; readonly layers: readonly LayerPlan[] };

/** What these members want, by object, each with the owner that is to have it. */
export function claimsBy(claimants: readonly Claimant[]): ReadonlyMap<string, string> {
  const claims = new Map<string, string>();
  for (const { owner, layers } of claimants)
    for (const { objects } of layers)
      for (const { key, mode } of objects) if (mode !== "Ignore") claims.set(key, owner);
  return claims;
}
