import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { Worker } from "node:worker_threads";
import { isCapitanError } from "../errors/index.ts";
import type { JsonMap } from "../json/index.ts";
import {
  compileTemplate,
  layerShape,
  limits,
  renderAll,
  type LayerContext,
} from "../template/index.ts";
import { Renderer, type RendererOptions } from "./index.ts";
import { Thread, threadOptions } from "./thread.ts";

const context = (values: JsonMap = {}, name = "c"): LayerContext => ({
  cluster: {
    name,
    namespace: "fleet",
    labels: {},
    annotations: {},
    version: null,
    topology: { class: null, version: null, variables: {} },
    controlPlaneEndpoint: { host: null, port: null },
    kinds: { infrastructure: null, controlPlane: null },
  },
  fleet: { name: "platform", namespace: "fleet" },
  values,
});

const filesOf = (files: Record<string, string>) =>
  new Map(Object.entries(files).map(([path, text]) => [path, Buffer.from(text)]));

function renderer(t: TestContext, options: RendererOptions = {}): Renderer {
  const made = new Renderer(options);
  t.after(() => made.close());
  return made;
}

/** The result of one cluster, as text. */
async function one(r: Renderer, key: string, text: string, given = context()) {
  const files = filesOf({ "a.yaml.hbs": text });
  const [result] = await r.render({ key, files, contexts: [given] });
  if (result === undefined || isCapitanError(result)) return result;
  return Buffer.from(result.get("a.yaml") ?? []).toString("utf8");
}

/** Handlebars' parser takes a time that grows faster than the square of the depth: 7 seconds for this one. */
const slow = `${"{{#if values.n}}".repeat(5_000)}${"{{/if}}".repeat(5_000)}`;

test("renders templates, and leaves other files as they are", async (t) => {
  const files = filesOf({ "a.yaml.hbs": "a: {{cluster.name}}\n", "b.yaml": "b: {{ .Values }}\n" });
  const results = await renderer(t).render({
    key: "k",
    files,
    contexts: Array.from({ length: 40 }, (_, i) => context({}, `c${i}`)),
  });
  assert.equal(results.length, 40);
  for (const [i, result] of results.entries()) {
    assert.ok(result instanceof Map);
    assert.deepEqual([...result.keys()].sort(), ["a.yaml", "b.yaml"]);
    assert.equal(Buffer.from(result.get("a.yaml") ?? []).toString(), `a: c${i}\n`);
    assert.equal(result.get("b.yaml"), files.get("b.yaml"));
  }
});

test("files without templates need no thread, and no renderer that is open", async (t) => {
  const r = renderer(t);
  await r.close();
  const files = filesOf({ "a.yaml": "a: 1" });
  assert.deepEqual(await r.render({ key: "k", files, contexts: [context()] }), [files]);
});

test("an error of one cluster names file, line and column, and is of that cluster only", async (t) => {
  const files = filesOf({ "x/a.yaml.hbs": "a: 1\nb: {{values.x}}\n" });
  const contexts = [context({ x: 1 }), context(), context({ x: "true" })];
  const [good, missing, unfit] = await renderer(t).render({ key: "k", files, contexts });
  assert.ok(good instanceof Map);
  assert.ok(isCapitanError(missing) && isCapitanError(unfit));
  assert.equal(missing.code, "InputMissing");
  assert.equal(missing.message, "x/a.yaml.hbs:2:6: values.x: values has no x; known: none");
  assert.equal(unfit.code, "InputInvalid");
});

test("a template that is no UTF-8, and two files that become one, are refused before any thread", async (t) => {
  const r = renderer(t);
  const bad = new Map([["a.hbs", Buffer.from([0xff])]]);
  await assert.rejects(r.render({ key: "k", files: bad, contexts: [] }), {
    code: "TemplateInvalid",
  });
  const twice = filesOf({ "a.yaml": "", "a.yaml.hbs": "" });
  await assert.rejects(r.render({ key: "k", files: twice, contexts: [] }), {
    code: "TemplateInvalid",
  });
});

