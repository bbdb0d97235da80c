import assert from "node:assert/strict";
import { test } from "node:test";
import { parseYaml } from "../object/index.ts";
import type { JsonMap } from "../json/index.ts";
import { compileTemplate, helpers, layerShape, limits, renderTemplate } from "./index.ts";
import type { LayerContext } from "./index.ts";

const context = (values: JsonMap = {}, labels: Record<string, string> = {}): LayerContext => ({
  cluster: {
    name: "prod-eu-1",
    namespace: "fleet",
    labels: { region: "eu", minor: "1.20", "topology.kubernetes.io/zone": "a", ...labels },
    annotations: {},
    version: "v1.34.1",
    topology: { class: "small", version: "v1.34.1", variables: { size: 3 } },
    controlPlaneEndpoint: { host: "10.0.0.1", port: 6443 },
    kinds: { infrastructure: "DockerCluster", controlPlane: null },
  },
  fleet: { name: "platform", namespace: "fleet" },
  values,
});

const render = (text: string, values?: JsonMap) =>
  renderTemplate(compileTemplate(text, "a.yaml.hbs", layerShape), context(values));

const rendered: readonly (readonly [text: string, want: string, values?: JsonMap])[] = [
  ["plain text, $labels and {single} braces", "plain text, $labels and {single} braces"],
  ["\\{{ .Values.x }}", "{{ .Values.x }}"],
  ["a{{! a comment }}b{{!-- }} --}}c", "abc"],
  ["{{cluster.name}} {{@root.cluster.name}} {{this.fleet.name}}", "prod-eu-1 prod-eu-1 platform"],
  ["port: {{cluster.controlPlaneEndpoint.port}}", "port: 6443"],
  [
    "on: {{values.on}}, n: {{values.big}}",
    "on: true, n: 9007199254740993",
    { on: true, big: 9007199254740993n },
  ],
  ["{{values.list.[1]}}{{values.list.[0]}}", "ba", { list: ["a", "b"] }],
  ["{{#if values.x}}a{{else if values.y}}b{{else}}c{{/if}}", "b", { x: [], y: "1" }],
  ["{{#if values.none}}a{{else}}b{{/if}}{{#unless values.none}}c{{/unless}}", "bc"],
  ["{{#if cluster.kinds.controlPlane}}a{{else}}b{{/if}}", "b"],
  [
    "{{#each values.m}}{{@index}}{{@key}}{{this}}{{#if @first}}<{{/if}}{{#if @last}}>{{/if}}{{/each}}",
    "0a1<1b2>",
    { m: { b: 2, a: 1 } },
  ],
  ["{{#each values.l}}{{@key}}{{this}}{{else}}none{{/each}}", "0x1z", { l: ["x", "z"] }],
  ["{{#each values.l}}{{this}}{{else}}none{{/each}}", "none", { l: [] }],
  [
    "{{#each values.l}}{{#each this}}{{@../index}}{{@index}}{{../../fleet.name}} {{/each}}{{/each}}",
    "00platform 01platform 10platform ",
    { l: [["a", "b"], ["c"]] },
  ],
  [
    "{{#with cluster.topology}}{{class}} {{variables.size}} {{../fleet.name}}{{/with}}",
    "small 3 platform",
  ],
  [
    "a:\n{{#each values.l}}\n  - {{this}}\n{{/each}}\nb: 1\n",
    "a:\n  - x\n  - z\nb: 1\n",
    { l: ["x", "z"] },
  ],
  ["{{#each values.l}}{{~this~}} , {{/each}}", "x, z, ", { l: ["x", "z"] }],
  ['a: {{default (get cluster.labels "none") "d"}}', "a: d"],
  ["a: {{default values.none values.other}}", "a: 7", { other: 7 }],
  ["a: {{default values.x values.none}}", "a: 1", { x: 1 }],
  ['{{#if (and (has values.a) (eq values.a "x"))}}y{{else}}n{{/if}}', "n"],
  ["{{#if (or true values.none)}}y{{/if}}", "y"],
  [
    "m:\n  {{yaml values.m}}\n",
    'm:\n  a: 1\n  b:\n    - x\n    - c: "no"\n',
    { m: { b: ["x", { c: "no" }], a: 1 } },
  ],
  ["m: {{yaml values.m indent=2}}\n", "m: \n  a: 1\n", { m: { a: 1 } }],
  ["m: {{yaml values.m}}\n", 'm: {"a":[1]}\n', { m: { a: [1] } }],
  ["{{yaml values.m indent=2}}", "  a: 1\n  b: 2", { m: { a: 1, b: 2 } }],
  ["t: |\n  {{indent values.t 2}}\n", "t: |\n  x: y\n\n    z\n", { t: "x: y\n\n  z\n\n" }],
];
for (const [text, want, values] of rendered) {
  test(`${JSON.stringify(text)} gives ${JSON.stringify(want)}`, () => {
    assert.equal(render(text, values), want);
  });
}

