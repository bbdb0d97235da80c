import assert from "node:assert/strict";
import { glob, readFile } from "node:fs/promises";
import { dirname, join, normalize, relative } from "node:path";
import { test } from "node:test";
import { root } from "../hack/lab/paths.ts";

/** Which rooms of pkg a room may import. An arrow may only point down. */
const below: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  json: [],
  object: ["errors", "json"],
  drift: ["json", "object"],
  api: ["json", "object"],
  kubeconfig: ["errors", "json", "object"],
  oci: ["errors", "json"],
  distribution: ["errors", "json", "oci"],
  gitdata: ["errors", "json", "oci"],
  gitobjects: ["errors", "gitdata", "oci"],
  inventory: ["errors", "json", "object"],
  template: ["errors", "json", "object", "oci"],
  patch: ["errors", "json", "object"],
  sops: ["errors", "json"],
  rotation: ["errors", "json", "sops"],
  secretrotation: ["errors", "json", "object", "sops"],
  content: ["errors", "json", "object", "oci", "sops"],
  clustertemplate: ["api", "errors", "json", "object", "sops", "template"],
  engine: ["api", "drift", "errors", "inventory", "json", "object", "oci", "patch"],
  cluster: ["api", "template"],
  fleet: ["api", "cluster", "engine", "errors", "inventory", "json", "object"],
  status: ["api", "cluster", "engine", "errors", "fleet", "object", "rotation", "secretrotation"],
  pace: ["engine", "errors"],
  capi: ["cluster", "errors", "json", "object", "template"],
  install: ["api", "object"],
  receiver: ["api", "errors", "json", "object", "oci", "status"],
  kube: ["errors", "json", "kubeconfig", "object"],
  disk: [],
  registry: ["disk", "distribution", "errors", "json", "oci"],
  git: ["disk", "errors", "gitdata", "gitobjects", "json", "oci"],
  workload: [
    "drift",
    "engine",
    "errors",
    "inventory",
    "json",
    "kube",
    "kubeconfig",
    "object",
    "pace",
  ],
  hub: ["api", "capi", "cluster", "errors", "fleet", "json", "kube", "object"],
  notify: ["api", "errors"],
  render: ["errors", "json", "template"],
  wake: ["api", "controllers", "json", "kube", "object", "pace", "receiver"],
  server: [],
  log: [],
  controllers: [
    "api",
    "capi",
    "cluster",
    "content",
    "drift",
    "engine",
    "errors",
    "fleet",
    "gitdata",
    "inventory",
    "json",
    "object",
    "oci",
    "pace",
    "rotation",
    "secretrotation",
    "sops",
    "status",
    "template",
  ],
};

