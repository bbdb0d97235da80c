/**
 * What helps when an apply is refused for ever. `takeOver`: somebody else's list item or union member
 * stands beside ours. `reversion`: an ownership entry names a version that is gone. `prune`: one
 * names a version with a smaller schema. `recreate`: the role of a binding cannot be changed.
 */
export type Cure = "takeOver" | "reversion" | "prune" | "recreate";

const signs: readonly (readonly [status: number, sign: RegExp, cure: Cure])[] = [
  [422, /cannot change roleRef/, "recreate"],
  [422, /Duplicate value|may not be specified|more than 1 volume type|must be unique/i, "takeOver"],
  [500, /request to convert CR to an invalid group\/version/, "reversion"],
  [500, /failed to prune fields/, "prune"],
];

/** The cure for a refusal, by its message: its status and reason mislead. `reference`: measured on 1.32 to 1.36. */
export function cureOf(status: number, message: string): Cure | undefined {
  return signs.find(([code, sign]) => code === status && sign.test(message))?.[2];
}
