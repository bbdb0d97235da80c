import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { parse } from "yaml";
import {
  createTopologyCluster,
  clusterInitialized,
  clusterKubeconfig,
} from "../../hack/lab/clusters.ts";
import { auditOf, type Audit } from "../../hack/lab/audit.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { conditionOf } from "../../pkg/api/index.ts";
import type { Code } from "../../pkg/errors/index.ts";
import { canonicalJson } from "../../pkg/json/index.ts";
import { connect, type KubeClient } from "../../pkg/kube/index.ts";
import { parseWorkloadKubeconfig } from "../../pkg/kubeconfig/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";
import { generateIdentity, type NewIdentity } from "../../pkg/sops/index.ts";
import { pushFiles } from "../harness/artifacts.ts";
import { configurationCodes, describes, seen } from "../harness/codes.ts";
import { encrypted } from "../harness/secrets.ts";
import {
  capitan,
  fleetHas,
  fleetReady,
  memberHas,
  memberOf,
  namespace,
  resources,
  retireClusters,
  sharedHub,
  sharedLab,
  until,
} from "../harness/index.ts";

let lab: LabFile;
let hub: KubeClient;
let manager: NewIdentity;
const names = ["cfg-eu", "cfg-us"] as const;
const clients = new Map<string, KubeClient>();

before(async () => {
  lab = await sharedLab();
  hub = await sharedHub();
  manager = generateIdentity(randomBytes);
  await apply("Secret", "cfg-manager", { stringData: { "manager.agekey": manager.identity } });
  const regions = { "cfg-eu": "eu", "cfg-us": "us" };
  for (const name of names) {
    const labels = { fleet: "cfg", "example.com/region": regions[name] };
    await createTopologyCluster(hub, { namespace, name }, { tier: "gold" }, { labels });
  }
  for (const name of names) {
    const kubeconfig = await clusterKubeconfig(hub, { namespace, name });
    await clusterInitialized(hub, { namespace, name });
    clients.set(name, connect(parseWorkloadKubeconfig(kubeconfig, name)));
  }
});
after(async () => {
  for (const client of clients.values()) await client.close();
  await retireClusters(hub, "cfg-");
  await hub.close();
});

const apply = (kind: "Secret" | "ConfigMap", name: string, more: object) =>
  hub.apply(
    kind === "Secret" ? resources.secret : resources.configMap,
    { apiVersion: "v1", kind, metadata: { namespace, name }, ...more },
    { manager: "test" },
  );

/** The source of the Fleet: templates, values and secrets for every cluster. */
async function sourceFiles(): Promise<Readonly<Record<string, string>>> {
  const values = (region: string) =>
    encrypted(`password: ${region}-password\n`, "x.yaml", [manager.recipient]);
  return {
    "config/namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: audited}\n",
    "config/app.yaml.hbs": `apiVersion: v1
kind: ConfigMap
metadata: {name: app, namespace: audited}
data:
  cluster: {{quote cluster.name}}
  region: {{quote (get cluster.labels "example.com/region")}}
  tier: {{quote cluster.topology.variables.tier}}
  version: {{quote cluster.version}}
  note: {{quote (default cluster.annotations.note "none")}}
  level: {{quote values.level}}
  owner: {{quote values.owner}}
  limit: {{quote values.limit}}
  alerts: "{{ $labels.instance }}"
`.replace('"{{ $labels.instance }}"', '"kept"'),
    "config/alert.yaml":
      'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: alert, namespace: audited}\ndata: {rule: "{{ $labels.instance }} is down"}\n',
    "config/login.yaml.hbs": `apiVersion: v1
kind: Secret
metadata: {name: login, namespace: audited}
stringData:
  password: {{quote values.password}}
`,
    "config/shared.sops.yaml": await encrypted(
      "apiVersion: v1\nkind: Secret\nmetadata:\n    name: shared\n    namespace: audited\nstringData:\n    token: for-all-of-them\n",
      "shared.sops.yaml",
      [manager.recipient],
    ),
    "values/eu.sops.yaml": await values("eu"),
    "values/us.sops.yaml": await values("us"),
  };
}