test("T1 a template without end is stopped in time, while the neighbours are served", async (t) => {
  const r = renderer(t, { timeMsMax: 400 });
  // Both threads are there, so that what is measured is not how long they take to load.
  await Promise.all([one(r, "a", "x"), one(r, "b", "x")]);
  const contexts = Array.from({ length: 48 }, () => context({ n: 1 }));
  const started = performance.now();
  const bad = r.render({ key: "bad", files: filesOf({ "a.hbs": slow }), contexts });
  let isBadDone = false;
  void bad.then(() => (isBadDone = true));
  const served: number[] = [];
  for (let i = 0; i < 50; i++) {
    const asked = performance.now();
    assert.equal(await one(r, `good-${i % 5}`, `n: ${i}`), `n: ${i}`);
    served.push(performance.now() - asked);
  }
  assert.equal(isBadDone, false, "the neighbours did not wait for it");
  assert.ok(Math.max(...served) < 2_000, `the slowest neighbour took ${Math.max(...served)} ms`);
  const results = await bad;
  assert.equal(results.length, 48);
  for (const result of results) {
    assert.ok(isCapitanError(result));
    assert.equal(result.code, "TemplateTooLarge");
    assert.equal(result.message, "rendering took more than 400 ms and was stopped");
  }
  assert.ok(performance.now() - started < 20_000, "48 clusters are not stopped one by one");
});

test("T1 loops in loops end by counting, in each cluster alone", async (t) => {
  const loops =
    "{{#each values.l}}{{#each @root.values.l}}{{#each @root.values.l}}{{#each @root.values.l}}{{/each}}{{/each}}{{/each}}{{/each}}";
  const l = Array.from({ length: 200 }, () => 1);
  const files = filesOf({ "a.hbs": loops });
  const [bad, good] = await renderer(t).render({
    key: "k",
    files,
    contexts: [context({ l }), context({ l: [1] })],
  });
  assert.ok(isCapitanError(bad));
  assert.equal(bad.code, "TemplateTooLarge");
  assert.match(bad.message, /^a\.hbs: the template does more than 1000000 steps/);
  assert.ok(good instanceof Map);
});

test("T1 a partial that calls itself, and a backtracking expression, are no part of the language", async (t) => {
  const r = renderer(t);
  const self = await one(r, "k", "{{> a}}");
  assert.ok(isCapitanError(self));
  assert.equal(self.code, "TemplateInvalid");
  const range = `${">=1 ".repeat(60)}${"x".repeat(100)}`;
  const semver = await one(r, "k", `{{semver "v1.2.3" "${range}"}}`);
  assert.ok(isCapitanError(semver));
  assert.equal(semver.code, "TemplateInvalid");
});

test("T1 a cluster whose values are to blame is stopped alone", async (t) => {
  const r = renderer(t, { timeMsMax: 1_000, memoryMbMax: 32 });
  // The values of one cluster do not fit into a thread with 32 MB; those of the others do.
  const heavy = context({ l: Array.from({ length: 1_500_000 }, (_, i) => [i]) });
  const contexts = [context(), heavy, context()];
  const files = filesOf({ "a.yaml.hbs": "a: {{cluster.name}}" });
  const [first, second, third] = await r.render({ key: "k", files, contexts });
  assert.ok(first instanceof Map && third instanceof Map);
  assert.ok(isCapitanError(second));
  assert.equal(second.code, "TemplateTooLarge");
});

test("T2 a bomb of output is cut off at its limit, in one file and in a layer", async (t) => {
  const r = renderer(t);
  const values = { l: Array.from({ length: 100 }, () => 1), t: "x".repeat(10_000) };
  const bomb =
    "{{#each values.l}}{{#each @root.values.l}}{{#each @root.values.l}}{{@root.values.t}}{{/each}}{{/each}}{{/each}}";
  const file = await one(r, "k", bomb, context(values));
  assert.ok(isCapitanError(file));
  assert.equal(file.code, "TemplateTooLarge");
  assert.match(file.message, new RegExp(`more than ${limits.outputCharsMax} characters`));
  const half = "{{#each values.l}}{{#each @root.values.l}}{{@root.values.s}}\n{{/each}}{{/each}}";
  const files = filesOf(Object.fromEntries([1, 2, 3, 4].map((i) => [`${i}.yaml.hbs`, half])));
  const contexts = [context({ l: values.l, s: "x".repeat(300) })];
  const [layer] = await r.render({ key: "k", files, contexts });
  assert.ok(isCapitanError(layer));
  assert.match(layer.message, new RegExp(`more than ${limits.layerCharsMax} characters together`));
});

test("T2 a bomb of memory ends its thread and nothing else", async (t) => {
  const r = renderer(t, { memoryMbMax: 24, timeMsMax: 20_000 });
  // A tree of statements takes many times the room of its text.
  const files = Object.fromEntries(
    Array.from({ length: 60 }, (_, i) => [`${i}.hbs`, `${i}${"{{values}}".repeat(20_000)}`]),
  );
  const [result] = await r.render({ key: "bad", files: filesOf(files), contexts: [context()] });
  assert.ok(isCapitanError(result));
  assert.equal(result.message, "rendering needed more than 24 MB of memory and was stopped");
  assert.equal(await one(r, "good", "a: {{cluster.name}}"), "a: c");
});

