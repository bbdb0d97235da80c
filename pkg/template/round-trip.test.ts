import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import Handlebars from "handlebars";
import { parse } from "yaml";
import type { Json, JsonMap } from "../json/index.ts";
import { parseYaml } from "../object/index.ts";
import { compileTemplate, renderTemplate } from "./index.ts";
import { isPlain } from "./scalar.ts";

const runs = { numRuns: 400 };
const render = (text: string, context: JsonMap) =>
  renderTemplate(compileTemplate(text, "f", "open"), context);

/** Every reader that a rendered file may meet: ours, which reads as `sigs.k8s.io/yaml`, and both YAML versions. */
const readers: readonly (readonly [string, (text: string) => unknown])[] = [
  ["Kubernetes", (text) => parseYaml(text, "f")],
  ["YAML 1.1", (text) => parse(text, { schema: "yaml-1.1" }) as unknown],
  ["YAML 1.2", (text) => parse(text, { schema: "core" }) as unknown],
];

/** Any text, and text that looks like a number, a date, a word of YAML or a piece of its syntax. */
const anyText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.string({
    unit: fc.constantFrom(..."0123456789+-_.:eExXoObBfFaAdDtTzZ ".split("")),
    maxLength: 8,
  }),
  fc.string({
    unit: fc.constantFrom(..."ab:#-?,[]{}&*!|>'\"%@` \n\t\\=<~.".split("")),
    maxLength: 6,
  }),
  fc.constantFrom(
    "y",
    "Yes",
    "NO",
    "on",
    "OFF",
    "True",
    "null",
    "~",
    "",
    ".nan",
    "-.inf",
    "<<",
    "=",
    "---",
    "...",
  ),
);

test("any string through quote, yaml and json is read back the same by every reader", () => {
  fc.assert(
    fc.property(anyText, (x) => {
      for (const helper of ["quote x", "yaml x", "yaml x indent=2", "json x"]) {
        const block = render(`a:\n  b: {{${helper}}}\n  c: 1\n`, { x });
        const flow = render(
          `{a: {b: {{${helper}}}, c: 1}, d: [{{${helper}}}]}`.replaceAll("}}}", "}} }"),
          { x },
        );
        for (const [name, read] of readers) {
          assert.deepEqual(read(block), { a: { b: x, c: 1 } }, `${name}: ${block}`);
          assert.deepEqual((read(flow) as { d: unknown }).d, [x], `${name}: ${flow}`);
        }
      }
    }),
    runs,
  );
});

test("any string through b64 is read back the same", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", minLength: 1 }), (x) => {
      const { a } = parseYaml(render("a: {{quote (b64 x)}}", { x }), "f") as { a: string };
      assert.equal(Buffer.from(a, "base64").toString("utf8"), x);
    }),
    runs,
  );
});

test("a string that {{x}} lets through is read back the same, wherever it stands", () => {
  fc.assert(
    fc.property(anyText, (x) => {
      for (const [template, want] of [
        ["a: {{x}}\n", { a: x }],
        ["- {{x}}\n- 1\n", [x, 1]],
        ["a: [{{x}}, {{x}}]\n", { a: [x, x] }],
        ["a: {b: {{x}} }\n", { a: { b: x } }],
        ["{{x}}: 1\n", { [x]: 1 }],
        ['a: "{{x}}"\n', { a: x }],
        ["a: '{{x}}'\n", { a: x }],
        ['a: ["-{{x}}-", 1]\n', { a: [`-${x}-`, 1] }],
        ["a: pre-{{x}}-post\nb: 1\n", { a: `pre-${x}-post`, b: 1 }],
        ["a: {{x}}{{x}}\n", { a: `${x}${x}` }],
        ["a: 1.{{x}}\n", { a: `1.${x}` }],
        ["a:\n  {{x}} # comment\n", { a: x }],
        ["a:\n  - b: |\n      -{{x}}-\n    c: {{x}}\n", { a: [{ b: `-${x}-\n`, c: x }] }],
        ["a: |\n  {{x}}-\n  y\nb: 1\n", { a: `${x}-\ny\n`, b: 1 }],
      ] as const) {
        const text = attempt(() => render(template, { x }));
        if (text === undefined) continue;
        for (const [name, read] of readers) assert.deepEqual(read(text), want, `${name}: ${text}`);
      }
    }),
    { numRuns: 800 },
  );
});

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    assert.equal((error as { code?: string }).code, "InputInvalid");
    return undefined;
  }
}

