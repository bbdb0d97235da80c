import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { glob } from "node:fs/promises";
import type { Json, JsonMap } from "../json/index.ts";
import {
  compileTemplate,
  mergeValues,
  parseValues,
  renderedPaths,
  renderPath,
  renderTemplate,
} from "./index.ts";

const compile = (text: unknown) => compileTemplate(text as string, "a.hbs", "open");
const render = (text: string, context: JsonMap) => renderTemplate(compile(text), context);
const parsed = (text: string) => JSON.parse(text) as JsonMap;

/** What Handlebars would compile to JavaScript if it were given it: the attacks of 2026. */
const program = (body: unknown): object => ({ type: "Program", body, strip: {}, blockParams: [] });
const place = { start: { line: 1, column: 0 }, end: { line: 1, column: 0 } };
const trees: readonly (readonly [string, unknown])[] = [
  [
    "a literal that is code",
    program([
      {
        type: "MustacheStatement",
        loc: place,
        path: { type: "NumberLiteral", value: "process.exit(1)", original: 1, loc: place },
        params: [],
      },
    ]),
  ],
  [
    "a depth that is code",
    program([
      {
        type: "MustacheStatement",
        loc: place,
        path: {
          type: "PathExpression",
          depth: "0];process.exit(1)//",
          parts: ["x"],
          original: "x",
          loc: place,
        },
        params: [],
      },
    ]),
  ],
  [
    "parts with a call",
    program([
      {
        type: "MustacheStatement",
        loc: place,
        path: {
          type: "PathExpression",
          depth: 0,
          parts: { 0: "x", length: 1, join: 1 },
          original: "x",
        },
        params: [],
      },
    ]),
  ],
  ["an empty program", program([])],
  ["a text in an object", { type: "ContentStatement", value: "x" }],
  ["an object that turns into text", { toString: () => "{{x}}" }],
  ["a list", ["{{x}}"]],
  ["a String object", Object("{{x}}")],
  ["nothing", undefined],
  ["null", null],
  ["a number", 7],
];
for (const [name, tree] of trees) {
  test(`T5 ${name} in place of a template's text is refused`, () => {
    assert.throws(() => compile(tree), { code: "TemplateInvalid", message: "a.hbs: not a text" });
  });
}