test("T4 a thread has no environment", async () => {
  const text = `const { parentPort } = require("node:worker_threads");
    parentPort.postMessage([Object.keys(process.env), process.execArgv]);`;
  const worker = new Worker(text, { eval: true, ...threadOptions(32) });
  const found = await new Promise((resolve) => worker.once("message", resolve));
  await worker.terminate();
  assert.deepEqual(found, [[], []]);
});

/** What one tenant might try to leave behind for the next. */
const leaving = [
  "{{#each values}}{{@key}}{{/each}}{{yaml values}}",
  "{{cluster.labels.__proto__}}",
  '{{#*inline "x"}}evil{{/inline}}',
  "{{#with values.__proto__}}{{polluted}}{{/with}}",
  "{{",
  "{{#each values.l}}{{nope}}{{/each}}",
  '{{default values.none "evil"}}',
  "{{#each values.l}}{{#each this}}{{@../index}}{{/each}}{{/each}}",
];

test("T7 what one tenant renders is byte for byte what a fresh thread renders", async (t) => {
  const text =
    "{{cluster.name}}{{#each values.l}}{{@index}}{{@key}}{{this}}{{/each}}\n{{yaml values}}\n";
  const given = context({ l: ["p"], m: { b: 1 } }, "mine");
  const template = compileTemplate(text, "a.yaml.hbs", layerShape);
  const [fresh] = renderAll([template], given);
  const r = renderer(t, { workers: 1 });
  const polluted = JSON.parse(
    '{"__proto__":{"polluted":1},"l":[["a"],{"nope":1}],"secret":"s3cret"}',
  ) as JsonMap;
  for (const other of leaving) {
    await one(r, "tenant-a", other, context(polluted, "theirs"));
    // The same name and text too: what is kept of a template knows nothing of who asked.
    await one(r, "tenant-a", text, context(polluted, "theirs"));
    assert.equal(await one(r, "tenant-b", text, given), fresh, other);
    const peek = await one(
      r,
      "tenant-b",
      "{{json values}}{{#if values.secret}}{{values.secret}}{{/if}}",
      given,
    );
    assert.equal(peek, '{"l":["p"],"m":{"b":1}}');
  }
});

test("T7 an error of one tenant says nothing of another", async (t) => {
  const r = renderer(t, { workers: 1 });
  await one(r, "a", "{{values.s3cret}}", context({ s3cret: "top" }));
  const error = await one(r, "b", "{{values.x}}", context({ mine: 1 }));
  assert.ok(isCapitanError(error));
  assert.equal(error.message, "a.yaml.hbs:1:3: values.x: values has no x; known: mine");
});

test("threads end when they are closed, and are made anew when they are needed again", async () => {
  const thread = new Thread({ timeMsMax: 10_000, memoryMbMax: 64 });
  const task = { templates: [{ file: "a", text: "x" }], contexts: [context()] };
  const want = [{ kind: "rendered", texts: ["x"] }];
  assert.deepEqual(await thread.run(task), want);
  await thread.close();
  assert.deepEqual(await thread.run(task), want);
  const running = thread.run({ ...task, templates: [{ file: "a", text: slow }] });
  await Promise.all([assert.rejects(running, { code: "InternalError" }), thread.close()]);
});

test("closing ends what waits and what runs, and refuses what comes after", async (t) => {
  const r = renderer(t, { timeMsMax: 30_000 });
  await one(r, "a", "x");
  const running = r.render({
    key: "a",
    files: filesOf({ "a.hbs": slow }),
    contexts: [context({ n: 1 })],
  });
  const waiting = r.render({ key: "a", files: filesOf({ "a.hbs": "y" }), contexts: [context()] });
  await r.close();
  for (const [result] of await Promise.all([running, waiting])) {
    assert.ok(isCapitanError(result));
    assert.equal(result.code, "RendererBusy");
  }
  await assert.rejects(one(r, "a", "x"), { code: "RendererBusy" });
});

test("more than may wait is refused", async (t) => {
  const r = renderer(t, { waitingMax: 2 });
  const files = filesOf({ "a.hbs": "x" });
  const ask = (count: number) =>
    r.render({ key: "k", files, contexts: Array.from({ length: count }, () => context()) });
  await assert.rejects(ask(100), { code: "RendererBusy" });
  assert.equal((await ask(32)).length, 32);
});
