import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { asMap } from "../json/index.ts";
import { parseYaml, type KubeObject } from "../object/index.ts";
import { applyPatches, parsePatches, type PatchSpec, type PatchTarget } from "./index.ts";

const object = (extra: object = {}): KubeObject => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "web", namespace: "shop", labels: { tier: "web" } },
  spec: { replicas: 1, list: ["a", "b", "c"], "a/b~c": { d: 1 } },
  ...extra,
});

const spec = (patch: unknown, given = object()) => {
  const text = typeof patch === "string" ? patch : JSON.stringify(patch);
  const patches = parsePatches([{ patch: text, target: {} }], "patches");
  return applyPatches([given], patches).objects[0]?.["spec"];
};

const whole = { replicas: 1, list: ["a", "b", "c"], "a/b~c": { d: 1 } };
const changes: readonly (readonly [name: string, patch: unknown, want: object])[] = [
  ["add a field", [{ op: "add", path: "/spec/x", value: { y: 1 } }], { ...whole, x: { y: 1 } }],
  [
    "add over a field",
    [{ op: "add", path: "/spec/replicas", value: 3 }],
    { ...whole, replicas: 3 },
  ],
  [
    "add into a list",
    [{ op: "add", path: "/spec/list/1", value: "x" }],
    { ...whole, list: ["a", "x", "b", "c"] },
  ],
  [
    "add at the end by its index",
    [{ op: "add", path: "/spec/list/3", value: "x" }],
    { ...whole, list: ["a", "b", "c", "x"] },
  ],
  [
    "add at the end by -",
    [{ op: "add", path: "/spec/list/-", value: "x" }],
    { ...whole, list: ["a", "b", "c", "x"] },
  ],
  ["add null", [{ op: "add", path: "/spec/x", value: null }], { ...whole, x: null }],
  ["remove a field", [{ op: "remove", path: "/spec/a~1b~0c/d" }], { ...whole, "a/b~c": {} }],
  ["remove an item", [{ op: "remove", path: "/spec/list/0" }], { ...whole, list: ["b", "c"] }],
  [
    "replace a field",
    [{ op: "replace", path: "/spec/replicas", value: 2 }],
    { ...whole, replicas: 2 },
  ],
  [
    "replace an item",
    [{ op: "replace", path: "/spec/list/2", value: "z" }],
    { ...whole, list: ["a", "b", "z"] },
  ],
  [
    "move within a list",
    [{ op: "move", from: "/spec/list/0", path: "/spec/list/2" }],
    { ...whole, list: ["b", "c", "a"] },
  ],
  [
    "copy",
    [{ op: "copy", from: "/spec/list", path: "/spec/again" }],
    { ...whole, again: ["a", "b", "c"] },
  ],
  [
    "test, then change",
    [
      { op: "test", path: "/spec/a~1b~0c", value: { d: 1 } },
      { op: "remove", path: "/spec/replicas" },
    ],
    { list: whole.list, "a/b~c": { d: 1 } },
  ],
  [
    "merge: maps merge, lists replace, null deletes",
    "spec: {replicas: null, list: [z], 'a/b~c': {e: 2}}",
    { list: ["z"], "a/b~c": { d: 1, e: 2 } },
  ],
  [
    "a YAML list of operations",
    "- op: replace\n  path: /spec/replicas\n  value: 0777\n",
    { ...whole, replicas: 511 },
  ],
];
for (const [name, patch, want] of changes) {
  test(`a patch can ${name}`, () => {
    const given = object();
    assert.deepEqual(spec(patch, given), want);
    assert.deepEqual(given, object(), "the given object is as it was");
  });
}