test("T5 nothing here uses the compiler, the runtime or the registries of Handlebars, or evaluates text", async () => {
  const files = await Array.fromAsync(glob("*.ts", { cwd: import.meta.dirname }));
  for (const file of files.filter((name) => !name.endsWith(".test.ts"))) {
    const text = await readFile(`${import.meta.dirname}/${file}`, "utf8");
    const used = text.match(/Handlebars\.\w+/g) ?? [];
    assert.deepEqual(
      used.filter((use) => use !== "Handlebars.parse"),
      [],
      file,
    );
    assert.doesNotMatch(text, /new Function|\beval\(|node:vm/, file);
  }
});

/** Own fields only, whatever the way to them. */
const names = [
  "constructor",
  "__proto__",
  "prototype",
  "__defineGetter__",
  "__lookupGetter__",
  "toString",
  "valueOf",
  "hasOwnProperty",
  "helperMissing",
  "blockHelperMissing",
  "toHTML",
];
const ways = (name: string) => [
  `{{x.${name}}}`,
  `{{x.[${name}]}}`,
  `{{this.${name}}}`,
  `{{./${name}}}`,
  `{{@root.${name}}}`,
  `{{l.${name}}}`,
  `{{x.y.${name}}}`,
  `{{get x "${name}"}}`,
  `{{get (get x "${name}") "name"}}`,
  `{{#with x.${name}}}{{/with}}`,
  `{{#each x.${name}}}{{/each}}`,
  `{{#with x}}{{#with ${name}}}{{/with}}{{/with}}`,
  `{{x.${name}.${name}}}`,
  `{{#with x}}{{quote ${name}}}{{/with}}`,
  `{{#each l}}{{../x.${name}}}{{/each}}`,
  `{{json s.${name}}}`,
];
for (const name of names) {
  test(`T5 ${name} is a name like any other that is not there`, () => {
    const context = { x: { y: {} }, l: [1], s: "text" };
    for (const way of ways(name)) {
      assert.throws(
        () => render(way, context),
        (error: { code?: string }) => {
          assert.ok(
            ["InputMissing", "InputInvalid", "TemplateInvalid"].includes(error.code ?? ""),
            way,
          );
          return true;
        },
      );
    }
    assert.equal(render(`{{#if x.${name}}}a{{else}}b{{/if}}`, context), "b");
    assert.equal(render(`{{has x "${name}"}}`, context), "false");
    assert.equal(render(`{{default x.${name} "d"}}`, context), "d");
  });
}

const calls = [
  '{{lookup x "constructor"}}',
  '{{#with (lookup x "constructor")}}{{/with}}',
  "{{log x}}",
  "{{helperMissing}}",
  "{{helperMissing x}}",
  "{{#blockHelperMissing x}}{{/blockHelperMissing}}",
  "{{> @partial-block}}",
  "{{#> x}}{{/x}}",
  "{{> (lookup x 'y')}}",
  "{{@partial-block}}",
  "{{@root.constructor.name}}",
  '{{#*inline "a"}}{{/inline}}',
  "{{* x}}",
  "{{#* x}}{{/x}}",
  '{{"constructor"}}{{constructor "x"}}',
  "{{[__proto__] x}}",
  '{{call x "y"}}',
  "{{#each x}}{{> y}}{{/each}}",
  '{{constructor.constructor "a"}}',
  "{{{{raw}}}}{{x}}{{{{/raw}}}}",
  "{{quote x helpers=x}}",
  "{{quote x __proto__=x}}",
  "{{#if x name=x}}{{/if}}",
  "{{@data}}",
  "{{@_parent}}",
  "{{@../root}}",
  "{{@index.constructor}}",
];
for (const text of calls) {
  test(`T5 ${text} runs nothing`, () => {
    const context = { x: { y: "z" }, constructor: "own" };
    assert.throws(() => render(text, context), {
      code: /^(?:TemplateInvalid|InputMissing|InputInvalid)$/,
    });
  });
}

test("T5 a prototype that somebody polluted before changes no rendering", () => {
  const prototype = Object.prototype as unknown as Record<string, unknown>;
  const before = render("{{#each m}}{{@key}}{{this}}{{/each}}{{json m}}{{yaml l}}", {
    m: { a: 1 },
    l: [1],
  });
  Object.assign(prototype, {
    evil: "{{x}}",
    indent: 50,
    helpers: {},
    partials: { p: "x" },
    inputs: 1,
  });
  try {
    assert.throws(() => render("{{evil}}", {}), { code: "InputMissing" });
    assert.throws(() => render("{{x.evil}}", { x: {} }), { code: "InputMissing" });
    assert.throws(() => render("{{> p}}", {}), { code: "TemplateInvalid" });
    assert.throws(() => render("{{evil x}}", { x: 1 }), { code: "TemplateInvalid" });
    assert.equal(render("{{#if evil}}a{{else}}b{{/if}}", {}), "b");
    assert.equal(
      render("{{#each m}}{{@key}}{{this}}{{/each}}{{json m}}{{yaml l}}", { m: { a: 1 }, l: [1] }),
      before,
    );
  } finally {
    for (const name of ["evil", "indent", "helpers", "partials", "inputs"]) delete prototype[name];
  }
});

test("T5 values that carry functions or getters by name are data", () => {
  const context = parsed(
    '{"x":{"toString":"a","toJSON":"b","toHTML":"c","then":"d","constructor":"e"}}',
  );
  assert.equal(render("{{x.constructor}}{{x.toString}}", context), "ea");
  assert.equal(
    render("{{json x}}", context),
    '{"constructor":"e","then":"d","toHTML":"c","toJSON":"b","toString":"a"}',
  );
});

const bombs: readonly (readonly [string, string])[] = [
  [
    "aliases of aliases",
    `a0: &a0 [x]\n${Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(9)}]`).join("\n")}\n`,
  ],
  [
    "a merge of merges",
    `a0: &a0 {x: 1}\n${Array.from({ length: 3_000 }, (_, i) => `a${i + 1}: &a${i + 1} {<<: *a${i}, k${i}: 1}`).join("\n")}\n`,
  ],
  [
    "one map merged again and again",
    `a: &a {${Array.from({ length: 1_000 }, (_, i) => `k${i}: 1`).join(",")}}\nb: {<<: [${"*a,".repeat(5_000)}]}\n`,
  ],
  [
    "thousands of aliases in thousands of fields",
    Array.from({ length: 8_000 }, (_, i) => `a${i}: &x 1\nb${i}: *x`).join("\n"),
  ],
  ["a hundred thousand open lists", "[".repeat(100_000)],
  ["lists a hundred deep", `a: ${"[".repeat(100)}${"]".repeat(100)}`],
  ["a key twice", "a: 1\na: 2\n"],
  ["a million documents", "---\n".repeat(1_000_000)],
  ["two documents", "a: 1\n---\nb: 1\n"],
  ["a list", "- 1\n"],
  ["a tag", "a: !!js/function 'x'\n"],
];
for (const [name, text] of bombs) {
  test(`T6 values with ${name} are refused in time`, () => {
    const started = performance.now();
    assert.throws(
      () => parseValues(text, "values.yaml"),
      (error: { code?: string; message: string }) => {
        assert.match(error.code ?? "", /^(?:ManifestInvalid|InputInvalid)$/);
        assert.match(error.message, /^values\.yaml/);
        return true;
      },
    );
    assert.ok(performance.now() - started < 10_000, "in time");
  });
}

test("T6 __proto__ in values, by merge key, alias or merging, is a field and pollutes nothing", () => {
  const values = parseValues(
    "a: &p {__proto__: {x: 1}}\nb: {<<: *p, c: 2}\n__proto__: {y: 1}\n",
    "v",
  );
  const merged = mergeValues([
    values,
    parsed('{"__proto__":{"z":1},"b":{"__proto__":{"w":1}}}'),
    values,
  ]);
  for (const key of ["x", "y", "z", "w"]) {
    assert.equal((merged as Record<string, unknown>)[key], undefined);
    assert.equal((merged["b"] as Record<string, unknown>)[key], undefined);
    assert.equal(({} as Record<string, unknown>)[key], undefined);
  }
  assert.equal(Object.getPrototypeOf(merged), Object.prototype);
  assert.throws(() => render("{{y}}", merged), { code: "InputMissing" });
});

test("T6 values of any source are refused when they are too deep", () => {
  const deep = JSON.parse(`${'{"a":'.repeat(3_000)}1${"}".repeat(3_000)}`) as JsonMap;
  assert.throws(() => mergeValues([{}, deep]), { code: "InputInvalid", message: /^values: / });
});

const merges: readonly (readonly [name: string, given: readonly JsonMap[], want: JsonMap])[] = [
  ["nothing", [], {}],
  ["later ones win", [{ a: 1, b: 1 }, { a: 2 }, { a: 3 }], { a: 3, b: 1 }],
  [
    "maps merge",
    [{ m: { a: 1, n: { x: 1 } } }, { m: { b: 2, n: { y: 2 } } }],
    { m: { a: 1, b: 2, n: { x: 1, y: 2 } } },
  ],
  ["lists replace", [{ l: [1, 2] }, { l: [3] }], { l: [3] }],
  [
    "null deletes",
    [
      { a: 1, m: { b: 1, c: 1 } },
      { a: null, m: { b: null } },
    ],
    { m: { c: 1 } },
  ],
  ["null in the first deletes too", [{ a: null, m: { b: null } }], { m: {} }],
  ["null in a list stays", [{ l: [null] }], { l: [null] }],
  [
    "a scalar replaces a map, a map a scalar",
    [
      { a: { b: 1 }, c: 1 },
      { a: 1, c: { d: 1 } },
    ],
    { a: 1, c: { d: 1 } },
  ],
  ["what was deleted may come back", [{ a: 1 }, { a: null }, { a: 2 }], { a: 2 }],
];
for (const [name, given, want] of merges) {
  test(`merging values: ${name}`, () => {
    const before = structuredClone(given);
    assert.deepEqual(mergeValues(given), want);
    assert.deepEqual(given, before, "what is given is as it was");
  });
}

const paths: readonly (readonly [text: string, values: JsonMap, result: string | RegExp])[] = [
  ["./clusters/{{name}}", { name: "prod-eu-1" }, "./clusters/prod-eu-1"],
  ["values/{{v}}.sops.yaml", { v: "1.20" }, "values/1.20.sops.yaml"],
  ["{{a}}", { a: "x/y" }, "x/y"],
  ["x/{{a}}", { a: ".." }, /leads out/],
  ["x/{{a}}/y", { a: "../../etc" }, /leads out/],
  ["x/.{{a}}", { a: "./y" }, /leads out/],
  ["{{a}}", { a: "/etc/passwd" }, /is absolute/],
  ["x/{{a}}", { a: "a\u0000b" }, /control character/],
  ["x/{{a}}", { a: "..\\..\\b" }, /backslash/],
  ["x\n{{a}}", { a: "b" }, /control character/],
  ["{{#if false}}x{{/if}}", {}, /is empty/],
  ["x/{{a}}", { a: "b".repeat(600) }, /more than 512/],
  [`x/${"b".repeat(600)}`, {}, /more than 512/],
];
for (const [text, context, result] of paths) {
  test(`the path ${JSON.stringify(text.slice(0, 40))} with ${JSON.stringify(context).slice(0, 40)} ${typeof result === "string" ? "is a path" : "is PathUnsafe"}`, () => {
    const work = () => renderPath(text, "sync.path", "open", context);
    if (typeof result === "string") assert.equal(work(), result);
    else assert.throws(work, { code: "PathUnsafe", message: result });
  });
}

test("T1 a path has no loops, so that it cannot take long where it is rendered", () => {
  for (const text of ["{{#each a}}x{{/each}}", "{{#if true}}{{#each a}}x{{/each}}{{/if}}"])
    assert.throws(() => renderPath(text, "path", "open", { a: [1] }), {
      code: "TemplateInvalid",
      message: /^path:1:\d+: a path has no #each$/,
    });
});

test("a path takes no empty string and no map", () => {
  for (const a of ["", {}, null] as readonly Json[])
    assert.throws(() => renderPath("x/{{a}}", "path", "open", { a }), { code: /^Input/ });
});

test("files lose .hbs, others keep their names; two that become one are refused", () => {
  assert.deepEqual(
    [...renderedPaths(["a.yaml.hbs", "b.hbs.yaml"])],
    [
      ["a.yaml.hbs", "a.yaml"],
      ["b.hbs.yaml", "b.hbs.yaml"],
    ],
  );
  for (const wrong of [["a.yaml", "a.yaml.hbs"], [".hbs"], ["a/.hbs"]])
    assert.throws(() => renderedPaths(wrong), { code: "TemplateInvalid" });
});
