import assert from "node:assert/strict";
import { test } from "node:test";
import { parseManifests, parseYaml } from "./index.ts";

/** What `sigs.k8s.io/yaml`, hence kubectl and Flux, make of a scalar. */
const scalars: readonly (readonly [text: string, value: unknown])[] = [
  ["on", true],
  ["yes", true],
  ["y", true],
  ["No", false],
  ["OFF", false],
  ["n", false],
  ["true", true],
  ["~", null],
  ["0777", 511],
  ["010", 8],
  ["0o777", 511],
  ["1_000", 1000],
  ["0b11", 3],
  ["0x1F", 31],
  ["1e3", 1000],
  ["1.0", 1],
  ["2001-12-14", "2001-12-14"],
  ["12:30:45", "12:30:45"],
  ["1.2.3", "1.2.3"],
  [".", "."],
  ["e3", "e3"],
  ["0b_", "0b_"],
  ["-.", "-."],
  ["", null],
  ['"on"', "on"],
  ["12345678901234567890", 12345678901234567890n],
];

for (const [text, want] of scalars) {
  test(`reads the scalar ${text} as Kubernetes does`, () => {
    assert.deepEqual(parseYaml(`v: ${text}`, "f"), { v: want });
  });
}

const refused: readonly (readonly [name: string, text: string, message: RegExp])[] = [
  ["broken YAML", "a: [", /f\.yaml:1: .*not valid YAML/],
  ["a key that appears twice", "a: 1\nb: 2\na: 3", /f\.yaml:3: a key appears twice/],
  ["an unknown tag", "a: !!python/object x", /not valid YAML/],
  ["a document that is a list", "- 1", /f\.yaml:1: the document is not an object/],
  ["an object without kind", "apiVersion: v1\nmetadata: {name: a}", /has no kind/],
  ["an object without apiVersion", "kind: X\nmetadata: {name: a}", /has no apiVersion/],
  [
    "generateName",
    "apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}",
    /generateName is not supported/,
  ],
  [
    "a name that is a path",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: ../x}",
    /usable metadata\.name/,
  ],
  ["the name ..", "apiVersion: v1\nkind: Pod\nmetadata: {name: ..}", /usable metadata\.name/],
  ["infinity", "apiVersion: v1\nkind: X\nmetadata: {name: a}\nv: .inf", /infinite/],
  ["an alias bomb", bomb(), /alias/i],
  [
    "aliases without end",
    Array.from({ length: 8_000 }, (_, i) => `a${i}: &x 1\nb${i}: *x`).join("\n"),
    /too many aliases/,
  ],
  ["a million documents", "---\n".repeat(1_000_000), /more than 20000 documents/],
  ["open lists without end", "[".repeat(20_000), /not valid YAML/],
  [
    "the second of two documents, by its line",
    "apiVersion: v1\nkind: A\nmetadata: {name: a}\n---\nkind: B\n",
    /f\.yaml:5: /,
  ],
];

for (const [name, text, message] of refused) {
  test(`refuses ${name}, naming file and line`, () => {
    assert.throws(() => parseManifests(text, "f.yaml"), { code: "ManifestInvalid", message });
  });
}

function bomb(): string {
  const levels = Array.from(
    { length: 9 },
    (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(9)}]`,
  );
  return `a0: &a0 [x]\n${levels.join("\n")}\n`;
}

test("skips empty documents and flattens a List", () => {
  const item = (name: string) => `{apiVersion: v1, kind: ConfigMap, metadata: {name: ${name}}}`;
  const text = `---\n---\napiVersion: v1\nkind: List\nitems: [${item("a")}, ${item("b")}]\n---\n# nothing\n`;
  assert.deepEqual(
    parseManifests(text, "f").map((o) => o.metadata.name),
    ["a", "b"],
  );
});

test("__proto__ is a key like any other", () => {
  const [object] = parseManifests(
    "apiVersion: v1\nkind: X\nmetadata: {name: a}\n__proto__: {polluted: true}",
    "f",
  );
  assert.equal((object as unknown as { polluted?: boolean }).polluted, undefined);
  assert.equal(({} as { polluted?: boolean }).polluted, undefined);
});
