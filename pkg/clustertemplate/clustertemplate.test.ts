import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import fc from "fast-check";
import { isCapitanError, type Code } from "../errors/index.ts";
import type { JsonMap } from "../json/index.ts";
import { parseManifests } from "../object/index.ts";
import { decryptFile, generateIdentity, parseIdentities, parseSopsConfig } from "../sops/index.ts";
import { withClusterRule, withoutClusterRule } from "./creation-rules.ts";
import { unifiedDiff } from "./diff.ts";
import { lintTemplate } from "./lint.ts";
import { checkClusterName } from "./names.ts";
import { completeParameters, parametersOf, parseParameter, problemsOf } from "./parameters.ts";
import { readClusterTemplate, templateDigest } from "./read.ts";
import { originOf, readRecord, withRecord } from "./record.ts";
import { commitMessage, renderFiles, type RenderInput } from "./render.ts";
import { sealFiles } from "./seal.ts";
import { planUpgrade } from "./upgrade.ts";
import { checkVersionChange } from "./versions.ts";

/** Chance that is none: the same bytes each time. */
function chance() {
  let count = 0;
  const random = (bytes: number) => {
    count += 1;
    const block = (i: number) => createHash("sha256").update(`${count}/${i}`).digest();
    const blocks = Array.from({ length: Math.ceil(bytes / 32) }, (_, i) => block(i));
    return Buffer.concat(blocks).subarray(0, bytes);
  };
  return { random, now: () => new Date("2026-11-21T12:00:00Z") };
}

const manager = generateIdentity(() => Buffer.alloc(32, 1));
const own = generateIdentity(() => Buffer.alloc(32, 2));
const cluster = { name: "prod-eu-1", namespace: "fleet" };
const identityPath = "management/clusters/prod-eu-1/identity.sops.yaml";
const sopsYaml = `# who may read what
creation_rules:
  # the manager only
  - path_regex: \\.sops\\.ya?ml$
    encrypted_regex: ^(data|stringData)$
    age: ${manager.recipient}
`;

const template = (spec: object, name = "t") =>
  readClusterTemplate(
    { apiVersion: "capitan.dev/v1alpha1", kind: "ClusterTemplate", metadata: { name }, spec },
    "t.yaml",
  );
const minimal = [{ path: "c/{{cluster.name}}.yaml", content: "a: {{cluster.name}}\n" }];

async function labTemplate() {
  const text = await readFile(new URL("../../templates/lab.yaml", import.meta.url), "utf8");
  const [object] = parseManifests(text, "lab.yaml");
  assert.ok(object);
  return readClusterTemplate(object, "lab.yaml");
}

function inputOf(parameters: JsonMap, secret = "the-private-half"): RenderInput {
  const manifest = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "prod-eu-1-age-1", namespace: "fleet" },
    data: { identity: Buffer.from(secret).toString("base64") },
  };
  return { cluster, parameters, identity: { recipient: own.recipient, secret: manifest } };
}

const throws = (code: Code, what: RegExp) => (error: unknown) => {
  assert.ok(isCapitanError(error), String(error));
  assert.equal(error.code, code);
  assert.match(error.message, what);
  return true;
};

test("all that is wrong with parameters is said at once, by names and without values", async () => {
  const lab = await labTemplate();
  const given = { region: "mars", replicas: 1000, tier: 7, kubernetesVersion: "1.36", other: 1 };
  assert.throws(
    () => completeParameters(lab, given),
    (error: Error) => {
      assert.equal(
        error.message,
        `template lab: 
  other: there is no such parameter; known: region, environment, kubernetesVersion, topology, tier, replicas, adminPassword
  region: must be one of eu, us
  kubernetesVersion: must match ^v[0-9]+\\.[0-9]+\\.[0-9]+$
  tier: must be a string; write it in quotes
  replicas: must be at most 100
  adminPassword: is missing (What the Secret admin in the cluster holds)`,
      );
      return true;
    },
  );
});

test("what is accepted is complete, and is accepted again", async () => {
  const lab = await labTemplate();
  const given = fc.record(
    {
      region: fc.constantFrom("eu", "us"),
      replicas: fc.integer({ min: 0, max: 100 }),
      topology: fc.boolean(),
      tier: fc.string({ maxLength: 32 }),
      adminPassword: fc.string({ minLength: 8, maxLength: 20, unit: "grapheme-ascii" }),
    },
    { requiredKeys: ["adminPassword"] },
  );
  fc.assert(
    fc.property(given, (values) => {
      const all = completeParameters(lab, values);
      assert.deepEqual(
        Object.keys(all),
        parametersOf(lab).map(({ name }) => name),
      );
      assert.deepEqual(completeParameters(lab, all), all);
    }),
  );
});

