/** `metav1.LabelSelector`. */
export type LabelSelector = {
  readonly matchLabels?: Readonly<Record<string, string>> | undefined;
  readonly matchExpressions?:
    | readonly {
        readonly key: string;
        readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
        readonly values?: readonly string[] | undefined;
      }[]
    | undefined;
};

/** Whether the labels satisfy every requirement; the empty selector matches everything. */
export function matchesSelector(
  selector: LabelSelector,
  labels: Readonly<Record<string, string>> = {},
): boolean {
  const equal = Object.entries(selector.matchLabels ?? {}).every(([k, v]) => labels[k] === v);
  return equal && (selector.matchExpressions ?? []).every((e) => matchesExpression(e, labels));
}

type Expression = NonNullable<LabelSelector["matchExpressions"]>[number];

function matchesExpression(e: Expression, labels: Readonly<Record<string, string>>): boolean {
  const value = Object.hasOwn(labels, e.key) ? labels[e.key] : undefined;
  switch (e.operator) {
    case "In":
      return value !== undefined && (e.values ?? []).includes(value);
    case "NotIn":
      return value === undefined || !(e.values ?? []).includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
  }
}
