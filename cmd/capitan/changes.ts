/** One field that is to change, as a path for people and both values; undefined when there is none. */
export type Change = { readonly path: string; readonly from: unknown; readonly to: unknown };

/** What the API server writes by itself. */
const serverFields = [
  "managedFields",
  "resourceVersion",
  "uid",
  "generation",
  "creationTimestamp",
  "selfLink",
];

/**
 * The fields in which two states of an object differ, without what the API server writes by itself.
 * Nothing of a Secret is shown but its names, labels and type.
 */
export function changesBetween(
  before: Readonly<Record<string, unknown>> | undefined,
  after: Readonly<Record<string, unknown>> | undefined,
): readonly Change[] {
  const isSecret = (after ?? before)?.["kind"] === "Secret";
  const found = compare("", shown(before), shown(after));
  return isSecret ? found.map(masked) : found;
}

function shown(object: Readonly<Record<string, unknown>> | undefined): unknown {
  if (object === undefined) return {};
  const { status: _, ...rest } = object;
  const metadata = { ...(rest["metadata"] as Record<string, unknown> | undefined) };
  for (const field of serverFields) delete metadata[field];
  return { ...rest, metadata };
}

function compare(path: string, from: unknown, to: unknown): readonly Change[] {
  if (isMap(from) && isMap(to)) {
    const keys = [...new Set([...Object.keys(from), ...Object.keys(to)])].sort();
    return keys.flatMap((key) => compare(joined(path, key), from[key], to[key]));
  }
  if (Array.isArray(from) && Array.isArray(to)) return compareLists(path, from, to);
  return JSON.stringify(from) === JSON.stringify(to) ? [] : [{ path, from, to }];
}

/** Items that have names are compared by them, as Kubernetes merges most lists. */
function compareLists(
  path: string,
  from: readonly unknown[],
  to: readonly unknown[],
): readonly Change[] {
  const [before, after] = [named(from), named(to)];
  if (before === undefined || after === undefined) {
    const length = Math.max(from.length, to.length);
    return Array.from({ length }, (_, i) => compare(`${path}[${i}]`, from[i], to[i])).flat();
  }
  const names = [...new Set([...before.keys(), ...after.keys()])];
  return names.flatMap((name) => compare(`${path}[${name}]`, before.get(name), after.get(name)));
}

function named(list: readonly unknown[]): ReadonlyMap<string, unknown> | undefined {
  const names = list.map((item) => (isMap(item) ? item["name"] : undefined));
  const texts = names.filter((name) => typeof name === "string");
  if (texts.length !== list.length || new Set(texts).size !== texts.length) return undefined;
  return new Map(texts.map((name, i) => [name, list[i]]));
}

const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function joined(path: string, key: string): string {
  if (/[^A-Za-z0-9_-]/.test(key)) return `${path}[${JSON.stringify(key)}]`;
  return path === "" ? key : `${path}.${key}`;
}

function masked(change: Change): Change {
  const isPlain = /^(apiVersion|kind|type|immutable|metadata\.(name|namespace|labels))\b/;
  if (isPlain.test(change.path)) return change;
  const hidden = (value: unknown) => (value === undefined ? undefined : "(masked)");
  return { ...change, from: hidden(change.from), to: hidden(change.to) };
}