async function push(tag: string, change: Readonly<Record<string, string>> = {}): Promise<string> {
  const files = { ...(await sourceFiles()), ...change };
  return pushFiles(`oci://${lab.registry}/cfg/source:${tag}`, files);
}

function fleet(layer: object = {}): Promise<unknown> {
  const config = {
    name: "config",
    oci: { url: `oci://${lab.registry}/cfg/source`, ref: { tag: "stable" } },
    path: "./config",
    valuesFrom: [
      { kind: "ConfigMap", name: "cfg-defaults" },
      { kind: "Secret", name: "cfg-limits" },
    ],
    valuesFiles: ['values/{{get cluster.labels "example.com/region"}}.sops.yaml'],
    values: { level: "info" },
    decryption: { provider: "sops", secretRef: { name: "cfg-manager" } },
    ...layer,
  };
  const spec = { clusterSelector: { matchLabels: { fleet: "cfg" } }, layers: [config] };
  const metadata = { namespace, name: "cfg" };
  const object = { apiVersion: "capitan.dev/v1alpha1", kind: "Fleet", metadata, spec };
  return hub.apply(resources.fleet, object, { manager: "test" });
}

async function dataOf(cluster: string, name: string, kind: "ConfigMap" | "Secret" = "ConfigMap") {
  const resource = kind === "Secret" ? resources.secret : resources.configMap;
  const found = await clients.get(cluster)?.get(resource, { namespace: "audited", name });
  return (found?.["data"] ?? {}) as Readonly<Record<string, string>>;
}

const plain = (base64: string | undefined) => Buffer.from(base64 ?? "", "base64").toString();

test("one artifact, two clusters: each has its own configuration and its own decrypted Secrets", async () => {
  await apply("ConfigMap", "cfg-defaults", {
    data: { "values.yaml": "owner: platform\nlevel: debug\nlimit: 1\n" },
  });
  await apply("Secret", "cfg-limits", { stringData: { "values.yaml": "limit: ten\n" } });
  await push("stable");
  await fleet();
  await fleetReady(hub, "cfg");
  for (const [cluster, region] of [
    ["cfg-eu", "eu"],
    ["cfg-us", "us"],
  ] as const) {
    assert.deepEqual(await dataOf(cluster, "app"), {
      cluster,
      region,
      tier: "gold",
      version: "v1.36.3",
      note: "none",
      level: "info",
      owner: "platform",
      limit: "ten",
      alerts: "kept",
    });
    assert.deepEqual(await dataOf(cluster, "alert"), { rule: "{{ $labels.instance }} is down" });
    const login = await dataOf(cluster, "login", "Secret");
    assert.equal(plain(login["password"]), `${region}-password`);
    const shared = await dataOf(cluster, "shared", "Secret");
    assert.equal(plain(shared["token"]), "for-all-of-them");
  }
});

test("capitan render prints what is applied, byte for byte; Secrets only when asked", async () => {
  const audit = auditOf(lab.dir, "cfg-eu");
  const sent = (await audit.since(0)).filter(
    ({ userAgent, body }) => userAgent === "capitan-controller" && body !== undefined,
  );
  const bodies = new Map(sent.map(({ resource, name, body }) => [`${resource}/${name}`, body]));
  const args = ["render", "fleet", "cfg", "--cluster", "cfg-eu"];
  const { stdout, code, stderr } = await capitan([...args, "-o", "json", "--show-secrets"]);
  assert.equal(code, 0, stderr);
  const objects = JSON.parse(stdout) as readonly KubeObject[];
  const rendered = objects.filter(({ metadata }) => metadata.namespace === "audited");
  assert.equal(rendered.length, 4);
  for (const object of rendered) {
    const key = `${object.kind.toLowerCase()}s/${object.metadata.name}`;
    assert.equal(canonicalJson(object), canonicalJson(bodies.get(key)), key);
  }
  const masked = await capitan(args);
  assert.equal(masked.code, 0);
  assert.ok(!masked.stdout.includes(Buffer.from("eu-password").toString("base64")));
  assert.ok(masked.stdout.includes("(masked)"));
  const yaml = await capitan([...args, "--show-secrets"]);
  const documents = yaml.stdout.split(/^---\n/m).filter((text) => text !== "");
  assert.deepEqual(
    documents.map((text) => canonicalJson(parse(text))),
    objects.map((object) => canonicalJson(object)),
  );
});

