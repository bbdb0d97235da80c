import { badMetadata, quoted, tooLarge } from "./error.ts";
import { defaultRule, ruleKinds, type Rule } from "./rules.ts";
import { plainText } from "./plain-text.ts";
import type { MapNode, Node, Pair } from "./tree.ts";
import { bool } from "./value.ts";
import { leaf, limits, text, valueOf } from "./tree.ts";

/** A data key, or a share of it, for one recipient. `recipient` is a label: nothing proves it. */
export type AgeEntry = { readonly recipient: string; readonly enc: string };

/** Recipients of whom each one can open the same share. `foreign` names kinds that are no age: kms, pgp and so on. */
export type KeyGroup = { readonly age: readonly AgeEntry[]; readonly foreign: readonly string[] };

/** What a file says about itself. */
export type Metadata = {
  readonly groups: readonly KeyGroup[];
  /** Groups that are needed; 1 when there is one. */
  readonly threshold: number;
  readonly rule: Rule;
  readonly macOnlyEncrypted: boolean;
  readonly mac: string;
  /** As SOPS authenticates it: whole seconds, Z for UTC. */
  readonly lastModified: string;
  readonly version: string;
};

const foreignKinds = ["kms", "gcp_kms", "hckms", "azure_kv", "hc_vault", "pgp"];
const semver = /^v?\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$/;

/** Reads metadata. Throws SopsFileInvalid (1) for what SOPS does not take either, SopsFileTooLarge. */
export function parseMetadata(map: MapNode): Metadata {
  const groups = groupsOf(map);
  const count = groups.reduce((sum, { age }) => sum + age.length, 0);
  if (count > limits.recipients) throw tooLarge(`more than ${limits.recipients} recipients`);
  const threshold = thresholdOf(map, groups.length);
  const version = optional(map, "version") ?? "";
  if (!semver.test(version)) throw badMetadata("the metadata have no usable version");
  const only = optional(map, "mac_only_encrypted") ?? "";
  return {
    groups,
    threshold,
    rule: ruleOf(map),
    macOnlyEncrypted: ["true", "True", "TRUE", "t", "T", "1"].includes(only),
    mac: optional(map, "mac") ?? "",
    lastModified: lastModifiedOf(map),
    version,
  };
}

function thresholdOf(map: MapNode, groups: number): number {
  const asked = Number(optional(map, "shamir_threshold") ?? "0");
  if (groups === 1) return 1;
  const threshold = asked === 0 ? groups : asked;
  if (Number.isInteger(threshold) && threshold >= 1 && threshold <= groups) return threshold;
  throw badMetadata("shamir_threshold does not fit the number of key groups");
}

/** The text of a scalar; undefined when it is not there or null. */
function optional(map: MapNode, key: string): string | undefined {
  const node = valueOf(map, key);
  if (node === undefined) return undefined;
  if (node.kind !== "leaf") throw badMetadata(`${key} in the metadata is no text`);
  return node.value.type === "null" ? undefined : plainText(node.value).toString();
}

function lastModifiedOf(map: MapNode): string {
  const node = valueOf(map, "lastmodified");
  // Unquoted in YAML it is a time, which sops does not take.
  const value =
    node?.kind === "leaf" && node.value.type === "str" ? node.value.bytes.toString() : "";
  const normal = normalTime(value);
  if (normal === undefined) throw badMetadata("lastmodified is no quoted time of RFC 3339");
  return normal;
}

/** RFC 3339 without its fraction, and with Z for no offset. */
function normalTime(value: string): string | undefined {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[-+]\d\d:\d\d)$/.exec(value);
  const [, time = "", zone = ""] = match ?? [];
  if (match === null || Number.isNaN(Date.parse(value))) return undefined;
  return `${time}${/^[-+]00:00$/.test(zone) ? "Z" : zone}`;
}

function ruleOf(map: MapNode): Rule {
  const rules = ruleKinds.flatMap((kind): readonly Rule[] => {
    const pattern = optional(map, kind) ?? "";
    return pattern === "" ? [] : [{ kind, pattern }];
  });
  if (rules.length > 1) throw badMetadata("more than one encryption rule in the metadata");
  return rules[0] ?? defaultRule;
}

function groupsOf(map: MapNode): readonly KeyGroup[] {
  const own = groupOf(map);
  if (own.age.length > 0 || own.foreign.length > 0) return [own];
  const groups = listOf(map, "key_groups").map((node) => {
    if (node.kind !== "map") throw badMetadata("a key group is no map");
    return groupOf(node);
  });
  if (groups.length === 0) throw badMetadata("no keys in the metadata");
  return groups;
}

