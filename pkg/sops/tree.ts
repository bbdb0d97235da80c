/** The types that SOPS knows. `bytes` is read and never written; `null` is never encrypted. */
export type ValueType = "str" | "int" | "float" | "bool" | "time" | "bytes" | "comment" | "null";

/** A value. `bytes` is what is encrypted and what the MAC is made of, not what a file shows. */
export type Value = { readonly type: ValueType; readonly bytes: Buffer };

/** A part of a file's text, as string offsets; `end` is the first one behind it. */
export type Span = { readonly start: number; readonly end: number };

/** How a scalar is written where it stands, which decides how another one may take its place. */
export type Style = "plain" | "quoted" | "block";

/** A scalar. One that was made, not read, has no place in a text. */
export type Leaf = {
  readonly kind: "leaf";
  readonly value: Value;
  readonly span?: Span | undefined;
  readonly style: Style;
};

/** A comment without its `#`. `inline` is one behind a value, on the same line. */
export type Comment = {
  readonly kind: "comment";
  readonly bytes: Buffer;
  readonly inline: boolean;
  readonly span?: Span | undefined;
};

export type Pair = { readonly kind: "pair"; readonly key: string; readonly value: Node };
/** A map, which keeps its order and may have keys of any text. */
export type MapNode = { readonly kind: "map"; readonly items: readonly (Pair | Comment)[] };
export type ListNode = { readonly kind: "list"; readonly items: readonly (Node | Comment)[] };
export type Node = Leaf | MapNode | ListNode;

/** Limits on what is read: S4 of the faults. Flux itself takes files of at most 5 MiB. */
export const limits = {
  fileBytes: 16 * 1024 * 1024,
  depth: 100,
  leaves: 200_000,
  recipients: 1_000,
  identities: 100,
  /** X25519 operations until one file is given up. */
  unwraps: 10_000,
} as const;

/** A scalar without a place. */
export const leaf = (type: ValueType, bytes: Buffer): Leaf => ({
  kind: "leaf",
  value: { type, bytes },
  style: "plain",
});

/** A string without a place. */
export const text = (value: string): Leaf => leaf("str", Buffer.from(value));

/** The value under a key; the first one, if a reader let two pass. */
export function valueOf(map: MapNode, key: string): Node | undefined {
  for (const item of map.items) if (item.kind === "pair" && item.key === key) return item.value;
  return undefined;
}
