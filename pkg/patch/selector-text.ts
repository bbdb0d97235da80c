import type { LabelSelector } from "../object/index.ts";

type Expressions = NonNullable<LabelSelector["matchExpressions"]>;
type Expression = Expressions[number];

const key = "[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?";
const value = "[-A-Za-z0-9_.]*";
const forms: readonly (readonly [RegExp, Expression["operator"]])[] = [
  [new RegExp(`^(${key})$`), "Exists"],
  [new RegExp(`^!\\s*(${key})$`), "DoesNotExist"],
  [new RegExp(`^(${key})\\s*==?\\s*(${value})$`), "In"],
  [new RegExp(`^(${key})\\s*!=\\s*(${value})$`), "NotIn"],
  [new RegExp(`^(${key})\\s+in\\s*\\(([^()]*)\\)$`), "In"],
  [new RegExp(`^(${key})\\s+notin\\s*\\(([^()]*)\\)$`), "NotIn"],
];

/** Longer selectors are refused. */
const charsMax = 1_000;

/**
 * Reads a selector as kubectl's `-l` takes it: `env=prod,tier!=web,zone in (a,b),!old`. Undefined when it
 * is none; `>` and `<` are not there. An empty one matches everything.
 */
export function parseSelector(text: string): LabelSelector | undefined {
  if (text.length > charsMax) return undefined;
  if (text.trim() === "") return {};
  // Commas inside parentheses belong to a list of values.
  const parts = text.split(/,(?![^(]*\))/).map((part) => parseOne(part.trim()));
  const matchExpressions = parts.filter((part) => part !== undefined);
  return matchExpressions.length === parts.length ? { matchExpressions } : undefined;
}

function parseOne(text: string): Expression | undefined {
  for (const [form, operator] of forms) {
    const [, name, list] = form.exec(text) ?? [];
    if (name === undefined) continue;
    if (list === undefined) return { key: name, operator };
    return { key: name, operator, values: list.split(",").map((item) => item.trim()) };
  }
  return undefined;
}