const texts: readonly (readonly [string, string, unknown])[] = [
  ["string", "1.20", "1.20"],
  ["integer", "-3", -3],
  ["number", "1.5", 1.5],
  ["boolean", "true", true],
  ["array", "a,b", ["a", "b"]],
  ["array", '["a,b"]', ["a,b"]],
  ["array", "", []],
];
for (const [type, text, want] of texts)
  test(`${text} on the command line is ${JSON.stringify(want)} as ${type}`, () => {
    const [parameter] = parametersOf(template({ files: minimal, parameters: { p: { type } } }));
    assert.ok(parameter);
    assert.deepEqual(parseParameter(parameter, text), want);
  });

for (const [type, text] of [
  ["integer", "x"],
  ["boolean", "yes"],
  ["number", ""],
  ["array", "[1"],
])
  test(`${text} on the command line is no ${type}`, () => {
    const [parameter] = parametersOf(template({ files: minimal, parameters: { p: { type } } }));
    assert.ok(parameter);
    assert.throws(
      () => parseParameter(parameter, text ?? ""),
      throws("ParameterInvalid", /^p: must/),
    );
  });

test("an integer is no fraction, an item of a list has its pattern, a size is in characters", () => {
  const problems = (parameter: object, value: unknown) => {
    const [one] = parametersOf(template({ files: minimal, parameters: { p: parameter } }));
    assert.ok(one);
    return problemsOf(one, value as string);
  };
  assert.deepEqual(problems({ type: "integer" }, 1.5), ["p: must be a whole number"]);
  assert.deepEqual(problems({ type: "array", pattern: "^a" }, ["a", "b"]), ["p[1]: must match ^a"]);
  assert.deepEqual(problems({ type: "string", maxLength: 1 }, "😀"), []);
  assert.deepEqual(problems({ type: "array", minLength: 1 }, []), [
    "p: must have at least 1 items",
  ]);
});

test("what is no ClusterTemplate is refused with all that is wrong", () => {
  const wrong = {
    files: [{ path: "a" }],
    parameters: { "a-b": { type: "text", min: 1 } },
    more: 1,
  };
  assert.throws(
    () => template(wrong),
    throws(
      "ClusterTemplateInvalid",
      /^t\.yaml: .*content: is missing; .*a-b\.type: must be one of .*a-b\.min: there is no such field.*spec\.more: there is no such field.*"a-b" is no word/,
    ),
  );
});

test("templates/lab.yaml makes the files of a cluster", async () => {
  const lab = await labTemplate();
  const parameters = completeParameters(lab, { adminPassword: "correct horse: battery #1" });
  const files = renderFiles(lab, inputOf(parameters));
  assert.deepEqual(
    files.map(({ path, secrets }) => [path, secrets]),
    [
      ["management/clusters/prod-eu-1/cluster.yaml", []],
      [identityPath, ["identity.secret"]],
      ["config/clusters/prod-eu-1/values.yaml", []],
      ["config/clusters/prod-eu-1/secrets/admin.sops.yaml", ["adminPassword"]],
    ],
  );
  assert.equal(commitMessage(lab, cluster), "Create cluster prod-eu-1 from template lab");
});

