import { quoted, SopsError } from "./error.ts";
import { regexTest, ruleKinds, type Rule } from "./rules.ts";
import { plainText } from "./plain-text.ts";
import type { Layout } from "./store.ts";
import { valueOf, type MapNode, type Node } from "./tree.ts";
import { readYaml } from "./yaml-read.ts";

/** One of `creation_rules`: for which files, and how they are encrypted. */
export type CreationRule = {
  readonly groups: readonly (readonly string[])[];
  readonly threshold: number | undefined;
  readonly rule: Rule | undefined;
  readonly macOnlyEncrypted: boolean;
  /** Kinds of recipients in it that are no age. */
  readonly foreign: readonly string[];
};

/** A `.sops.yaml`. */
export type SopsConfig = {
  readonly rules: readonly (CreationRule & { readonly matches: (path: string) => boolean })[];
  readonly layout: Layout;
};

const rulesMax = 1_000;
const foreignKinds = [
  "kms",
  "gcp_kms",
  "hckms",
  "azure_kv",
  "azure_keyvault",
  "hc_vault",
  "hc_vault_transit_uri",
  "pgp",
];

/** Reads a `.sops.yaml`. Throws SopsConfigInvalid; `where` names the file. */
export function parseSopsConfig(text: string, where: string): SopsConfig {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof SopsError) throw wrong(`${where}: ${error.message}`);
    throw error;
  }
}

const wrong = (message: string) => new SopsError("SopsConfigInvalid", 1, message);

function parse(text: string): SopsConfig {
  const root = readYaml(text)[0]?.root ?? { kind: "map", items: [] };
  const rules = nodesOf(root, "creation_rules").map((node) =>
    ruleOf(mapOf(node, "a creation rule")),
  );
  if (rules.length > rulesMax) throw wrong(`more than ${rulesMax} creation rules`);
  const stores = mapAt(root, "stores");
  const indent = (store: string) => numberAt(mapAt(stores, store), "indent");
  const layout = {
    yamlIndent: indent("yaml"),
    jsonIndent: indent("json"),
    binaryIndent: indent("json_binary"),
  };
  const { yamlIndent = 4 } = layout;
  if (yamlIndent < 0 || yamlIndent > 9) throw wrong("stores.yaml.indent is no number from 0 to 9");
  return {
    rules,
    layout: { ...layout, yamlIndent: yamlIndent === 0 ? undefined : layout.yamlIndent },
  };
}

function ruleOf(map: MapNode): SopsConfig["rules"][number] {
  const pattern = textAt(map, "path_regex");
  const rules = ruleKinds.flatMap((kind): readonly Rule[] => {
    const text = textAt(map, kind) ?? "";
    return text === "" ? [] : [{ kind, pattern: text }];
  });
  if (rules.length > 1) throw wrong("a creation rule with more than one encryption rule");
  const groups = nodesOf(map, "key_groups").map((node) => mapOf(node, "a key group"));
  const holders = groups.length > 0 ? groups.flatMap(withMerged) : [map];
  return {
    matches: pattern === undefined || pattern === "" ? () => true : regexTest(pattern),
    groups:
      groups.length > 0
        ? groups.map((group) => unique(withMerged(group).flatMap(agesOf)))
        : [unique(agesOf(map))],
    threshold: numberAt(map, "shamir_threshold"),
    rule: rules[0],
    macOnlyEncrypted: textAt(map, "mac_only_encrypted") === "true",
    foreign: foreignKinds.filter((kind) => holders.some((holder) => isUsed(valueOf(holder, kind)))),
  };
}

const unique = (texts: readonly string[]) => [...new Set(texts)];

/** A group and the ones that are merged into it. */
function withMerged(group: MapNode, depth = 0): readonly MapNode[] {
  if (depth > 8) throw wrong("key groups are merged too deeply");
  const merged = nodesOf(group, "merge").map((node) => mapOf(node, "a key group"));
  return [group, ...merged.flatMap((inner) => withMerged(inner, depth + 1))];
}

/** `age` is a list, or one text with commas. */
function agesOf(map: MapNode): readonly string[] {
  const node = valueOf(map, "age");
  const texts =
    node?.kind === "list" ? nodesOf(map, "age").map(textOf) : (textAt(map, "age") ?? "").split(",");
  return texts.map((text) => text.trim()).filter((text) => text !== "");
}

function isUsed(node: Node | undefined): boolean {
  if (node === undefined) return false;
  return node.kind === "leaf" ? node.value.bytes.length > 0 : node.items.length > 0;
}

function nodesOf(map: MapNode, key: string): readonly Node[] {
  const node = valueOf(map, key);
  if (node === undefined || (node.kind === "leaf" && node.value.type === "null")) return [];
  if (node.kind !== "list") throw wrong(`${key} is no list`);
  return node.items.filter((item) => item.kind !== "comment");
}

function mapOf(node: Node, what: string): MapNode {
  if (node.kind !== "map") throw wrong(`${what} is no map`);
  return node;
}

const mapAt = (map: MapNode, key: string): MapNode => {
  const node = valueOf(map, key);
  return node?.kind === "map" ? node : { kind: "map", items: [] };
};

function textOf(node: Node): string {
  if (node.kind !== "leaf") throw wrong("a map or list where a text is wanted");
  return plainText(node.value).toString();
}

function textAt(map: MapNode, key: string): string | undefined {
  const node = valueOf(map, key);
  return node === undefined ? undefined : textOf(node);
}

function numberAt(map: MapNode, key: string): number | undefined {
  const text = textAt(map, key);
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isInteger(value)) throw wrong(`${key} is no number`);
  return value;
}

/**
 * The first rule for a file: `path` is relative to the directory of `.sops.yaml` when the file is below
 * it, else absolute. Throws SopsConfigInvalid when there is none, or when it names other keys than age.
 */
export function creationRuleFor({ rules }: SopsConfig, path: string): CreationRule {
  const rule = rules.find(({ matches }) => matches(path));
  if (rule === undefined) throw wrong(`no matching creation rules found for ${quoted(path)}`);
  if (rule.foreign.length > 0)
    throw wrong(
      `the creation rule for ${quoted(path)} has recipients of other kinds: ${rule.foreign.join(", ")}`,
    );
  return rule;
}
