import { badMetadata, tooLarge } from "./error.ts";
import type { MapNode, Node, Pair } from "./tree.ts";
import { limits, text } from "./tree.ts";
import { plainText } from "./plain-text.ts";

const mapMark = "__map_";
const listMark = "__list_";

/** Metadata as lines: `age__list_0__map_enc`. Empty lists and maps have none. */
export function flatten(metadata: MapNode): readonly (readonly [string, string])[] {
  return metadata.items.flatMap((item) =>
    item.kind === "pair" ? flattenNode(item.key, item.value) : [],
  );
}

function flattenNode(name: string, node: Node): readonly (readonly [string, string])[] {
  if (node.kind === "leaf") return [[name, plainText(node.value).toString()]];
  const isItem = (item: (typeof node.items)[number]) => item.kind !== "comment";
  return (node.items as readonly (Pair | Node)[])
    .filter(isItem)
    .flatMap((item, i) =>
      item.kind === "pair"
        ? flattenNode(`${name}${mapMark}${item.key}`, item.value)
        : flattenNode(`${name}${listMark}${i}`, item),
    );
}

/** A place that lines lead to: a text, or more places by name or by number. */
type Slot = {
  text?: string;
  readonly keys: Map<string, Slot>;
  readonly indices: Map<number, Slot>;
};

const slot = (): Slot => ({ keys: new Map(), indices: new Map() });

/** The tree of such lines, keys in order. Throws SopsFileInvalid for lines that contradict each other. */
export function unflatten(lines: MapNode): MapNode {
  const root = slot();
  for (const item of lines.items) {
    if (item.kind !== "pair" || item.value.kind !== "leaf") continue;
    place(root, item.key, item.value.value.bytes.toString());
  }
  const result = nodeOf(root, "");
  return result.kind === "map" ? result : { kind: "map", items: [] };
}

function place(root: Slot, name: string, value: string): void {
  let at = root;
  const steps = `${mapMark}${name}`.split(/(__map_|__list_)/).slice(1);
  if (steps.length > 40) throw tooLarge("metadata are nested too deeply");
  for (let i = 0; i < steps.length; i += 2) {
    const [mark, step = ""] = [steps[i], steps[i + 1]];
    if (mark === mapMark) at = child(at.keys, step);
    else at = child(at.indices, indexOf(step));
  }
  if (at.text !== undefined) throw badMetadata("a line of the metadata is there twice");
  at.text = value;
}

function indexOf(step: string): number {
  if (!/^\d{1,5}$/.test(step))
    throw badMetadata("a list of the metadata has an item without a number");
  return Number(step);
}

function child<K>(slots: Map<K, Slot>, key: K): Slot {
  const found = slots.get(key) ?? slot();
  slots.set(key, found);
  return found;
}

function nodeOf(at: Slot, name: string): Node {
  const kinds = [at.text !== undefined, at.keys.size > 0, at.indices.size > 0];
  if (kinds.filter(Boolean).length > 1)
    throw badMetadata(`lines of the metadata contradict each other at ${name}`);
  if (at.text !== undefined) return text(at.text);
  if (at.indices.size === 0) {
    const items = [...at.keys]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]): Pair => ({ kind: "pair", key, value: nodeOf(value, key) }));
    return { kind: "map", items };
  }
  if (at.indices.size > limits.recipients)
    throw tooLarge(`more than ${limits.recipients} recipients`);
  return {
    kind: "list",
    items: Array.from({ length: at.indices.size }, (_, i) => {
      const found = at.indices.get(i);
      if (found === undefined) throw badMetadata("a list of the metadata has a gap");
      return nodeOf(found, `${i}`);
    }),
  };
}
