import { isJsonMap, type JsonMap } from "../json/index.ts";
import { fieldManager, ownEntry, type ManagedField, type ObjectMeta } from "../object/index.ts";

/** Who took a field of ours, and which one, as people read it. */
export type Thief = { readonly manager: string; readonly field: string };

const separator = "\u0000";

/** Every path of a `fieldsV1` tree, its keys joined; "." is a path of its own. */
function pathsOf(tree: unknown, above: readonly string[] = []): readonly string[] {
  if (!isJsonMap(tree)) return [];
  return Object.entries(tree).flatMap(([key, below]) => {
    const path = [...above, key];
    const isLeaf = !isJsonMap(below) || Object.keys(below).length === 0;
    return isLeaf ? [path.join(separator)] : pathsOf(below, path);
  });
}

function treeOf(paths: Iterable<string>): JsonMap {
  const root: Record<string, unknown> = {};
  for (const path of paths) {
    let node = root;
    for (const key of path.split(separator)) node = childOf(node, key);
  }
  return root as JsonMap;
}

/** The node below this one, made when there is none. A hostile server may name a field `__proto__`: that is a key like others. */
function childOf(node: Record<string, unknown>, key: string): Record<string, unknown> {
  const found = Object.hasOwn(node, key) ? node[key] : undefined;
  if (isJsonMap(found)) return found;
  const value: Record<string, unknown> = {};
  Object.defineProperty(node, key, { value, enumerable: true, writable: true, configurable: true });
  return value;
}

/** `.spec.template.spec.containers[name=app].image`: a path as people read it. */
export function displayPath(path: string): string {
  const parts = path.split(separator).filter((key) => key !== ".");
  return parts.map(displayKey).join("");
}

function displayKey(key: string): string {
  const rest = key.slice(2);
  if (key.startsWith("f:")) return `.${rest}`;
  if (key.startsWith("k:")) return `[${rest.replaceAll(/[{}"]/g, "").replaceAll(":", "=")}]`;
  return `[${rest}]`;
}

const isOthers = (entry: ManagedField) =>
  !(entry.manager === fieldManager && entry.operation === "Apply") &&
  entry.subresource !== "status";

const parentOf = (path: string) => path.slice(0, path.lastIndexOf(separator) + 1);

/**
 * Who has a field that was ours: the paths that we own after a repair and did not own before it,
 * and the manager that held one of them, or one beside it, before. Undefined when nothing tells.
 */
export function thiefOf(before: ObjectMeta, after: ObjectMeta): Thief | undefined {
  const had = new Set(pathsOf(ownEntry(before)?.fieldsV1));
  const lost = pathsOf(ownEntry(after)?.fieldsV1).filter((path) => !had.has(path));
  const [first] = lost;
  if (first === undefined) return undefined;
  const others = (before.managedFields ?? []).filter(isOthers);
  const exact = others.find((entry) => {
    const theirs = new Set(pathsOf(entry.fieldsV1));
    return lost.some((path) => theirs.has(path));
  });
  const beside = others.find((entry) =>
    pathsOf(entry.fieldsV1).some((path) => path.startsWith(parentOf(first))),
  );
  const manager = (exact ?? beside)?.manager ?? "unknown";
  const field = lost.find((path) => !path.endsWith(`${separator}.`)) ?? first;
  return { manager, field: displayPath(field) };
}

/**
 * The managedFields with which a next apply removes what others own at `paths` and, with `beside`,
 * all that they own beside them: in the same list when a whole item of ours was lost, else below the
 * same parent. Undefined when there is nothing to take.
 */
export function takeOver(
  metadata: ObjectMeta,
  paths: readonly string[],
  beside: boolean,
): readonly ManagedField[] | undefined {
  const entries = metadata.managedFields ?? [];
  const mine = ownEntry(metadata);
  const exact = new Set(paths);
  const parents = beside ? paths.map((path) => listOf(path, exact)).filter((p) => p !== "") : [];
  const isTaken = (path: string) =>
    exact.has(path) || parents.some((parent) => path.startsWith(parent));
  const taken = new Set<string>();
  const rest = entries.flatMap((entry) => {
    if (!isOthers(entry)) return entry === mine ? [] : [entry];
    // Another applier who wants the field has as much right to it as we had.
    if (!beside && entry.operation === "Apply") return [entry];
    const theirs = pathsOf(entry.fieldsV1);
    const kept = theirs.filter((path) => !isTaken(path));
    for (const path of theirs) if (isTaken(path)) taken.add(path);
    return kept.length === 0 ? [] : [{ ...entry, fieldsV1: treeOf(kept) }];
  });
  if (taken.size === 0) return undefined;
  const template = mine ?? entries.find(isOthers);
  const own: ManagedField = {
    ...(template?.apiVersion === undefined ? {} : { apiVersion: template.apiVersion }),
    ...(template?.time === undefined ? {} : { time: template.time }),
    manager: fieldManager,
    operation: "Apply",
    fieldsType: "FieldsV1",
    fieldsV1: treeOf([...pathsOf(mine?.fieldsV1), ...taken]),
  };
  return [...rest, own];
}