test("capitan render without a hub, from files alone, prints the same", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "capitan-render-"));
  t.after(() => rm(dir, { recursive: true }));
  const { stdout } = await capitan(["get", "fleets", "-o", "json"]);
  const all = JSON.parse(stdout) as readonly KubeObject[];
  const inputs = [
    all.find(({ metadata }) => metadata.name === "cfg"),
    await hub.get(resources.cluster, { namespace, name: "cfg-eu" }),
    await hub.get(resources.configMap, { namespace, name: "cfg-defaults" }),
    await hub.get(resources.secret, { namespace, name: "cfg-limits" }),
    await hub.get(resources.secret, { namespace, name: "cfg-manager" }),
  ];
  const documents = inputs.map((object) => `---\n${JSON.stringify(object)}\n`);
  await writeFile(join(dir, "inputs.yaml"), documents.join(""));
  for (const [path, text] of Object.entries(await sourceFiles())) {
    await mkdir(join(dir, "source", dirname(path)), { recursive: true });
    await writeFile(join(dir, "source", path), text);
  }
  const args = ["--cluster", "cfg-eu", "-o", "json", "--show-secrets"];
  const files = ["-f", join(dir, "inputs.yaml"), "--source", `config=${join(dir, "source")}`];
  const offline = await capitan(["render", "fleet", "cfg", ...args, ...files], "/nonexistent");
  assert.equal(offline.code, 0, offline.stderr);
  const online = await capitan(["render", "fleet", "cfg", ...args]);
  assert.equal(offline.stdout, online.stdout);
  const layer = ["render", "layer", "config", "--fleet", "cfg", ...args, ...files];
  assert.equal((await capitan(layer, "/nonexistent")).stdout, online.stdout);
  const nobody = await capitan(["render", "fleet", "cfg", "--cluster", "cfg-no", ...files]);
  assert.match(nobody.stderr, /NotFound: Fleet cfg does not select a Cluster named cfg-no/);
});

/** What the controller writes on each of the two clusters because of a change, inventory left out, until `done` holds. */
async function touchedBy(
  change: () => Promise<unknown>,
  done: () => Promise<boolean>,
): Promise<readonly string[]> {
  const marks = await Promise.all(
    names.map(async (name): Promise<readonly [string, Audit, number]> => {
      const audit = auditOf(lab.dir, name);
      return [name, audit, await audit.mark()];
    }),
  );
  await change();
  await until(done, { deadlineMs: 30_000, what: "the change to arrive" });
  // Both members have been looked at since, so that nothing more is under way.
  for (const name of names) {
    const ran = await capitan(["reconcile", "member", name, "--timeout", "30s"]);
    assert.equal(ran.code, 0, ran.stderr);
  }
  const touched = await Promise.all(
    marks.map(async ([name, audit, mark]) =>
      (await audit.since(mark))
        .filter(({ verb }) => ["create", "update", "patch", "delete"].includes(verb))
        .filter((entry) => entry.userAgent === "capitan-controller" && entry.resource !== "leases")
        .filter((entry) => entry.namespace !== "capitan-system")
        .map((entry) => `${name} ${entry.resource}/${entry.name}`),
    ),
  );
  return touched.flat().sort();
}

const shows = (cluster: string, key: string, value: string) => async () =>
  (await dataOf(cluster, "app"))[key] === value;
const patchCluster = (name: string, patch: object) =>
  hub.mergePatch(resources.cluster, { namespace, name }, patch);