/** Strings that are told from others only by quotes, or that would change what is around them. */
const notPlain = [
  "true",
  "False",
  "yes",
  "NO",
  "on",
  "off",
  "y",
  "N",
  "null",
  "~",
  "Null",
  "1.20",
  "1",
  "-1",
  "+7",
  "0777",
  "0o17",
  "0x1F",
  "0b11",
  "1_000",
  "1e3",
  ".5",
  "5.",
  ".inf",
  "-.INF",
  ".NaN",
  "12:30:45",
  "2001-12-14",
  "2001-12-14T10:00:00Z",
  "a: b",
  "a:",
  "a #b",
  "#a",
  "- a",
  "-",
  "? a",
  ": a",
  " a",
  "a ",
  "a\tb",
  "a\nb",
  "a, b",
  "[a",
  "a]",
  "{a",
  "a?b",
  "a}",
  "&a",
  "*a",
  "!a",
  "|",
  ">",
  "'a",
  '"a',
  "%a",
  "@a",
  "`a",
  "<<",
  "=",
  "---",
  "...",
  "\u0085",
  "a\u2028b",
  "\ufeffa",
  "\u0000",
];
for (const text of notPlain) {
  test(`{{x}} refuses the string ${JSON.stringify(text)} and says what to write`, () => {
    assert.throws(() => render("a: {{values.x}}\n", { x: text }), {
      code: "InputInvalid",
      message:
        "a.yaml.hbs:1:6: the string values.x would not be read back as it is: write {{quote values.x}} or {{yaml values.x indent=4}} without quotes around it",
    });
    assert.deepEqual(parseYaml(render("a: {{quote values.x}}\n", { x: text }), "f"), { a: text });
    assert.deepEqual(parseYaml(render("a: {{yaml values.x}}\n", { x: text }), "f"), { a: text });
  });
}

/** Where a string stands decides: what is only a part of a longer string, or in quotes, is a string. */
const places: readonly (readonly [template: string, x: string, want: unknown])[] = [
  ["a: img:{{values.x}}", "1.20", { a: "img:1.20" }],
  ["a: v {{values.x}}", "true", { a: "v true" }],
  ['a: "{{values.x}}"', "1.20", { a: "1.20" }],
  ["a: '{{values.x}}'", "a: b, [c] #d", { a: "a: b, [c] #d" }],
  ['a: "v {{values.x}}, w"', "a: b", { a: "v a: b, w" }],
  ["a: [x-{{values.x}}]", "1", { a: ["x-1"] }],
  ["{{values.x}}: 1", "key", { key: 1 }],
  ["# {{values.x}}\na: 1", "true", { a: 1 }],
  ["a: it's {{values.x}}", "so", { a: "it's so" }],
  ["a: {{values.x}}", "https://a.b/c&e=2#f", { a: "https://a.b/c&e=2#f" }],
  ["a: '{{values.x}}'", "https://a.b/c?d=1", { a: "https://a.b/c?d=1" }],
  ["a: {{values.x}}", "über straße", { a: "über straße" }],
  ["a: {{values.x}}", "1.2.3", { a: "1.2.3" }],
  ["a: {{values.x}}", "deadbeef", { a: "deadbeef" }],
];
for (const [template, x, want] of places) {
  test(`${template} takes ${JSON.stringify(x)}`, () => {
    assert.deepEqual(parseYaml(render(template, { x }), "f"), want);
  });
}

const configs: readonly (readonly [template: string, values: JsonMap, want: unknown])[] = [
  ["a: |\n  x = {{values.x}};\n  y\n", { x: "a, b: c #d [e" }, { a: "x = a, b: c #d [e;\ny\n" }],
  ["a: |\n  {{values.x}}\n", { x: "true" }, { a: "true\n" }],
  [
    "a:\n  b: |-\n    k: v\n      {{values.x}}\n\n    {{values.x}}\n",
    { x: "- a: |" },
    { a: { b: "k: v\n  - a: |\n\n- a: |" } },
  ],
  ["- |\n {{values.x}}\n", { x: "1" }, ["1\n"]],
  ["- a: >+2\n      {{values.x}}\n", { x: "1" }, [{ a: "  1\n" }]],
];
for (const [template, values, want] of configs) {
  test(`${JSON.stringify(template)} takes ${JSON.stringify(values)}, as text`, () => {
    assert.deepEqual(parseYaml(render(template, values), "f"), want);
  });
}

