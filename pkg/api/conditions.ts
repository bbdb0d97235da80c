import { integer, list, object, oneOf, string, type TypeOf } from "./schema.ts";

const condition = object({
  required: {
    type: string({ maxLength: 316 }),
    status: oneOf(["True", "False", "Unknown"]),
    reason: string({ minLength: 1, pattern: "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$" }),
    message: string({ maxLength: 32768 }),
    lastTransitionTime: string({ format: "date-time" }),
  },
  optional: { observedGeneration: integer({ minimum: 0 }) },
});

/** metav1.Condition. */
export type Condition = TypeOf<typeof condition>;

export const conditions = list(condition, {
  maxItems: 16,
  "x-kubernetes-list-type": "map",
  "x-kubernetes-list-map-keys": ["type"],
});

/** The condition of that type, if there is one. */
export function conditionOf(
  all: readonly Condition[] | undefined,
  type: string,
): Condition | undefined {
  return all?.find((c) => c.type === type);
}