/** The list that a lost item stood in, else the parent of a lost field. */
function listOf(path: string, lost: ReadonlySet<string>): string {
  const keys = path.split(separator);
  const item = keys.findIndex((key, i) => {
    const isItem = key.startsWith("k:") || key.startsWith("v:");
    return isItem && lost.has([...keys.slice(0, i + 1), "."].join(separator));
  });
  return item < 0 ? parentOf(path) : keys.slice(0, item).join(separator) + separator;
}

/** Whether somebody else holds one of our fields too, so that dropping it from the layer would leave it there. */
export function isShared(metadata: ObjectMeta): boolean {
  const others = (metadata.managedFields ?? []).filter(isOthers);
  if (others.length === 0) return false;
  const mine = new Set(pathsOf(ownEntry(metadata)?.fieldsV1));
  return others.some((entry) => pathsOf(entry.fieldsV1).some((path) => mine.has(path)));
}

/**
 * The paths that we owned before and do not own after, and that somebody else still holds; `known`
 * are such paths of earlier.
 */
export function keptByOthers(
  before: ObjectMeta,
  after: ObjectMeta,
  known: readonly string[] = [],
): readonly string[] {
  const now = new Set(pathsOf(ownEntry(after)?.fieldsV1));
  const had = new Set([...pathsOf(ownEntry(before)?.fieldsV1), ...known]);
  const dropped = [...had].filter((path) => !now.has(path));
  if (dropped.length === 0) return [];
  const theirs = new Set(
    (after.managedFields ?? []).filter(isOthers).flatMap((entry) => pathsOf(entry.fieldsV1)),
  );
  return dropped.filter((path) => theirs.has(path));
}

/** The first of these paths that somebody else holds, and who; undefined when nobody does. */
export function holderOf(
  metadata: ObjectMeta,
  paths: readonly string[],
): { readonly manager: string; readonly path: string } | undefined {
  for (const entry of (metadata.managedFields ?? []).filter(isOthers)) {
    const theirs = new Set(pathsOf(entry.fieldsV1));
    const path = paths.find((one) => theirs.has(one));
    if (path !== undefined) return { manager: entry.manager ?? "unknown", path };
  }
  return undefined;
}

/** The paths that our entry lacks of what it held when we last applied; `before` is our `fieldsV1` of then. */
export function lostPaths(before: JsonMap, now: ObjectMeta): readonly string[] {
  const have = new Set(pathsOf(ownEntry(now)?.fieldsV1));
  return pathsOf(before).filter((path) => !have.has(path));
}

/** An entry that the API server made up for fields that nobody had applied. */
const nobody = "before-first-apply";

/**
 * The managedFields after our first apply to an object that had none: without the entry that the
 * API server makes up, which would keep every field that we drop later. Undefined when there is none.
 */
export function withoutNobody({
  managedFields = [],
}: ObjectMeta): readonly ManagedField[] | undefined {
  const kept = managedFields.filter((entry) => entry.manager !== nobody);
  return kept.length === managedFields.length ? undefined : kept;
}

/** The managedFields at one version: entries at versions that are not served get it. Undefined when all are. */
export function atVersion(
  { managedFields = [] }: ObjectMeta,
  apiVersion: string,
  isGone: (apiVersion: string) => boolean,
): readonly ManagedField[] | undefined {
  if (!managedFields.some((entry) => isGone(entry.apiVersion ?? ""))) return undefined;
  return managedFields.map((entry) =>
    isGone(entry.apiVersion ?? "") ? { ...entry, apiVersion } : entry,
  );
}

/** The managedFields without others' entries at other versions than ours. Undefined when there are none. */
export function onlyAtVersion(
  { managedFields = [] }: ObjectMeta,
  apiVersion: string,
): readonly ManagedField[] | undefined {
  const kept = managedFields.filter((e) => !isOthers(e) || e.apiVersion === apiVersion);
  return kept.length === managedFields.length ? undefined : kept;
}