const refusedPlaces: readonly (readonly [template: string, values: JsonMap])[] = [
  ["a: {{values.x}}.{{values.y}}", { x: "1", y: "20" }],
  ["a: {{values.x}}{{values.y}}", { x: "o", y: "n" }],
  ["a: [{{values.x}}]", { x: "true" }],
  ["- {{values.x}}", { x: "1" }],
  ["{{values.x}}: 1", { x: "true" }],
  ['{"a":{{values.x}} }', { x: "1" }],
  ["it's: {{values.x}}", { x: "1.20" }],
  ["a: &b {{values.x}}", { x: "1.20" }],
  ["a: !!str {{values.x}}", { x: "1.20" }],
  ['a: "{{values.x}}"', { x: 'b", c: "d' }],
  ['a: "{{values.x}}"', { x: "\\" }],
  ["a: '{{values.x}}'", { x: "it's" }],
  ['a: "{{values.x}}"', { x: "a\nb" }],
  ['{a: "{{values.x}}", b: "{{values.y}}"}', { x: "\\", y: ", c: 1" }],
  ["a: {{lower values.x}}", { x: "TRUE" }],
  ["a: |\n  x\nb: {{values.x}}", { x: "true" }],
  ["- a: |\n    x\n  b: {{values.x}}", { x: "true" }],
  ["- a: |\n  b: {{values.x}}", { x: "true" }],
  ["a: |\n  {{values.x}}", { x: " b" }],
  ["a: |\n  {{values.x}}", { x: "b\nc: d" }],
  ["a: x |\n  b: {{values.x}}", { x: "true" }],
  ["# a: |\n  b: {{values.x}}", { x: "true" }],
  ["a: '|'\nb:\n  c: {{values.x}}", { x: "true" }],
  ["a: |\n  {{values.y}}\nb: {{values.x}}", { x: "c: d", y: "e: |" }],
  ['a: {{get values "x"}}', { x: "on" }],
  ["{{#each values}}{{@key}}: 1{{/each}}", { "a: b": 1 }],
];
for (const [template, values] of refusedPlaces) {
  test(`${template} refuses ${JSON.stringify(values)}`, () => {
    assert.throws(() => render(template, values), { code: "InputInvalid" });
  });
}

