import { isMap, isNode, isScalar, isSeq, parseDocument, type Node, type YAMLSeq } from "yaml";
import { CapitanError } from "../errors/index.ts";
import { creationRuleFor, parseSopsConfig, type SopsConfig } from "../sops/index.ts";
import type { Cluster } from "./render.ts";

/** Where the configuration of clusters lies in a fleet repository, one directory each. */
const configurations = "config/clusters";

/** A `.sops.yaml`: its text, and what it says. */
export type SopsFile = { readonly text: string; readonly config: SopsConfig };

/** The directory with the configuration of a cluster. */
export const configurationOf = ({ name }: Pick<Cluster, "name">) => `${configurations}/${name}/`;

/** `path_regex` of a cluster's own rule. A cluster's name has no character that means something to RE2. */
export function rulePatternOf({ name }: Pick<Cluster, "name">): string {
  return `^${configurations}/${name}/.*\\.sops\\.ya?ml$`;
}

/**
 * Adds the rule of a new cluster, before all others: what lies in its configuration is encrypted to
 * whom its `identity` is encrypted to, that is the manager, and to the cluster. Everything else keeps its
 * bytes. Throws SopsConfigInvalid, AlreadyExists.
 */
export function withClusterRule(
  text: string,
  where: string,
  cluster: { readonly name: string; readonly recipient: string; readonly identityPath: string },
): SopsFile {
  const { name, recipient, identityPath } = cluster;
  const config = parseSopsConfig(text, where);
  const manager = creationRuleFor(config, identityPath);
  const [recipients = [], ...others] = manager.groups;
  if (others.length > 0 || recipients.length === 0)
    throw wrong(where, `the rule for ${identityPath} has key groups, or nobody in it`);
  const pattern = rulePatternOf(cluster);
  if (itemsOf(text, where).some((item) => item.pattern === pattern))
    throw new CapitanError(
      "AlreadyExists",
      `${where}: there is a rule for cluster ${name} already`,
    );
  const { at, indent } = placeOf(text, where);
  const lines = [
    `- path_regex: ${pattern}`,
    ...(manager.rule === undefined
      ? []
      : [`  ${manager.rule.kind}: ${JSON.stringify(manager.rule.pattern)}`]),
    `  age: ${[...recipients, recipient].join(",")}`,
  ];
  const rule = lines.map((line) => `${indent}${line}\n`).join("");
  const changed = `${text.slice(0, at)}${rule}${text.slice(at)}`;
  return { text: changed, config: parseSopsConfig(changed, where) };
}

/** Takes the rule of a cluster away again; the same text when there is none. Throws SopsConfigInvalid. */
export function withoutClusterRule(text: string, where: string, cluster: Pick<Cluster, "name">) {
  const pattern = rulePatternOf(cluster);
  const items = itemsOf(text, where).filter((item) => item.pattern === pattern);
  return items.reduceRight(
    (left, { start, end }) => `${left.slice(0, start)}${left.slice(end)}`,
    text,
  );
}

/** A rule as it stands in the text, whole lines. */
type Item = { readonly pattern: unknown; readonly start: number; readonly end: number };

function itemsOf(text: string, where: string): readonly Item[] {
  return rulesOf(text, where).items.flatMap((item) => {
    if (!isMap(item)) return [];
    const start = text.lastIndexOf("\n", (item.range?.[0] ?? 0) - 1) + 1;
    const newline = text.indexOf("\n", lastOf(item));
    return { pattern: item.get("path_regex"), start, end: newline < 0 ? text.length : newline + 1 };
  });
}

/** Where the last value in a map ends; what follows may be a comment on something else. */
function lastOf(node: Node): number {
  const last = isMap(node) ? node.items.at(-1)?.value : isSeq(node) ? node.items.at(-1) : undefined;
  const isFlow = (isMap(node) || isSeq(node)) && node.flow === true;
  return isFlow || !isNode(last) ? (node.range?.[1] ?? 0) : lastOf(last);
}

/** Where the first rule may be put: right below `creation_rules:`. */
function placeOf(text: string, where: string): { readonly at: number; readonly indent: string } {
  const [first] = itemsOf(text, where);
  const key = /^creation_rules[ \t]*:[ \t]*(?:#[^\n]*)?\n/m.exec(text);
  const indent = /^[ \t]*(?=- )/.exec(text.slice(first?.start))?.[0];
  if (first === undefined || key === null || indent === undefined)
    throw wrong(where, "creation_rules is not written as a list with one rule below the other");
  return { at: key.index + key[0].length, indent };
}

function rulesOf(text: string, where: string): YAMLSeq {
  const document = parseDocument<Node>(text, { prettyErrors: false });
  const root = document.contents;
  const rules: unknown = isMap(root) ? root.get("creation_rules", true) : undefined;
  if (document.errors.length === 0 && isSeq(rules) && rules.flow !== true) return rules;
  if (isScalar(rules) || rules === undefined) throw wrong(where, "it has no creation_rules");
  throw wrong(where, "creation_rules is not written as a list with one rule below the other");
}

const wrong = (where: string, what: string) =>
  new CapitanError("SopsConfigInvalid", `${where}: ${what}`);