function groupOf(map: MapNode): KeyGroup {
  const foreign = foreignKinds.filter((kind) => listOf(map, kind).length > 0);
  return { age: listOf(map, "age").map(entryOf), foreign };
}

function listOf(map: MapNode, key: string): readonly Node[] {
  const node = valueOf(map, key);
  if (node === undefined || (node.kind === "leaf" && node.value.type === "null")) return [];
  // Without items a map and a list are the same in files of lines.
  if (node.kind === "map" && node.items.length === 0) return [];
  if (node.kind !== "list") throw badMetadata(`${key} in the metadata is no list`);
  return node.items.filter((item) => item.kind !== "comment");
}

function entryOf(node: Node): AgeEntry {
  if (node.kind !== "map") throw badMetadata("an age key in the metadata is no map");
  return { recipient: optional(node, "recipient") ?? "", enc: optional(node, "enc") ?? "" };
}

/** What of the metadata is to change. All else stays, in its order: unknown keys, keys of other kinds. */
export type MetadataChange = {
  readonly groups?: readonly (readonly AgeEntry[])[] | undefined;
  readonly mac?: string | undefined;
  readonly lastModified?: string | undefined;
};

/** Metadata with some of it replaced. The number of groups stays as it is. */
export function changeMetadata(map: MapNode, change: MetadataChange): MapNode {
  let changed = map;
  if (change.mac !== undefined) changed = put(changed, "mac", text(change.mac));
  if (change.lastModified !== undefined)
    changed = put(changed, "lastmodified", text(change.lastModified));
  if (change.groups === undefined) return changed;
  const [first] = change.groups;
  if (change.groups.length === 1 && listOf(map, "key_groups").length === 0)
    return put(changed, "age", ageList(first ?? []));
  const groups = listOf(map, "key_groups").map((group, i) =>
    group.kind === "map" ? put(group, "age", ageList(change.groups?.[i] ?? [])) : group,
  );
  return put(changed, "key_groups", { kind: "list", items: groups });
}

function put(map: MapNode, key: string, value: Node): MapNode {
  const isThere = valueOf(map, key) !== undefined;
  const items = map.items.map((item) =>
    item.kind === "pair" && item.key === key ? { ...item, value } : item,
  );
  return { kind: "map", items: isThere ? items : sorted([...items, { kind: "pair", key, value }]) };
}

const sorted = (items: readonly MapNode["items"][number][]) =>
  items.toSorted((a, b) => {
    if (a.kind !== "pair" || b.kind !== "pair") return 0;
    return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
  });

const pair = (key: string, value: Node): Pair => ({ kind: "pair", key, value });

const ageList = (entries: readonly AgeEntry[]): Node => ({
  kind: "list",
  items: entries.map(({ enc, recipient }) => ({
    kind: "map",
    items: [pair("enc", text(enc)), pair("recipient", text(recipient))],
  })),
});

/** The metadata of a new file, keys in order, as SOPS writes them. A binary file names no rule. */
export function newMetadata({
  groups,
  threshold,
  rule,
  macOnlyEncrypted,
  mac,
  lastModified,
  version,
}: NewMetadata): MapNode {
  const isSplit = groups.length > 1;
  const items = [
    ...(isSplit
      ? [pair("key_groups", groupList(groups))]
      : [pair("age", ageList(groups[0] ?? []))]),
    pair("lastmodified", text(lastModified)),
    pair("mac", text(mac)),
    ...(macOnlyEncrypted ? [pair("mac_only_encrypted", { ...text(""), value: bool(true) })] : []),
    ...(isSplit ? [pair("shamir_threshold", leaf("int", Buffer.from(`${threshold}`)))] : []),
    ...(rule === undefined ? [] : [pair(rule.kind, text(rule.pattern))]),
    pair("version", text(version)),
  ];
  return { kind: "map", items: sorted(items) };
}

export type NewMetadata = Omit<Metadata, "groups" | "rule"> & {
  readonly groups: readonly (readonly AgeEntry[])[];
  readonly rule: Rule | undefined;
};

const groupList = (groups: readonly (readonly AgeEntry[])[]): Node => ({
  kind: "list",
  items: groups.map((entries) => ({
    kind: "map",
    items: [pair("age", ageList(entries)), pair("hc_vault", { kind: "list", items: [] })],
  })),
});

/** Throws when a file has recipients whose services we do not speak to. */
export function refuseForeign({ groups }: Metadata, what: string): void {
  const foreign = [...new Set(groups.flatMap((group) => group.foreign))];
  if (foreign.length === 0) return;
  throw badMetadata(
    `it has recipients of other kinds (${foreign.map(quoted).join(", ")}): cannot ${what}`,
  );
}