test("what holds a secret is encrypted to whom it should be, and opens to what was rendered", async () => {
  const lab = await labTemplate();
  const render = (secret: string) =>
    renderFiles(
      lab,
      inputOf(completeParameters(lab, { adminPassword: secret }), `identity of ${secret}`),
    );
  const { text, config } = withClusterRule(sopsYaml, ".sops.yaml", {
    ...cluster,
    recipient: own.recipient,
    identityPath,
  });
  assert.match(text, /^# who may read what\ncreation_rules:\n  - path_regex: \^config\/clusters/);
  const origin = originOf(lab, cluster, { region: "eu", adminPassword: "pass word" });
  const sealed = await sealFiles(
    render("pass word"),
    render("another one"),
    { config, origin },
    chance(),
  );
  const byPath = new Map(sealed.map((file) => [file.path, file]));
  const secret = byPath.get("config/clusters/prod-eu-1/secrets/admin.sops.yaml");
  assert.deepEqual(byPath.get(identityPath)?.recipients, [manager.recipient]);
  assert.deepEqual(secret?.recipients, [manager.recipient, own.recipient]);
  assert.ok(sealed.every(({ text }) => !text.includes("pass word")));
  const identities = await parseIdentities(own.identity, "own");
  const opened = await decryptFile(Buffer.from(secret?.text ?? ""), {
    format: "yaml",
    identities,
  });
  assert.match(opened.plaintext.toString(), /password: pass word\n/);
});

const exposing: readonly (readonly [string, object, string, RegExp])[] = [
  [
    "no rule encrypts the file",
    {
      path: "config/clusters/{{cluster.name}}/a.yaml",
      content: "stringData: { a: {{quote parameters.s}} }",
    },
    sopsYaml,
    /holds s, and no rule of \.sops\.yaml encrypts it/,
  ],
  [
    "its rule leaves the place in plaintext",
    {
      path: "config/clusters/{{cluster.name}}/a.sops.yaml",
      content: "metadata: { a: {{quote parameters.s}} }",
    },
    sopsYaml,
    /leaves the place in plaintext/,
  ],
  [
    "a comment has it",
    { path: "config/clusters/{{cluster.name}}/a.sops.yaml", content: "# {{parameters.s}}\na: b\n" },
    sopsYaml,
    /leaves the place in plaintext/,
  ],
  [
    "a helper has changed it",
    { path: "config/clusters/{{cluster.name}}/a.sops.yaml", content: "a: {{b64 parameters.s}}\n" },
    sopsYaml,
    /leaves the place in plaintext/,
  ],
];
for (const [what, file, config, why] of exposing)
  test(`a secret is refused where ${what}`, async () => {
    const t = template({ files: [file], parameters: { s: { type: "string", secret: true } } });
    const render = (s: string) => renderFiles(t, inputOf({ s }));
    const options = { config: parseSopsConfig(config, "s"), origin: originOf(t, cluster, {}) };
    await assert.rejects(
      sealFiles(render("aVerySecret"), render("another"), options, chance()),
      throws("SecretExposed", why),
    );
  });

test("a path or a condition that reads a secret is refused", () => {
  const path = "config/clusters/{{cluster.name}}/a.sops.yaml";
  for (const file of [
    { path: "config/{{cluster.name}}/{{parameters.s}}.sops.yaml", content: "a: b" },
    { path, content: "a: b", when: 'eq parameters.s "word"' },
  ]) {
    const t = template({ files: [file], parameters: { s: { type: "string", secret: true } } });
    assert.throws(() => renderFiles(t, inputOf({ s: "word" })), throws("SecretExposed", /reads s/));
  }
});

test("whatever a secret is, no file that is written has it", async () => {
  const lab = await labTemplate();
  const { config } = withClusterRule(sopsYaml, "s", {
    ...cluster,
    recipient: own.recipient,
    identityPath,
  });
  const words = fc.string({ minLength: 8, maxLength: 40, unit: "binary" });
  const passwords = words.filter((word) => !/[\p{Cs}]/u.test(word));
  await fc.assert(
    fc.asyncProperty(passwords, async (adminPassword) => {
      const render = (value: string) =>
        renderFiles(lab, inputOf(completeParameters(lab, { adminPassword: value }), value));
      const origin = originOf(lab, cluster, { adminPassword });
      const sealed = await sealFiles(
        render(adminPassword),
        render("other one"),
        { config, origin },
        chance(),
      );
      const forms = [
        adminPassword,
        JSON.stringify(adminPassword).slice(1, -1),
        Buffer.from(adminPassword).toString("base64"),
      ];
      assert.ok(sealed.every(({ text }) => forms.every((form) => !text.includes(form))));
    }),
    { numRuns: 10 },
  );
});

test("the rule of a cluster goes as it came, and nothing else changes", () => {
  const names = fc.uniqueArray(fc.stringMatching(/^[a-z][a-z0-9-]{0,10}[a-z0-9]$/), {
    minLength: 1,
    maxLength: 4,
  });
  fc.assert(
    fc.property(names, (all) => {
      const texts = [sopsYaml];
      for (const name of all) {
        const made = withClusterRule(texts.at(-1) ?? "", "s", {
          name,
          recipient: own.recipient,
          identityPath,
        });
        assert.deepEqual(
          made.config.rules.find(({ matches }) => matches(`config/clusters/${name}/a.sops.yaml`))
            ?.groups,
          [[manager.recipient, own.recipient]],
        );
        texts.push(made.text);
      }
      for (const name of all.toReversed()) {
        const text = withoutClusterRule(texts.pop() ?? "", "s", { name });
        assert.equal(text, texts.at(-1));
      }
    }),
  );
});

const oddConfigs: readonly (readonly [string, string, RegExp])[] = [
  ["in flow style", `creation_rules: [{age: ${manager.recipient}}]\n`, /not written as a list/],
  ["without rules", "stores: {}\n", /no matching creation rules/],
];
for (const [what, text, why] of oddConfigs)
  test(`a .sops.yaml ${what} is refused, not mangled`, () => {
    const one = { name: "a", recipient: own.recipient, identityPath };
    assert.throws(() => withClusterRule(text, "s", one), throws("SopsConfigInvalid", why));
  });

test("a file says how it was made, and betrays every change by hand", () => {
  const values = fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.integer(), fc.boolean()), {
    noNullPrototype: true,
  });
  fc.assert(
    fc.property(fc.string(), fc.string(), values, (content, other, parameters) => {
      const digest = `sha256:${"a".repeat(64)}`;
      const origin = { cluster, template: { name: "t", digest }, parameters };
      const text = withRecord(content, origin);
      const read = readRecord(text);
      assert.deepEqual(read, { ...origin, content, isEdited: false });
      assert.equal(readRecord(`${text}${other}`)?.isEdited, other !== "");
    }),
  );
});

