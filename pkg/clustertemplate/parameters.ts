import { RE2JS } from "re2js";
import { problemsIn, type ClusterTemplate, type TemplateParameter } from "../api/index.ts";
import { CapitanError } from "../errors/index.ts";
import { asList, type Json, type JsonMap } from "../json/index.ts";

/** A parameter with this name is the cluster's Kubernetes version. */
export const versionParameter = "kubernetesVersion";

/** A parameter and its name, in the order of the template. */
export type NamedParameter = TemplateParameter & { readonly name: string };

export function parametersOf({ spec }: ClusterTemplate): readonly NamedParameter[] {
  return Object.entries(spec.parameters ?? {}).map(([name, parameter]) => ({ ...parameter, name }));
}

/** The names of the parameters that nobody may see. */
export function secretNames(template: ClusterTemplate): ReadonlySet<string> {
  const secret = parametersOf(template).filter(({ secret = false }) => secret);
  return new Set(secret.map(({ name }) => name));
}

/**
 * All parameters of a cluster: what is given, and defaults. Throws ParameterInvalid with everything that
 * is wrong, by names, never with a value.
 */
export function completeParameters(template: ClusterTemplate, given: JsonMap): JsonMap {
  const parameters = parametersOf(template);
  const known = new Set(parameters.map(({ name }) => name));
  const strangers = Object.keys(given).filter((name) => !known.has(name));
  const list = [...known].join(", ") || "none";
  const problems = [
    ...strangers.map((name) => `${name.slice(0, 64)}: there is no such parameter; known: ${list}`),
    ...parameters.flatMap((parameter) => problemsOf(parameter, valueOf(parameter, given))),
  ];
  if (problems.length > 0) throw invalid(template, problems);
  const values = parameters.flatMap((parameter) => {
    const value = valueOf(parameter, given);
    return value === undefined ? [] : [[parameter.name, value] as const];
  });
  return Object.fromEntries(values);
}

/** The parameters that have to be given and are not. */
export function missingParameters(
  template: ClusterTemplate,
  given: JsonMap,
): readonly NamedParameter[] {
  return parametersOf(template).filter(
    (parameter) => parameter.required === true && valueOf(parameter, given) === undefined,
  );
}

/** What is wrong with the value of a parameter, undefined for none: sentences that begin with its name. */
export function problemsOf(parameter: NamedParameter, value: Json | undefined): readonly string[] {
  const { name, required = false, description = "" } = parameter;
  if (value === undefined) {
    const what = description === "" ? "" : ` (${description})`;
    return required ? [`${name}: is missing${what}`] : [];
  }
  try {
    return problemsIn(schemaOf(parameter), value, name).map(
      ({ path, what }) => `${path}: ${what}${quoteHint(parameter, value)}`,
    );
  } catch {
    return [`${name}: its pattern is no regular expression of RE2`];
  }
}

/** `1.20` in a file of values is a number: whoever wrote it wanted a string. */
function quoteHint({ type }: NamedParameter, value: Json): string {
  return type === "string" && typeof value !== "string" && typeof value !== "object"
    ? "; write it in quotes"
    : "";
}

/**
 * The value that a text stands for, as it is given on the command line: a list is separated by commas, or
 * JSON. Throws ParameterInvalid.
 */
export function parseParameter(parameter: NamedParameter, text: string): Json {
  switch (parameter.type) {
    case "string":
      return text;
    case "boolean":
      return text === "true" ? true : text === "false" ? false : unreadable(parameter);
    case "integer":
    case "number":
      return /^-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?$/.test(text) ? Number(text) : unreadable(parameter);
    case "array":
      return text.startsWith("[") ? listOf(parameter, text) : text.split(",").filter(Boolean);
  }
}

function listOf(parameter: NamedParameter, text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return unreadable(parameter);
  }
}

function unreadable({ name, type }: NamedParameter): never {
  throw new CapitanError("ParameterInvalid", `${name}: must be ${wanted[type]}`);
}

const wanted = {
  string: "a string",
  boolean: "true or false",
  integer: "a whole number",
  number: "a number",
  array: 'a list: a,b or ["a","b"]',
} as const;

/** A parameter's own definition, where it cannot be meant so. */
export function problemsOfDefinition(parameter: NamedParameter): readonly string[] {
  const { name, default: otherwise, required = false, secret = false, pattern } = parameter;
  if (pattern !== undefined && !isPattern(pattern))
    return [`${name}: its pattern is no regular expression of RE2`];
  const words = asList(parameter.enum) as readonly Json[];
  const type = itemOf(parameter);
  const wrongWords = words.filter((word) => problemsIn({ type }, word).length > 0);
  const standing: readonly (readonly [boolean, string])[] = [
    [wrongWords.length > 0, `values of enum are no ${type}`],
    [secret && otherwise !== undefined, "a secret has no default"],
    [required && otherwise !== undefined, "what has a default never has to be given"],
  ];
  const problems = standing.filter(([isWrong]) => isWrong).map(([, what]) => `${name}: ${what}`);
  const ofDefault = secret ? [] : problemsOf({ ...parameter, required: false }, otherwise);
  return [...problems, ...ofDefault.map((problem) => `default of ${problem}`)];
}

function isPattern(pattern: string): boolean {
  try {
    RE2JS.compile(pattern);
    return true;
  } catch {
    return false;
  }
}

const valueOf = ({ name, default: otherwise }: NamedParameter, given: JsonMap) =>
  Object.hasOwn(given, name) ? given[name] : otherwise;

const itemOf = ({ type }: TemplateParameter) => (type === "array" ? "string" : type);

/** A parameter as a schema: of an array, pattern and enum are of its items, the sizes its own. */
function schemaOf(parameter: TemplateParameter): JsonMap {
  const { type, enum: words, pattern, minLength, maxLength, minimum, maximum } = parameter;
  const scalar = { enum: words ?? [], pattern, minimum, maximum };
  if (type !== "array") return { ...scalar, type, minLength, maxLength };
  return {
    type,
    minItems: minLength,
    maxItems: maxLength,
    items: { ...scalar, type: itemOf(parameter) },
  };
}

const invalid = ({ metadata }: ClusterTemplate, problems: readonly string[]) =>
  new CapitanError(
    "ParameterInvalid",
    `template ${metadata.name}: ${problems.length === 1 ? problems[0] : `\n${problems.map((p) => `  ${p}`).join("\n")}`}`,
  );
