import { flatten } from "./flatten.ts";
import { quoted, unreadable } from "./error.ts";
import { defaultSection, trim } from "./ini-read.ts";
import type { Comment, MapNode, Pair } from "./tree.ts";
import { text } from "./tree.ts";
import { plainText } from "./plain-text.ts";

type Entry = { readonly key: string; readonly value: string; comment: string };

/** Writes an INI file as SOPS does: keys padded in each section, comments above what they belong to. */
export function writeIni(root: MapNode): string {
  const sections = root.items.filter((item) => item.kind === "pair");
  return sections.map((pair, i) => sectionText(pair, i === 0, i === sections.length - 1)).join("");
}

function sectionText({ key, value }: Pair, isFirst: boolean, isLast: boolean): string {
  if (value.kind !== "map") throw unreadable(`what is under ${quoted(key)} is no section`);
  const { comment, entries } = entriesOf(value.items);
  const above = comment === "" ? "" : commentText(comment, false);
  const isBare = isFirst && key.toUpperCase() === defaultSection;
  if (isBare && entries.length === 0) return above;
  const header = isBare ? "" : `[${key}]\n`;
  const width = Math.max(0, ...entries.map(({ key }) => byteLength(quotedKey(key))));
  const lines = entries.map((entry) => entryText(entry, width));
  return `${above}${header}${lines.join("")}${isLast ? "" : "\n"}`;
}

const byteLength = (key: string) => Buffer.byteLength(key);

function entriesOf(items: readonly (Pair | Comment)[]): {
  readonly comment: string;
  readonly entries: readonly Entry[];
} {
  const entries: Entry[] = [];
  let comment = "";
  for (const [i, item] of items.entries()) {
    const last = entries.at(-1);
    if (item.kind === "comment") {
      if (i === 0) comment = item.bytes.toString();
      else if (last !== undefined) last.comment = item.bytes.toString();
    } else if (item.value.kind !== "leaf") {
      throw unreadable(`an INI file has no place for what is under ${quoted(item.key)}`);
    } else
      entries.push({ key: item.key, value: plainText(item.value.value).toString(), comment: "" });
  }
  return { comment, entries };
}

function commentText(comment: string, trims: boolean): string {
  return comment
    .split("\n")
    .map((line) => {
      if (line.startsWith("#") || line.startsWith(";"))
        return `${line[0]} ${trim(line.slice(1))}\n`;
      return `; ${trims ? trim(line) : line}\n`;
    })
    .join("");
}

function entryText({ key, value, comment }: Entry, width: number): string {
  const name = quotedKey(key);
  const padding = " ".repeat(width - byteLength(name));
  return `${comment === "" ? "" : commentText(comment, true)}${name}${padding} = ${quotedValue(value)}\n`;
}

function quotedKey(key: string): string {
  if (/["=:]/.test(key)) return `\`${key}\``;
  return key.includes("`") ? `"""${key}"""` : key;
}

function quotedValue(value: string): string {
  if (/[\n`]/.test(value)) return `"""${value}"""`;
  if (/[#;]/.test(value)) return `\`${value}\``;
  return trim(value) === value ? value : `"${value}"`;
}

/** The metadata as a section. */
export function iniMetadata(metadata: MapNode): Pair {
  const items = flatten(metadata).map(([key, value]): Pair => ({
    kind: "pair",
    key,
    value: text(value.replaceAll("\n", "\\n")),
  }));
  return { kind: "pair", key: "sops", value: { kind: "map", items } };
}
