import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  decodeInventory,
  emptyInventory,
  encodeInventory,
  inventoryName,
  sameEntries,
  sameIntent,
  withEntries,
  withHeader,
  type Entry,
  type Header,
  type Inventory,
} from "./index.ts";

const name = fc.stringMatching(/^[a-z0-9]([-a-z0-9.:]{0,20}[a-z0-9])?$/);
const entry: fc.Arbitrary<Entry> = fc.record(
  {
    key: fc
      .tuple(
        fc.constantFrom("", "apps", "a.example.com"),
        fc.constantFrom("Deployment", "Secret"),
        fc.oneof(name, fc.constant("")),
        name,
      )
      .map((p) => p.join("/")),
    version: fc.constantFrom("v1", "v1beta1"),
    owner: name,
    layer: name,
    policy: fc.constantFrom("Delete" as const, "Orphan" as const),
    want: fc.string(),
    own: fc.string(),
    uid: fc.uuid(),
    created: fc.boolean(),
  },
  { requiredKeys: ["key", "version", "owner", "layer", "policy"], noNullPrototype: true },
);
const mark: Header = {
  cluster: "id",
  pins: new Map([["o", { sequence: 3, revision: "r", fleet: "n/f" }]]),
};
const encode = (inventory: Inventory, shards: number) =>
  encodeInventory({ header: mark, inventory }, inventoryName, shards);
const many = (count: number): Inventory =>
  withEntries(
    emptyInventory,
    Array.from({ length: count }, (_, i): Entry => ({
      key: `/ConfigMap/default/c${i}`,
      version: "v1",
      owner: "o",
      layer: "l",
      policy: "Delete",
    })),
  );

test("what is written is read back", () => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 40 }), (entries) => {
      const inventory = withEntries(emptyInventory, entries);
      assert.deepEqual(
        decodeInventory(encode(inventory, 1)).inventory,
        new Map([...inventory].sort(([a], [b]) => (a < b ? -1 : 1))),
      );
    }),
  );
});

test("ten thousand objects go into shards that a ConfigMap can hold, the header last", () => {
  const inventory = many(10_000);
  const documents = encode(inventory, 1);
  assert.equal(documents.length, 129);
  assert.equal(documents.at(-1)?.name, "inventory");
  for (const { data } of documents) assert.ok(JSON.stringify(data).length < 900_000);
  assert.equal(decodeInventory(documents).inventory.size, 10_000);
});

test("the number of shards never shrinks, so that no entry moves when some go", () => {
  assert.equal(encode(many(3), 8).length, 9);
});

test("no header is an empty inventory; a header without its shard is an error, never an empty list", () => {
  assert.equal(decodeInventory([]).inventory.size, 0);
  const documents = encode(many(5_000), 1).filter(({ name }) => name !== "inventory-64-2");
  assert.throws(() => decodeInventory(documents), {
    code: "InventoryInvalid",
    message: /inventory-64-2/,
  });
});

const header = '{"format":1,"shards":1}';
const good = '{"key":"/ConfigMap/a/b","version":"v1","owner":"o","layer":"l","policy":"Delete"}';
for (const [what, data] of [
  ["a broken header", { header: "{", entries: "" }],
  ["an unknown format", { header: '{"format":2,"shards":1}', entries: "" }],
  ["a million shards", { header: '{"format":1,"shards":1000000}', entries: "" }],
  ["no entries", { header }],
  ["an entry that is no JSON", { header, entries: "x" }],
  ["an entry with a key of five parts", { header, entries: good.replace("a/b", "a/b/c") }],
  ["an entry with another policy", { header, entries: good.replace("Delete", "Explode") }],
] as const) {
  test(`hostile input: ${what} is InventoryInvalid`, () => {
    assert.throws(() => decodeInventory([{ name: "inventory", data }]), {
      code: "InventoryInvalid",
    });
  });
}

test("a header that is written alone leaves the entries as they are, in one document or in many", () => {
  const pins = new Map([["o", { sequence: 4, revision: "r", fleet: "n/f" }]]);
  for (const shards of [1, 4]) {
    const documents = encode(many(20), shards);
    const head = documents.at(-1);
    assert.ok(head !== undefined);
    const next = withHeader(head, { ...mark, pins }, shards);
    const read = decodeInventory([...documents.slice(0, -1), next]);
    assert.equal(read.header?.pins.get("o")?.sequence, 4);
    assert.equal(read.shards, shards);
    assert.equal(read.inventory.size, 20);
  }
});

test("only what a repair learns may wait: the ownership and hints, nothing else", () => {
  const [key = "", held] = [...many(1)][0] ?? [];
  const before = withEntries(many(2), [{ ...(held as Entry), want: "w", own: "o", uid: "u" }]);
  const is = (change: Partial<Entry>) => {
    const after = withEntries(before, [{ ...(before.get(key) as Entry), ...change }]);
    return [sameEntries(after, before), sameIntent(after, before)];
  };
  assert.deepEqual(is({}), [true, true]);
  assert.deepEqual(is({ seen: { version: "2", main: "m", meta: "" } }), [true, true]);
  assert.deepEqual(is({ own: "p" }), [false, true]);
  for (const change of [{ want: "x" }, { uid: "v" }, { created: true }, { layer: "m" }])
    assert.deepEqual(is(change), [false, false]);
  assert.ok(!sameIntent(many(3), many(2)));
});