test("no change of versions goes down or over a minor", () => {
  const parts = fc.tuple(fc.nat(2), fc.nat(5), fc.nat(5));
  fc.assert(
    fc.property(parts, parts, (a, b) => {
      const text = ([x, y, z]: readonly number[]) => `v${x}.${y}.${z}`;
      const isUp = a[0] === b[0] && (b[1] > a[1] || (b[1] === a[1] && b[2] >= a[2]));
      const isAllowed = isUp && b[1] <= a[1] + 1;
      if (isAllowed) checkVersionChange(text(a), text(b));
      else assert.throws(() => checkVersionChange(text(a), text(b)), throws("VersionRefused", /./));
    }),
    { numRuns: 500 },
  );
  assert.throws(
    () => checkVersionChange("v1.34.1", "v1.36.0"),
    throws("VersionRefused", /skips v1\.35/),
  );
  checkVersionChange("v1.33", "v1.34");
});

test("names that machines could not be named after are refused", () => {
  checkClusterName("prod-eu-1");
  for (const name of ["", "A", "1a", "a.b", "a-", "a_b", "a/b", "../a", "a".repeat(41)])
    assert.throws(() => checkClusterName(name), throws("NameInvalid", /cluster name/));
});

/** What `patch` does with a unified diff. */
function patched(before: string, diff: string): string {
  const lines = before === "" ? [] : before.replace(/\n$/, "").split("\n");
  const result: string[] = [];
  let at = 0;
  for (const line of diff.split("\n").slice(2, -1)) {
    const [, start, count] = /^@@ -(\d+),(\d+)/.exec(line) ?? [];
    if (start !== undefined) {
      const from = Number(count) === 0 ? Number(start) : Number(start) - 1;
      while (at < from) result.push(lines[at++] ?? "");
    } else if (line.startsWith("+")) result.push(line.slice(1));
    else {
      assert.equal(line.slice(1), lines[at]);
      if (line.startsWith(" ")) result.push(line.slice(1));
      at++;
    }
  }
  return [...result, ...lines.slice(at)].map((line) => `${line}\n`).join("");
}

test("a diff, applied to what was, gives what is", () => {
  const text = fc
    .array(fc.constantFrom("a", "b", "c", ""), { maxLength: 24 })
    .map((lines) => lines.map((line) => `${line}\n`).join(""));
  fc.assert(
    fc.property(text, text, (before, after) => {
      const diff = unifiedDiff("f", before, after);
      assert.equal(diff === "", before === after);
      assert.equal(patched(before, diff), after);
    }),
    { numRuns: 1000 },
  );
});

function upgradeOf(present: ReadonlyMap<string, string>, given: JsonMap, spec: object) {
  const all = new Map([...present, [".sops.yaml", sopsYaml]]);
  const upgrade = { cluster, given, present: all, recipient: own.recipient };
  return planUpgrade(template(spec), upgrade, chance());
}