const failing: readonly (readonly [name: string, patch: unknown, code: string, message: RegExp])[] =
  [
    [
      "a test that fails",
      [{ op: "test", path: "/spec/replicas", value: 2 }],
      "PatchFailed",
      /operation 0 \(test \/spec\/replicas\): the test fails/,
    ],
    [
      "a test of what is not there",
      [{ op: "test", path: "/spec/x", value: null }],
      "PatchFailed",
      /no such path/,
    ],
    [
      "a missing parent",
      [{ op: "add", path: "/spec/x/y", value: 1 }],
      "PatchFailed",
      /no such path/,
    ],
    [
      "removing what is not there",
      [{ op: "remove", path: "/spec/x" }],
      "PatchFailed",
      /no such path/,
    ],
    [
      "replacing what is not there",
      [{ op: "replace", path: "/spec/x", value: 1 }],
      "PatchFailed",
      /no such path/,
    ],
    [
      "an index beyond the end",
      [{ op: "add", path: "/spec/list/4", value: 1 }],
      "PatchFailed",
      /no such path/,
    ],
    ["a negative index", [{ op: "remove", path: "/spec/list/-1" }], "PatchFailed", /no such path/],
    [
      "an index with a zero before it",
      [{ op: "remove", path: "/spec/list/01" }],
      "PatchFailed",
      /no such path/,
    ],
    [
      "a field of a scalar",
      [{ op: "add", path: "/kind/x", value: 1 }],
      "PatchFailed",
      /no such path/,
    ],
    [
      "a path on the prototype",
      [{ op: "replace", path: "/spec/constructor/name", value: 1 }],
      "PatchFailed",
      /no such path/,
    ],
    [
      "moving from nowhere",
      [{ op: "move", from: "/spec/x", path: "/spec/y" }],
      "PatchFailed",
      /no such path/,
    ],
    [
      "another name",
      [{ op: "replace", path: "/metadata/name", value: "x" }],
      "PatchFailed",
      /may not change/,
    ],
    [
      "another kind",
      [{ op: "replace", path: "/kind", value: "Secret" }],
      "PatchFailed",
      /may not change/,
    ],
    [
      "another namespace",
      [{ op: "remove", path: "/metadata/namespace" }],
      "PatchFailed",
      /may not change/,
    ],
    ["no object at all", [{ op: "replace", path: "", value: 1 }], "PatchFailed", /may not change/],
    [
      "an unknown op",
      [{ op: "delete", path: "/spec" }],
      "PatchInvalid",
      /patches\[0\]: operation 0 has an op/,
    ],
    ["no value", [{ op: "add", path: "/spec/x" }], "PatchInvalid", /has no value/],
    ["no path", [{ op: "add", value: 1 }], "PatchInvalid", /has no path/],
    [
      "a path without slash",
      [{ op: "remove", path: "spec" }],
      "PatchInvalid",
      /does not begin with/,
    ],
    ["a bad escape", [{ op: "remove", path: "/a~2" }], "PatchInvalid", /bad ~/],
    ["no from", [{ op: "copy", path: "/x" }], "PatchInvalid", /no usable from/],
    [
      "moving into itself",
      [{ op: "move", from: "/spec", path: "/spec/x" }],
      "PatchInvalid",
      /into itself/,
    ],
    ["an operation that is no map", ["remove"], "PatchInvalid", /is no map/],
    ["a scalar", "7", "PatchInvalid", /neither a list/],
    ["no YAML", "a: [", "PatchInvalid", /not one document/],
    ["two documents", "a: 1\n---\nb: 1", "PatchInvalid", /not one document/],
    [
      "a strategic merge directive",
      { spec: { list: [{ $patch: "delete" }] } },
      "PatchInvalid",
      /strategic merge/,
    ],
    [
      "too many operations",
      Array.from({ length: 257 }, () => ({ op: "remove", path: "/a" })),
      "PatchInvalid",
      /more than 256/,
    ],
    ["too much text", `a: ${"x".repeat(70_000)}`, "PatchInvalid", /more than 65536/],
  ];
for (const [name, patch, code, message] of failing) {
  test(`a patch with ${name} is ${code}`, () => {
    assert.throws(() => spec(patch), { code, message });
  });
}

test("a patch names itself and the object, and no value", () => {
  const secret = object({ kind: "Secret", apiVersion: "v1", data: { k: "c2VjcmV0" } });
  const patch = [{ op: "test", path: "/data/k", value: "b3RoZXI=" }];
  assert.throws(() => spec(patch, secret), {
    message:
      "patches[0]: Secret/shop/web: operation 0 (test /data/k): the test fails: there is another value",
  });
});

test("copies of copies end before they fill the memory", () => {
  const doubling = Array.from({ length: 60 }, (_, i) => ({
    op: "copy",
    from: "/spec",
    path: `/spec/x${i}`,
  }));
  assert.throws(() => spec(doubling), { code: "PatchFailed", message: /more than 200000 parts/ });
});

test("__proto__ is a field like any other, in both kinds of patches", () => {
  for (const patch of [
    '[{"op":"add","path":"/spec/__proto__","value":{"polluted":1}}]',
    '{"spec":{"__proto__":{"polluted":1}}}',
  ]) {
    const patched = spec(patch) as object;
    assert.equal(Object.hasOwn(patched, "__proto__"), true);
    assert.equal((patched as { polluted?: number }).polluted, undefined);
  }
  assert.throws(() => spec('[{"op":"add","path":"/spec/__proto__/polluted","value":1}]'), {
    code: "PatchFailed",
  });
  assert.equal(({} as { polluted?: number }).polluted, undefined);
});