test("every input fact changed once: only the clusters that it touches are written to", async () => {
  const eu = ["cfg-eu configmaps/app"];
  const both = [...eu, "cfg-us configmaps/app"];
  const cases: readonly (readonly [
    what: string,
    change: () => Promise<unknown>,
    done: () => Promise<boolean>,
    touched: readonly string[],
  ])[] = [
    [
      "an annotation of a Cluster",
      () => patchCluster("cfg-eu", { metadata: { annotations: { note: "hello" } } }),
      shows("cfg-eu", "note", "hello"),
      eu,
    ],
    [
      "a topology variable",
      () =>
        patchCluster("cfg-eu", {
          spec: { topology: { variables: [{ name: "tier", value: "silver" }] } },
        }),
      shows("cfg-eu", "tier", "silver"),
      eu,
    ],
    [
      "a ConfigMap with values",
      () => apply("ConfigMap", "cfg-defaults", { data: { "values.yaml": "owner: somebody\n" } }),
      shows("cfg-us", "owner", "somebody"),
      both,
    ],
    [
      "a Secret with values",
      () => apply("Secret", "cfg-limits", { stringData: { "values.yaml": "limit: eleven\n" } }),
      shows("cfg-us", "limit", "eleven"),
      both,
    ],
    [
      "values in the Fleet",
      () => fleet({ values: { level: "warn" } }),
      shows("cfg-us", "level", "warn"),
      both,
    ],
    [
      "a values file of one region",
      async () => {
        const text = "password: new-password\n";
        await push("stable", {
          "values/eu.sops.yaml": await encrypted(text, "x.yaml", [manager.recipient]),
        });
        await capitan(["reconcile", "fleet", "cfg", "--timeout", "30s"]);
      },
      async () => plain((await dataOf("cfg-eu", "login", "Secret"))["password"]) === "new-password",
      ["cfg-eu secrets/login"],
    ],
    [
      "a label that chooses other values",
      () => patchCluster("cfg-eu", { metadata: { labels: { "example.com/region": "us" } } }),
      shows("cfg-eu", "region", "us"),
      ["cfg-eu configmaps/app", "cfg-eu secrets/login"],
    ],
    [
      "a label that nothing reads",
      () => patchCluster("cfg-eu", { metadata: { labels: { other: "x" } } }),
      () => Promise.resolve(true),
      [],
    ],
  ];
  for (const [what, change, done, touched] of cases)
    assert.deepEqual(await touchedBy(change, done), touched, what);
});

/** What breaks the Fleet as a whole, and how. */
const broken: readonly (readonly [code: Code, make: () => Promise<unknown>])[] = [
  ["PlaintextSecret", () => push("stable", { "config/x.yaml": cleartext })],
  ["PathNotFound", () => fleet({ path: "./nowhere" })],
  ["TemplateInvalid", () => push("stable", { "config/bad.yaml.hbs": "a: {{#if x}}\n" })],
  [
    "TemplateTooLarge",
    () => push("stable", { "config/bad.yaml.hbs": randomBytes(800_000).toString("hex") }),
  ],
  ["InputInvalid", () => apply("ConfigMap", "cfg-defaults", { data: { "values.yaml": "- a\n" } })],
  ["TemplateInvalid", () => push("stable", { "config/notes.hbs": "x" })],
  [
    "SopsFileInvalid",
    async () => {
      const file = await encrypted(cleartext, "x.yaml", [manager.recipient]);
      const first =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: first, namespace: audited}\n";
      await push("stable", { "config/b.yaml": `${first}---\n${file}` });
    },
  ],
  ["ValuesNotFound", () => fleet({ valuesFrom: [{ kind: "ConfigMap", name: "cfg-none" }] })],
  ["DecryptionMissing", () => fleet({ decryption: undefined, valuesFiles: undefined })],
  ["PatchInvalid", () => fleet({ patches: [{ target: { kind: "Secret" }, patch: "- op: fly" }] })],
  ["SopsKeyMissing", () => secretsOf(generateIdentity(randomBytes).identity)],
  ["IdentityInvalid", () => secretsOf("AGE-SECRET-KEY-1NONSENSE")],
  ["SopsTampered", tampered],
];