const versioned = {
  parameters: { kubernetesVersion: { type: "string", default: "v1.35.0" } },
  files: [{ path: "c/{{cluster.name}}.yaml", content: "v: {{parameters.kubernetesVersion}}\n" }],
};
const made = () => {
  const t = template(versioned);
  const parameters = completeParameters(t, {});
  const [file] = renderFiles(t, inputOf(parameters));
  return new Map([
    ["c/prod-eu-1.yaml", withRecord(file?.content ?? "", originOf(t, cluster, parameters))],
  ]);
};

test("an upgrade to what there is changes nothing", async () => {
  assert.deepEqual(await upgradeOf(made(), {}, versioned), {
    changes: [],
    edited: [],
    kept: [],
    dropped: [],
  });
});

test("an upgrade changes the version, in the file and in its record", async () => {
  const { changes, edited } = await upgradeOf(made(), { kubernetesVersion: "v1.36.0" }, versioned);
  assert.deepEqual(edited, []);
  assert.match(changes[0]?.after ?? "", /"kubernetesVersion":"v1\.36\.0".*\nv: v1\.36\.0\n$/s);
});

test("a newer template brings files and takes files away; parameters stay", async () => {
  const next = {
    ...versioned,
    files: [{ path: "d/{{cluster.name}}.yaml", content: "w: {{parameters.kubernetesVersion}}\n" }],
  };
  const { changes } = await upgradeOf(made(), {}, next);
  assert.deepEqual(
    changes.map(({ path, after }) => [path, after?.split("\n").at(-2)]),
    [
      ["d/prod-eu-1.yaml", "w: v1.35.0"],
      ["c/prod-eu-1.yaml", undefined],
    ],
  );
});

test("a file that was edited by hand is told apart, but not when it says what it is to say", async () => {
  const [path, text = ""] = [...made()][0] ?? [];
  assert.ok(path !== undefined);
  const byHand = (line: string) => new Map([[path, text.replace(/v: .*\n$/, line)]]);
  const given = { kubernetesVersion: "v1.36.0" };
  const odd = await upgradeOf(byHand("v: v1.35.9\n"), given, versioned);
  assert.deepEqual(
    odd.edited.map((change) => change.path),
    [path],
  );
  const same = await upgradeOf(byHand("v: v1.36.0\n"), given, versioned);
  assert.deepEqual([same.edited, same.changes.length], [[], 1]);
  const two = {
    ...versioned,
    files: [...versioned.files, { path: "{{cluster.name}}.yaml", content: "a: 1" }],
  };
  const somebodys = new Map([...made(), ["prod-eu-1.yaml", "somebody: else\n"]]);
  const foreign = await upgradeOf(somebodys, {}, two);
  assert.equal(foreign.edited.length, 1);
});

test("a secret that nobody gives again leaves its file alone; a new file that needs it is refused", async () => {
  const secret = {
    parameters: { s: { type: "string", secret: true, required: true } },
    files: [
      ...minimal,
      { path: "s/{{cluster.name}}.sops.yaml", content: "data: { a: {{quote parameters.s}} }\n" },
    ],
  };
  const present = new Map([...made(), ["s/prod-eu-1.sops.yaml", "data: ENC[…]\n"]]);
  const kept = await upgradeOf(present, {}, secret);
  assert.ok(!kept.changes.some(({ path }) => path.startsWith("s/")));
  await assert.rejects(
    upgradeOf(made(), {}, secret),
    throws("ParameterInvalid", /holds s, which has to be given/),
  );
});

test("a digest is of what a template says, not of how it is written", () => {
  const parameters = { a: { type: "string" }, b: { type: "integer" } };
  const turned = { b: { type: "integer" }, a: { type: "string" } };
  const digest = (spec: object) => templateDigest(template(spec));
  assert.equal(
    digest({ files: minimal, parameters }),
    digest({ parameters: turned, files: minimal }),
  );
  assert.notEqual(digest({ files: minimal, parameters }), digest({ files: minimal }));
});

