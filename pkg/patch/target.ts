import { RE2JS } from "re2js";
import { CapitanError } from "../errors/index.ts";
import { groupOf, matchesSelector, versionOf, type KubeObject } from "../object/index.ts";
import { parseSelector } from "./selector-text.ts";

/**
 * Which objects a patch is for, in kustomize's shape. The first five are regular expressions of Go (RE2)
 * that must match the whole; what is left out matches everything. Selectors are written as for kubectl.
 */
export type PatchTarget = {
  readonly group?: string | undefined;
  readonly version?: string | undefined;
  readonly kind?: string | undefined;
  readonly name?: string | undefined;
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly annotationSelector?: string | undefined;
};

type Matches = (object: KubeObject) => boolean;

/** Longer expressions are refused. */
const patternCharsMax = 256;
/** Instructions of one expression at most: `(a{1,100}){1,100}` is short and has very many. */
const programMax = 5_000;

const fields: readonly (readonly [keyof PatchTarget, (object: KubeObject) => string])[] = [
  ["group", ({ apiVersion }) => groupOf(apiVersion)],
  ["version", ({ apiVersion }) => versionOf(apiVersion)],
  ["kind", ({ kind }) => kind],
  ["name", ({ metadata }) => metadata.name],
  ["namespace", ({ metadata }) => metadata.namespace ?? ""],
];

/** Reads a target. `where` is for messages. Throws PatchInvalid. */
export function parseTarget(target: PatchTarget, where: string): Matches {
  const patterns = fields.flatMap(([field, read]): readonly Matches[] => {
    const text = target[field] ?? "";
    if (text === "") return [];
    const pattern = compile(text, `${where}.${field}`);
    return [(object) => pattern.testExact(read(object))];
  });
  const labels = selectorOf(target.labelSelector, `${where}.labelSelector`);
  const annotations = selectorOf(target.annotationSelector, `${where}.annotationSelector`);
  return (object) =>
    patterns.every((matches) => matches(object)) &&
    matchesSelector(labels, object.metadata.labels) &&
    matchesSelector(annotations, object.metadata.annotations);
}

function compile(text: string, where: string): RE2JS {
  if (text.length > patternCharsMax)
    throw invalid(where, `has more than ${patternCharsMax} characters`);
  let pattern: RE2JS;
  try {
    pattern = RE2JS.compile(text);
  } catch {
    throw invalid(where, "is no regular expression of RE2 (there is no (?=…) and no \\1)");
  }
  if (pattern.programSize() > programMax) throw invalid(where, "is too large a regular expression");
  return pattern;
}

function selectorOf(text = "", where: string) {
  const selector = parseSelector(text);
  if (selector === undefined)
    throw invalid(where, "is no selector such as env=prod,tier in (a,b),!old");
  return selector;
}

const invalid = (where: string, what: string) =>
  new CapitanError("PatchInvalid", `${where} ${what}`);