test("what is called plain is read as itself, and ordinary words are plain", () => {
  for (const text of [
    "web",
    "1.2.3",
    "v1.34.1",
    "a.b/c:1",
    "10.0.0.1",
    "10.0.0.0/8",
    "a b",
    "x=1",
    "node-1",
  ])
    assert.equal(isPlain(text), true, text);
  fc.assert(
    fc.property(anyText, (x) => {
      if (!isPlain(x)) return;
      for (const [, read] of readers)
        assert.deepEqual(read(`[${x}, {${x}: ${x}}]`), [x, { [x]: x }]);
    }),
    runs,
  );
});

const tree = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    anyText,
    fc.boolean(),
    fc.constant(null),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, noDefaultInfinity: true, maxExcluded: true, min: -1e15, max: 1e15 }),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(anyText, tie("value"), { maxKeys: 4, noNullPrototype: true }),
  ),
})).value;

test("any tree of values through yaml is read back equal, in every form", () => {
  fc.assert(
    fc.property(tree, (value) => {
      // JSON has one zero.
      const want = JSON.parse(JSON.stringify({ a: { b: value } })) as Json;
      for (const template of [
        "a:\n  b:\n    {{yaml v}}\n",
        "a:\n  b: {{yaml v indent=4}}\n",
        "a:\n  b: {{yaml v}}\n",
        "a:\n  b: {{json v}}\n",
        "a: { b: {{yaml v}} }\n",
        "{{yaml whole}}\n",
      ]) {
        const text = render(template, { v: value, whole: { a: { b: value } } });
        assert.deepEqual(parseYaml(text, "f"), want, text);
      }
    }),
    runs,
  );
});

test("a long key is written as YAML wants it", () => {
  const v = { ["k".repeat(2_000)]: { a: 1 }, ["l".repeat(2_000)]: "x" };
  assert.deepEqual(parseYaml(render("m:\n  {{yaml v}}\n", { v }), "f"), { m: v });
});

test("any text in a block scalar keeps its lines, or is refused", () => {
  fc.assert(
    fc.property(fc.array(anyText, { maxLength: 5 }), (lines) => {
      const x = lines.join("\n");
      const text = attempt(() => render("a: |\n  {{indent x 2}}\nb: 1\n", { x }));
      if (text === undefined || x.trim() === "") return;
      assert.deepEqual(parseYaml(text, "f"), { a: `${x.replace(/\n+$/, "")}\n`, b: 1 }, text);
    }),
    runs,
  );
});

/** Where our language is Handlebars', it says what Handlebars says. */
const common = [
  "a {{x}} b{{! c }} {{m.k}} {{@root.x}} {{this.x}} {{./x}}",
  "{{#if x}}a{{else if m.k}}b{{else}}c{{/if}}{{#if empty}}d{{else}}e{{/if}}{{#if zero}}f{{/if}}",
  "{{#unless empty}}a{{else}}b{{/unless}}{{^if x}}a{{else}}b{{/if}}",
  "l:\n{{#each l}}\n  - {{this}} {{@index}} {{@first}} {{@last}} {{../x}}\n{{else}}\n  none\n{{/each}}\nend\n",
  "{{#each m}}\n{{@key}}: {{this}}\n{{/each}}\n",
  "{{#each ll}}{{#each this}}{{@../index}}.{{@index}}{{this}}{{../../x}} {{/each}}{{/each}}",
  "{{#with m}}{{k}}{{../x}}{{/with}}{{~#if x~}}  a  {{~/if~}}  ",
  "\\{{x}} \\\\{{x}} {{m.[k]}} {{l.[0]}} {{m/k}}",
  "{{#each empty}}a{{else}}b{{/each}} {{#each ll}}{{#with this}}{{/with}}{{/each}}",
];
for (const text of common) {
  test(`${JSON.stringify(text)} gives what Handlebars gives`, () => {
    const context = {
      x: "ex",
      m: { a: "first", k: "val" },
      l: ["p", "q"],
      ll: [
        ["r", "s"],
        ["t", "u"],
      ],
      empty: [],
      zero: 0,
    };
    const theirs = Handlebars.compile(text, { noEscape: true, strict: true })(context);
    const ours = attempt(() => render(text, context));
    if (!text.includes("#with this")) assert.equal(ours, theirs);
  });
}