const capiCluster = `apiVersion: cluster.x-k8s.io/v1beta2
kind: Cluster
metadata: { name: {{cluster.name}}, namespace: {{cluster.namespace}} }
`;
const good = { path: "c/{{cluster.name}}/cluster.yaml", content: capiCluster };
const p = (more: object) => ({ files: [good], parameters: { p: { type: "string", ...more } } });
const file = (path: string, content: string) => ({ files: [good, { path, content }] });
const lints: readonly (readonly [string, object, RegExp])[] = [
  ["an unused parameter", p({}), /^p: no file uses/],
  [
    "a default that does not validate",
    p({ default: "b", enum: ["a"] }),
    /^default of p: must be one/,
  ],
  ["a pattern that is none", p({ pattern: "(" }), /^p: its pattern is no/],
  ["a lookahead, which RE2 does not have", p({ pattern: "(?=a)" }), /^p: its pattern is no/],
  ["a secret with a default", p({ secret: true, default: "a" }), /^p: a secret has no default/],
  ["required with a default", p({ required: true, default: "a" }), /^p: what has a default/],
  [
    "a name that is not there",
    file("{{cluster.name}}/a.yaml", "{{parameters.q}}"),
    /parameters has no q/,
  ],
  [
    "a condition with braces",
    { files: [{ ...good, when: "a}}{{/if}}{{#if b" }] },
    /TemplateInvalid|one expression|no a/,
  ],
  [
    "a path that leads out",
    file('a/{{cluster.name}}/{{default cluster.namespace ""}}/../../../b.yaml', "a: 1"),
    /must be a relative|leads out/,
  ],
  ["a path without the cluster", file("a/b.yaml", "a: 1"), /does not name the cluster/],
  [
    "two files with one path",
    { files: [good, good] },
    /two files are c\/sample-cluster\/cluster\.yaml/,
  ],
  [
    "output that is no YAML",
    file("{{cluster.name}}/a.yaml", "a: [\n"),
    /a\.yaml:\d: .*not valid YAML/,
  ],
  ["no Cluster", { files: minimal }, /there are 0 Clusters/],
  ["two Clusters", file("{{cluster.name}}/a.yaml", capiCluster), /there are 2 Clusters/],
  [
    "a Cluster of another name",
    { files: [{ ...good, content: capiCluster.replace("{{cluster.name}}", "x") }] },
    /is not named/,
  ],
  ["a file that is no YAML by its name", file("{{cluster.name}}/a.txt", "a"), /no file of YAML/],
  ["somebody's .sops.yaml", file("{{cluster.name}}/.sops.yaml", "a: 1"), /no file of YAML/],
  [
    "a secret in a path",
    {
      ...file("{{cluster.name}}/{{parameters.p}}.yaml", "a: 1"),
      parameters: { p: { type: "string", secret: true } },
    },
    /path: holds p/,
  ],
  [
    "a secret that nobody encrypts",
    {
      ...file("{{cluster.name}}/a.yaml", "a: {{quote parameters.p}}"),
      parameters: { p: { type: "string", secret: true } },
    },
    /no rule of \.sops\.yaml/,
  ],
  [
    "an identity that nobody encrypts",
    file("{{cluster.name}}/a.yaml", "{{yaml identity.secret}}"),
    /holds identity\.secret, and no rule/,
  ],
  [
    "an error in one branch only",
    {
      ...file("{{cluster.name}}/a.yaml", "{{#if parameters.p}}a: [{{/if}}\n"),
      parameters: { p: { type: "boolean", default: false } },
    },
    /not valid YAML/,
  ],
];
for (const [what, spec, why] of lints)
  test(`lint tells of ${what}`, async () => {
    const found = await lint(spec);
    assert.ok(
      found.some((line) => why.test(line)),
      found.join("\n"),
    );
  });

async function lint(spec: object): Promise<readonly string[]> {
  try {
    return await lintTemplate(template(spec), sopsYaml, chance());
  } catch (error) {
    return [String(error)];
  }
}

test("lint has nothing to say about templates/lab.yaml, and a condition may be a call", async () => {
  assert.deepEqual(await lintTemplate(await labTemplate(), sopsYaml, chance()), []);
  const when = {
    files: [
      good,
      { ...file("{{cluster.name}}/a.yaml", "a: 1").files[1], when: 'eq parameters.p "a"' },
    ],
  };
  const spec = { ...when, parameters: { p: { type: "string", enum: ["a", "b"], default: "b" } } };
  assert.deepEqual(await lint(spec), []);
  const paths = (value: string) => renderFiles(template(spec), inputOf({ p: value })).length;
  assert.deepEqual([paths("a"), paths("b")], [2, 1]);
});

test("the template that docs/cluster-templates.md begins with is one that lint accepts", async () => {
  const page = await readFile(new URL("../../docs/cluster-templates.md", import.meta.url), "utf8");
  const [, yaml = ""] = /```yaml\n(.*?)```/s.exec(page) ?? [];
  const [object] = parseManifests(yaml, "page");
  assert.ok(object);
  assert.deepEqual(await lintTemplate(readClusterTemplate(object, "page"), sopsYaml, chance()), []);
});