const cleartext =
  "apiVersion: v1\nkind: Secret\nmetadata: {name: x, namespace: audited}\nstringData: {a: b}\n";
const secretsOf = (identity: string) =>
  apply("Secret", "cfg-manager", { stringData: { "manager.agekey": identity } });

/** A value of an encrypted file that is another one's. */
async function tampered(): Promise<void> {
  const text = `${cleartext.replace("stringData: {a: b}", "stringData:")}    a: one\n    b: two\n`;
  const file = await encrypted(text, "x.yaml", [manager.recipient]);
  const [a, b] = [...file.matchAll(/ENC\[[^\]]*\]/g)].map(([whole]) => whole);
  const swapped = file
    .replace(a ?? "", "#")
    .replace(b ?? "", a ?? "")
    .replace("#", b ?? "");
  await push("stable", { "config/x.yaml": swapped });
}

test("S11 what breaks the source for all: the Fleet says so and what to do, and the last good state stays", async () => {
  for (const [code, make] of broken) {
    await make();
    await capitan(["reconcile", "fleet", "cfg", "--no-wait"]);
    await fleetHas(hub, "cfg", code);
    await describes(["fleet", "cfg"], code);
    assert.equal((await dataOf("cfg-us", "app"))["region"], "us");
    await secretsOf(manager.identity);
    await apply("ConfigMap", "cfg-defaults", { data: { "values.yaml": "owner: somebody\n" } });
    await push("stable");
    await fleet();
    const ran = await capitan(["reconcile", "fleet", "cfg", "--timeout", "60s"]);
    assert.equal(ran.code, 0, `${code}: ${ran.stderr}`);
  }
});

test("what breaks one cluster alone: its member says so, the other goes on", async () => {
  const cases: readonly (readonly [code: Code, make: () => Promise<unknown>])[] = [
    ["PathUnsafe", () => fleet({ path: './{{get cluster.annotations "dir"}}' })],
    [
      "PatchFailed",
      () =>
        fleet({
          patches: [
            {
              target: { kind: "ConfigMap", name: "app" },
              patch: "- {op: test, path: /data/cluster, value: cfg-us}",
            },
          ],
        }),
    ],
  ];
  await patchCluster("cfg-eu", { metadata: { annotations: { dir: "../x" } } });
  await patchCluster("cfg-us", { metadata: { annotations: { dir: "config" } } });
  for (const [code, make] of cases) {
    await make();
    await memberHas(hub, "cfg", "cfg-eu", code);
    await describes(["member", "cfg-eu"], code);
    const other = await memberOf(hub, "cfg", "cfg-us");
    await until(
      async () =>
        conditionOf((await memberOf(hub, "cfg", "cfg-us"))?.status?.conditions, "Ready")?.status ===
        "True",
      { deadlineMs: 20_000, what: `${other?.metadata.name ?? ""} to stay ready` },
    );
    await fleet();
    await fleetReady(hub, "cfg");
  }
});

test("a fact that one cluster lacks stops that cluster alone, and the message names file, line and what there is", async () => {
  await patchCluster("cfg-eu", { metadata: { labels: { "example.com/region": null } } });
  const member = await memberHas(hub, "cfg", "cfg-eu", "InputMissing");
  await describes(["member", "cfg-eu"], "InputMissing");
  const ready = member.status?.conditions?.find(({ type }) => type === "Ready");
  assert.match(ready?.message ?? "", /example\.com\/region/);
  assert.equal((await dataOf("cfg-us", "app"))["cluster"], "cfg-us");
  await patchCluster("cfg-eu", { metadata: { labels: { "example.com/region": "eu" } } });
  await fleetReady(hub, "cfg");
});

test("every error code about configuration was made true above", () => {
  const missing = configurationCodes.filter((code) => !seen.has(code));
  assert.deepEqual(missing, []);
});