/** Rooms without I/O, clock, randomness and environment. */
const pure = new Set([
  "errors",
  "json",
  "object",
  "drift",
  "api",
  "kubeconfig",
  "distribution",
  "oci",
  "gitdata",
  "gitobjects",
  "inventory",
  "template",
  "patch",
  "sops",
  "rotation",
  "secretrotation",
  "content",
  "clustertemplate",
  "engine",
  "cluster",
  "fleet",
  "status",
  "pace",
  "capi",
  "install",
  "receiver",
]);
const impure = [
  /from "node:(?:fs|net|http|https|http2|tls|child_process|dns|os|timers)/,
  /from "undici"/,
  /\bfetch\(/,
  /\bprocess\.env\b/,
  /\bDate\.now\(/,
  /\bnew Date\(\)/,
  /\bMath\.random\(/,
  /\bperformance\.now\(/,
  /\bsetTimeout\(/,
];

/** Rooms that read what a tenant of the hub has written. */
const tenantsInput =
  /^(?:pkg\/(?:controllers|distribution|git|gitdata|gitobjects|kubeconfig|oci|registry|receiver|wake|workload)|cmd\/controller|cmd\/receiver)\//;

type Source = { readonly file: string; readonly text: string; readonly imports: readonly string[] };

async function sources(): Promise<readonly Source[]> {
  const files = await Array.fromAsync(glob("{cmd,pkg,hack,test}/**/*.ts", { cwd: root }));
  return Promise.all(
    files.map(async (file) => {
      const text = await readFile(join(root, file), "utf8");
      const imports = [...text.matchAll(/from "(\.[^"]+)"/g)].map(([, path = ""]) =>
        normalize(join(dirname(file), path)),
      );
      return { file, text, imports };
    }),
  );
}

const roomOf = (file: string) => (file.startsWith("pkg/") ? (file.split("/")[1] ?? "") : "");

/** What docs/cli.md is written from. */
const commandTree = "cmd/capitan/commands.ts";

function breachesOf(file: string, target: string): readonly string[] {
  const [from, to] = [roomOf(file), roomOf(target)];
  const rules: readonly [boolean, string][] = [
    [from !== "" && !target.startsWith("pkg/"), "pkg imports pkg only"],
    [file.startsWith("cmd/") && !/^(?:cmd|pkg)\//.test(target), "cmd imports cmd and pkg only"],
    [
      !file.startsWith("cmd/") && target.startsWith("cmd/") && target !== commandTree,
      `nothing imports cmd, but the tree of commands`,
    ],
    [
      to !== "" && to !== from && target !== `pkg/${to}/index.ts`,
      `outsiders import pkg/${to}/index.ts`,
    ],
    [
      from !== "" && to !== "" && to !== from && !(below[from] ?? []).includes(to),
      `${to} is not below ${from}`,
    ],
  ];
  return rules.filter(([broken]) => broken).map(([, rule]) => `imports ${target}: ${rule}`);
}

test("imports point down, and only at the front door of a room", async () => {
  const wrong = (await sources()).flatMap(({ file, imports }) =>
    imports.flatMap((target) => breachesOf(file, target)).map((why) => `${file}: ${why}`),
  );
  assert.deepEqual(wrong, []);
});

test("pure rooms have no I/O, clock, randomness or environment", async () => {
  const wrong: string[] = [];
  for (const { file, text } of await sources()) {
    if (!pure.has(roomOf(file)) || file.endsWith(".test.ts")) continue;
    for (const pattern of impure) if (pattern.test(text)) wrong.push(`${file}: ${pattern.source}`);
  }
  assert.deepEqual(wrong, []);
});

test("O8 G6 nothing that reads tenants' docker configs, kubeconfigs or Git URLs can run a program", async () => {
  const wrong = (await sources()).filter(
    ({ file, text }) =>
      tenantsInput.test(file) &&
      !file.endsWith(".test.ts") &&
      /["']node:child_process["']/.test(text),
  );
  assert.deepEqual(
    wrong.map(({ file }) => file),
    [],
  );
});

test("at least half of pkg is pure", async () => {
  const lines = { pure: 0, all: 0 };
  for (const { file, text } of await sources()) {
    if (roomOf(file) === "" || file.endsWith(".test.ts")) continue;
    const count = text.split("\n").length;
    lines.all += count;
    if (pure.has(roomOf(file))) lines.pure += count;
  }
  assert.ok(lines.pure * 2 >= lines.all, `${lines.pure} of ${lines.all} lines`);
});

test("each room has a front door that begins with one sentence and exports at most 20 values", async () => {
  for (const { file, text } of await sources()) {
    if (!/^pkg\/[^/]+\/index\.ts$/.test(file)) continue;
    assert.match(
      text,
      /^\/\*\* [A-Z][^\n]+\. .*\*\/|^\/\*\* [A-Z][^\n]+\. ?\*\//,
      `${relative(root, file)} does not begin with its sentence`,
    );
    const values = [...text.matchAll(/export \{([^}]*)\}/g)].flatMap(([, names = ""]) =>
      names
        .split(",")
        .map((n) => n.trim())
        .filter((n) => n !== "" && !n.startsWith("type ")),
    );
    assert.ok(values.length <= 20, `${file} exports ${values.length} values`);
  }
});

test("no room is missing from the map of arrows", async () => {
  const rooms = new Set(
    (await sources()).map(({ file }) => roomOf(file)).filter((room) => room !== ""),
  );
  assert.deepEqual(
    [...rooms].filter((room) => below[room] === undefined),
    [],
  );
});
