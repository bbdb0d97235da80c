import type { Facts, LayerPlan, Problem } from "./step.ts";

/** An object that the API server refused: what was sent, and why it was refused. */
export type Refusal = { readonly digest: string; readonly problem: Problem };

/** What this pass was refused, for the next one. */
export function refusalsIn({ layers, problems }: Facts): ReadonlyMap<string, Refusal> {
  const found = layers.flatMap((layer) =>
    layer.objects.flatMap(({ key, digest }) => {
      const problem = problems.get(key);
      return problem === undefined ? [] : [[key, { digest, problem }] as const];
    }),
  );
  return new Map(found);
}

/** The problems of objects that would be sent again as they were refused. */
export function stillRefused(
  layers: readonly LayerPlan[],
  refused: ReadonlyMap<string, Refusal>,
): ReadonlyMap<string, Problem> {
  if (refused.size === 0) return new Map();
  const found = layers.flatMap((layer) =>
    layer.objects.flatMap(({ key, digest }) => {
      const refusal = refused.get(key);
      return refusal?.digest === digest ? [[key, refusal.problem] as const] : [];
    }),
  );
  return new Map(found);
}