test("a merge patch may name an object, as kustomize's do; the target decides, the name stays", () => {
  const patch = "apiVersion: v2\nkind: X\nmetadata: {name: all, namespace: y, labels: {a: b}}\n";
  const patches = parsePatches([{ patch, target: { kind: "Deployment" } }], "patches");
  const [result] = applyPatches([object()], patches).objects;
  assert.deepEqual(result?.metadata, {
    name: "web",
    namespace: "shop",
    labels: { tier: "web", a: "b" },
  });
  assert.equal(result?.kind, "Deployment");
});

const targets: readonly (readonly [target: PatchTarget, matches: boolean])[] = [
  [{}, true],
  [{ kind: "Deployment" }, true],
  [{ kind: "Deploy" }, false],
  [{ kind: "Deploy.*" }, true],
  [{ kind: "Service|Deployment" }, true],
  [{ name: "we|web" }, true],
  [{ name: "^web$" }, true],
  [{ name: "(?i)WEB" }, true],
  [{ group: "apps", version: "v1" }, true],
  [{ group: "extensions" }, false],
  [{ version: "v1beta1" }, false],
  [{ namespace: "shop" }, true],
  [{ namespace: "sho" }, false],
  [{ labelSelector: "tier=web" }, true],
  [{ labelSelector: "tier==web, !old" }, true],
  [{ labelSelector: "tier in (db, web),app!=x" }, true],
  [{ labelSelector: "tier notin (db,web)" }, false],
  [{ labelSelector: "tier" }, true],
  [{ labelSelector: "!tier" }, false],
  [{ labelSelector: "constructor" }, false],
  [{ annotationSelector: "a.b/c=1" }, false],
  [{ kind: "Deployment", name: "other" }, false],
];
for (const [target, matches] of targets) {
  test(`the target ${JSON.stringify(target)} ${matches ? "matches" : "does not match"}`, () => {
    const patches = parsePatches([{ patch: "spec: {replicas: 9}", target }], "patches");
    const { objects, unmatched } = applyPatches([object()], patches);
    assert.equal(asMap(objects[0]?.["spec"])["replicas"], matches ? 9 : 1);
    assert.deepEqual(unmatched, matches ? [] : ["patches[0]"]);
  });
}

const badTargets: readonly (readonly [string, PatchTarget])[] = [
  ["an expression that is none", { name: "(" }],
  ["an expression that RE2 does not have", { name: "(?=a)" }],
  ["a back reference", { name: "(a)\\1" }],
  ["a short expression that is a large program", { name: "((a{1,100}){1,100}){1,10}" }],
  ["a long expression", { name: "a".repeat(257) }],
  ["a selector that is none", { labelSelector: "a in b" }],
  ["a selector with a comma too many", { labelSelector: "a," }],
  ["a comparison", { annotationSelector: "a>1" }],
];
for (const [name, target] of badTargets) {
  test(`a target with ${name} is PatchInvalid`, () => {
    assert.throws(() => parsePatches([{ patch: "a: 1", target }], "patches"), {
      code: "PatchInvalid",
      message: /^patches\[0\]\.target\./,
    });
  });
}

test("an expression that takes other engines for ever takes no time", () => {
  const patches = parsePatches([{ patch: "a: 1", target: { name: "(a*)*b" } }], "patches");
  const given = object({ metadata: { name: "a".repeat(253) } });
  const started = performance.now();
  applyPatches([given], patches);
  assert.ok(performance.now() - started < 1_000);
});

test("each patch sees what the one before has made", () => {
  const patches = parsePatches(
    [
      { patch: "metadata: {labels: {new: 'yes'}}", target: {} },
      { patch: "spec: {replicas: 5}", target: { labelSelector: "new=yes" } },
    ],
    "patches",
  );
  const { objects, unmatched } = applyPatches([object()], patches);
  assert.equal(asMap(objects[0]?.["spec"])["replicas"], 5);
  assert.deepEqual(unmatched, []);
});

test("the patches in docs/templates.md can be read", async () => {
  const page = await readFile(join(import.meta.dirname, "../../docs/templates.md"), "utf8");
  const text = /```yaml\n(patches:[\s\S]*?)```/.exec(page)?.[1] ?? "";
  const specs = asMap(parseYaml(text, "page"))["patches"] as unknown as readonly PatchSpec[];
  const patches = parsePatches(specs, "patches");
  const { objects } = applyPatches(
    [object({ metadata: { name: "web-1", labels: { tier: "api" } } })],
    patches,
  );
  assert.equal(asMap(objects[0]?.["spec"])["replicas"], 2);
});