const missing: readonly (readonly [
  text: string,
  code: string,
  message: RegExp,
  values?: JsonMap,
])[] = [
  [
    "\n  {{cluster.nme}}",
    "TemplateInvalid",
    /^a\.yaml\.hbs:2:5: cluster\.nme: cluster has no nme; known: annotations, .*, version$/,
  ],
  ["{{clustr.name}}", "TemplateInvalid", /there is no clustr; known: cluster, fleet, values/],
  ["{{#if false}}{{cluster.nme}}{{/if}}", "TemplateInvalid", /cluster has no nme/],
  ["{{#if cluster.nme}}{{/if}}", "TemplateInvalid", /cluster has no nme/],
  ["{{default cluster.nme 1}}", "TemplateInvalid", /cluster has no nme/],
  ["{{#with cluster}}{{nme}}{{/with}}", "TemplateInvalid", /has|no nme/],
  ["{{cluster.name.x}}", "TemplateInvalid", /it is no map/],
  [
    "{{cluster.labels.nope}}",
    "InputMissing",
    /cluster\.labels has no nope; known: minor, region, \[topology\.kubernetes\.io\/zone\]$/,
  ],
  ['{{get cluster.labels "nope"}}', "InputMissing", /known: minor, region/],
  ["{{upper values.nope}}", "InputMissing", /values has no nope/],
  ["{{quote values.nope}}", "InputMissing", /values has no nope/],
  ["{{eq values.nope 1}}", "InputMissing", /values has no nope/],
  ["{{#each values.nope}}{{/each}}", "InputMissing", /values has no nope/],
  ["{{#with values.nope}}{{/with}}", "InputMissing", /values has no nope/],
  ["{{#if values.nope.x}}{{/if}}", "InputMissing", /values has no nope/],
  ["{{default values.nope.x 1}}", "InputMissing", /values has no nope/],
  ["{{#if (not values.nope)}}{{/if}}", "InputMissing", /values has no nope/],
  [
    "{{values.list.[2]}}",
    "InputMissing",
    /values\.list has no \[2\]; known: 0 to 1/,
    { list: [1, 2] },
  ],
  ['{{required values.nope "say who"}}', "InputMissing", /values\.nope: say who/],
  ["{{cluster.kinds.controlPlane}}", "InputMissing", /cluster\.kinds\.controlPlane is null/],
  ["{{values.nul}}", "InputMissing", /values\.nul is null/, { nul: null }],
  ["{{values.nul.x}}", "InputMissing", /values\.nul is null and has no fields/, { nul: null }],
  [
    "{{#each values.list}}{{cluster.name}}{{/each}}",
    "InputMissing",
    /this has no cluster; known: a; write @root\.cluster\.name/,
    { list: [{ a: 1 }] },
  ],
  [
    "{{values.s}}",
    "InputInvalid",
    /values\.s is the empty string: write \{\{quote values\.s\}\}/,
    { s: "" },
  ],
  [
    "{{values.m}}",
    "InputInvalid",
    /values\.m is a map: write \{\{yaml values\.m indent=4\}\}/,
    { m: {} },
  ],
  ["{{values.l}}", "InputInvalid", /values\.l is a list/, { l: [] }],
  [
    "{{#each values.n}}{{/each}}",
    "InputInvalid",
    /values\.n is a number: #each wants a list or a map/,
    { n: 1 },
  ],
  ["{{#with values.n}}{{/with}}", "InputInvalid", /#with wants a map/, { n: 1 }],
  ["{{upper values.n}}", "InputInvalid", /values\.n is a number: upper wants a string/, { n: 1 }],
  ["{{quote values.m}}", "InputInvalid", /quote wants a scalar/, { m: {} }],
  ['{{get values.n "x"}}', "InputInvalid", /get wants a map/, { n: 1 }],
  ['{{eq values.n "1"}}', "InputInvalid", /a number cannot be compared with a string/, { n: 1 }],
  ["{{values.s.length}}", "InputInvalid", /values\.s is a string and has no fields/, { s: "x" }],
  ['{{semver values.s ">=1"}}', "InputInvalid", /no version/, { s: "one" }],
  ['{{semver cluster.version "~~"}}', "TemplateInvalid", /no range of versions/],
  [
    "{{yaml values.s indent=values.t}}",
    "InputInvalid",
    /indent= wants a whole number/,
    { s: "x", t: "2" },
  ],
  ["a: |\n  {{indent values.t 2}}", "InputInvalid", /begins with a blank/, { t: " a\nb" }],
  ["a: {{indent values.t 2}}", "TemplateInvalid", /first on its line/, { t: "a" }],
  ["    {{yaml values.m indent=2}}", "TemplateInvalid", /stands in column 4/, { m: { a: 1 } }],
  ["a: |\n{{indent values.t 0}}", "TemplateInvalid", /belongs into a block scalar/, { t: "a" }],
  ["a:\n  {{indent values.t 2}}", "TemplateInvalid", /belongs into a block scalar/, { t: "a" }],
  ["a:\n  b: {{yaml values.m indent=2}}", "TemplateInvalid", /more than 2 here/, { m: { a: 1 } }],
  ["- a: {{yaml values.m indent=2}}", "TemplateInvalid", /more than 2 here/, { m: { a: 1 } }],
  ["- {{yaml values.m indent=0}}", "TemplateInvalid", /more than 0 here/, { m: { a: 1 } }],
  ['"{{quote values.t}}"', "TemplateInvalid", /writes its own quotes/, { t: "a" }],
];
for (const [text, code, message, values] of missing) {
  test(`T3 ${JSON.stringify(text)} is ${code}, not an empty string`, () => {
    assert.throws(() => render(text, values), { code, message });
  });
}

const invalid: readonly (readonly [text: string, message: RegExp])[] = [
  ["{{a", /^a\.yaml\.hbs:1: not a template/],
  ["\n{{ .Values.x }}", /^a\.yaml\.hbs:2: .*write|^a\.yaml\.hbs:2: .*written \\\{\{/],
  ["{{#if values.a}}{{/each}}", /^a\.yaml\.hbs:1:4: if doesn't match each/],
  ["{{{cluster.name}}}", /\{\{\{x\}\}\} and \{\{&x\}\} are not there/],
  ["{{&cluster.name}}", /are not there/],
  ["{{> partial}}", /partials .* are not there/],
  ["{{#> partial}}{{/partial}}", /partials/],
  ['{{#*inline "x"}}{{/inline}}', /decorators/],
  ["{{* decorator}}", /decorators/],
  ["{{#each values.l as |a b|}}{{/each}}", /block parameters/],
  ["{{#cluster}}{{/cluster}}", /no block #cluster; known: #if, #unless, #each, #with/],
  ["{{#if}}{{/if}}", /#if takes one argument/],
  ["{{#if values.a includeZero=true}}{{/if}}", /#if takes one argument/],
  ["{{#with values.a}}{{else}}{{/with}}", /#with has no/],
  ['{{env "HOME"}}', /there is no helper env; known: and, b64, /],
  ["{{quote}}", /quote is written \{\{quote VALUE\}\}/],
  ["{{quote values.a values.b}}", /quote is written/],
  ["{{yaml values.a width=3}}", /yaml is written \{\{yaml VALUE \[indent=COLUMNS\]\}\}/],
  ["{{@level}}", /there is no @level/],
  ["{{@key}}", /only inside #each/],
  ["{{../cluster.name}}", /leads out of the template/],
  ["{{undefined}}", /cannot be an argument/],
  ["{{default values.a undefined}}", /cannot be an argument/],
];
for (const [text, message] of invalid) {
  test(`refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => render(text), { code: "TemplateInvalid", message });
  });
}

test("limits: text, nesting, steps, output, and what a helper gives", () => {
  const tooLarge = { code: "TemplateTooLarge" };
  const l = Array.from({ length: 100 }, () => 1);
  const loop = (body: string) =>
    `{{#each values.l}}{{#each @root.values.l}}{{#each @root.values.l}}${body}{{/each}}{{/each}}{{/each}}`;
  assert.throws(() => render("x".repeat(limits.templateBytesMax + 1)), tooLarge);
  assert.throws(() => render("{{#if true}}".repeat(65) + "{{/if}}".repeat(65)), tooLarge);
  assert.throws(() => render(`{{${"not (".repeat(70)}true${")".repeat(70)}}}`), tooLarge);
  assert.throws(() => render(loop("{{#if false}}{{/if}}"), { l }), tooLarge);
  assert.throws(() => render(loop("{{json @root.values.t}}"), { l, t: "x".repeat(1e4) }), tooLarge);
  const nested = `${"(json ".repeat(30)}values.t${")".repeat(30)}`;
  assert.throws(() => render(`{{sha256 ${nested}}}`, { t: '"' }), tooLarge);
});

test("a template says which inputs it reads", () => {
  const inputs = (text: string) => [...compileTemplate(text, "f", layerShape).inputs];
  assert.deepEqual(inputs("{{cluster.name}}{{#if values.a}}{{quote values.b.c}}{{/if}}"), [
    "cluster.name",
    "values.a",
    "values.b.c",
  ]);
  assert.deepEqual(inputs("{{#with cluster}}{{name}}{{../fleet.name}}{{/with}}"), [
    "cluster.name",
    "fleet.name",
  ]);
  assert.deepEqual(inputs("{{#with values.m}}{{a}}{{/with}}"), ["values.m", "values.m.a"]);
  assert.deepEqual(inputs("{{#each values.l}}{{this}}{{@root.values.x}}{{/each}}"), [
    "values.l",
    "values.x",
  ]);
  assert.deepEqual(inputs('{{get cluster.labels "a.b/c"}}{{json values}}'), [
    "cluster.labels.[a.b/c]",
    "values",
  ]);
});

test("T4 the helpers are these, and none that reads anything but its arguments", () => {
  assert.deepEqual(Object.keys(helpers).sort(), [
    "and",
    "b64",
    "default",
    "eq",
    "get",
    "has",
    "in",
    "indent",
    "json",
    "lower",
    "ne",
    "not",
    "or",
    "quote",
    "required",
    "semver",
    "sha256",
    "upper",
    "yaml",
  ]);
});

test("T4 environment, files, clock, randomness, network and globals have no name in a template", () => {
  for (const name of [
    "env",
    "process",
    "process.env.HOME",
    "require",
    "global",
    "globalThis",
    "Date",
    "now",
    "random",
    "uuid",
    "file",
    "readFile",
    "include",
    "import",
    "fetch",
    "getHostByName",
    "lookup",
    "log",
    "console",
    "module",
  ]) {
    for (const text of [
      `{{${name}}}`,
      `{{${name} "x"}}`,
      `{{quote (${name} "x")}}`,
      `{{#${name}}}{{/${name}}}`,
    ])
      assert.throws(() => render(text), { code: "TemplateInvalid" }, text);
  }
});

test("T4 the same template and context give the same text whatever the order of keys", () => {
  const text = "{{#each values}}{{@key}}={{json this}};{{/each}}\n{{yaml values}}{{json values}}";
  const [a, b] = [
    { x: 1, y: { p: 1, q: 2 } },
    { y: { q: 2, p: 1 }, x: 1 },
  ];
  assert.equal(render(text, a), render(text, b));
});
