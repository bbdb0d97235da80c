import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { clientOf } from "../../hack/lab/apiserver.ts";
import { startController } from "../../hack/lab/controller.ts";
import { entriesBelow, etcdPortOf, prefixOf } from "../../hack/lab/etcd.ts";
import { startLab, stopLab } from "../../hack/lab/lab.ts";
import { kill } from "../../hack/lab/processes.ts";
import { silent } from "../../hack/lab/progress.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { conditionOf } from "../../pkg/api/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { generateIdentity } from "../../pkg/sops/index.ts";
import { pushFiles } from "../harness/artifacts.ts";
import {
  applyFleet,
  capitan,
  fleetReady,
  memberOf,
  namespace,
  newCluster,
  resources,
  until,
} from "../harness/index.ts";
import { encrypted } from "../harness/secrets.ts";

/** One value that goes every way that a secret can go, and is looked for everywhere it must not be. */
const canary = `canary-${randomBytes(12).toString("hex")}: "with/odd+chars"`;
const cluster = "canary-1";
const manager = generateIdentity(randomBytes);
/** Secrets of the hub that are meant to hold it, or the key to it. */
const meant = new Set(["canary-values", "canary-manager"]);

/** Its controller is killed here, and its etcd is searched: nobody else may need this hub. */
let lab: LabFile;
let hub: KubeClient;
let workload: KubeClient;

before(async () => {
  const dir = await mkdtemp(join(tmpdir(), "capitan-canary-"));
  lab = await startLab({ dir, progress: silent, audit: true });
  hub = await clientOf(lab.hubKubeconfig);
  await startController(lab);
  workload = (await newCluster(hub, cluster)).client;
});
after(async () => {
  await workload.close();
  await hub.close();
  await stopLab(lab.dir);
});

/** How the value may look when somebody has written it on. Beginnings count: a cut message leaks too. */
function formsOf(text: string): readonly string[] {
  const bytes = Buffer.from(text);
  const all = [
    text,
    bytes.toString("base64"),
    bytes.toString("base64url"),
    bytes.toString("hex"),
    encodeURIComponent(text),
    JSON.stringify(text).slice(1, -1),
  ];
  return [...new Set(all.flatMap((form) => [form, form.slice(0, 20)]))];
}

const quoted = JSON.stringify(canary);
const secretOf = (name: string, value: string) =>
  `apiVersion: v1\nkind: Secret\nmetadata:\n    name: ${name}\n    namespace: default\nstringData:\n    word: ${value}\n`;

async function pushAll(tag: string, more: Readonly<Record<string, string>> = {}): Promise<void> {
  await pushFiles(`oci://${lab.registry}/canary/source:${tag}`, {
    "config/opened.sops.yaml": await encrypted(secretOf("canary-opened", quoted), "x.yaml", [
      manager.recipient,
    ]),
    "config/made.yaml.hbs": secretOf("canary-made", "{{quote values.fromFile}}"),
    "config/given.yaml.hbs": secretOf("canary-given", "{{quote values.fromSecret}}"),
    "values.sops.yaml": await encrypted(`fromFile: ${quoted}\n`, "x.yaml", [manager.recipient]),
    ...more,
  });
}

const layer = (tag: string, more: object = {}) => ({
  name: "l",
  oci: { url: `oci://${lab.registry}/canary/source`, ref: { tag } },
  path: "./config",
  valuesFrom: [{ kind: "Secret", name: "canary-values" }],
  valuesFiles: ["values.sops.yaml"],
  decryption: { provider: "sops", secretRef: { name: "canary-manager" } },
  ...more,
});

const hubSecret = (name: string, stringData: object) =>
  hub.apply(
    resources.secret,
    { apiVersion: "v1", kind: "Secret", metadata: { namespace, name }, stringData },
    { manager: "test" },
  );

/** Waits until the Fleet's member is not Ready. */
async function breaks(fleet: string): Promise<void> {
  await until(
    async () => {
      const member = await memberOf(hub, fleet, cluster);
      return conditionOf(member?.status?.conditions, "Ready")?.status === "False";
    },
    { deadlineMs: 30_000, what: `${fleet} to fail` },
  );
}

/** Everything that people and other programs can read, as one text for each place. */
async function places(): Promise<readonly (readonly [place: string, text: string])[]> {
  const commands = [
    ["get", "members", "-o", "yaml"],
    ["get", "fleets", "-o", "yaml"],
    ["get", "revisions", "-o", "yaml"],
    ["get", "recipients"],
    ["describe", "member", cluster],
    ["tree", "member", cluster],
    ["events"],
    ["check"],
    ["diff", "fleet", "canary"],
    ["diff", "fleet", "canary", "-o", "json"],
    ["plan", "fleet", "canary"],
    ["render", "fleet", "canary", "--cluster", cluster],
    ["render", "fleet", "canary-unquoted", "--cluster", cluster],
    ["trace", "Secret/default/canary-made", "--cluster", cluster],
  ];
  const said: (readonly [string, string])[] = [];
  for (const args of commands) {
    const { stdout, stderr } = await capitan(args, lab.hubKubeconfig);
    said.push([`capitan ${args.join(" ")}`, stdout + stderr]);
  }
  const metrics = await fetch(`http://127.0.0.1:${lab.ports.controllerMetrics}/metrics`);
  const inventory = await workload.list(resources.configMap, { namespace: "capitan-system" });
  const entries = await entriesBelow(etcdPortOf(lab, "hub"), prefixOf("hub"));
  const stored = entries.flatMap(({ key, value }) => {
    const name = Buffer.from(key, "base64").toString();
    const isMeant = name.includes("/secrets/") && meant.has(name.split("/").at(-1) ?? "");
    return isMeant ? [] : [Buffer.from(value, "base64").toString("latin1")];
  });
  return [
    ...said,
    ["metrics", await metrics.text()],
    ["inventory", JSON.stringify(inventory.items)],
    ["the hub's etcd", stored.join("\n")],
    ["the cache on disk", await textIn(join(lab.dir, "artifacts"))],
    ["logs", await textIn(join(lab.dir, "log"))],
  ];
}

async function textIn(dir: string): Promise<string> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const texts = files.map((file) => readFile(join(file.parentPath, file.name), "latin1"));
  return (await Promise.all(texts)).join("\n");
}

async function assertNowhere(): Promise<void> {
  for (const [place, text] of await places()) {
    // Nothing to do is said by nothing at all.
    const mayBeEmpty = /^capitan (diff|get recipients)/.test(place);
    assert.ok(mayBeEmpty || text.length > 20, `${place} is empty`);
    for (const form of formsOf(canary))
      assert.ok(!text.includes(form), `${place} has ${JSON.stringify(form)}`);
  }
}

test("L1 L3 L4 a secret on every way into a cluster arrives there, and is in no status, event, log, metric, diff, preview, inventory, nor elsewhere in the hub's etcd or on its disk", async () => {
  await hubSecret("canary-manager", { "manager.agekey": manager.identity });
  await hubSecret("canary-values", { "values.yaml": `fromSecret: ${quoted}\n` });
  await pushAll("v1");
  await applyFleet(hub, "canary", cluster, [layer("v1")]);
  await fleetReady(hub, "canary");
  for (const name of ["canary-opened", "canary-made", "canary-given"]) {
    const found = await workload.get(resources.secret, { namespace: "default", name });
    const data = found?.["data"] as { word?: string } | undefined;
    assert.equal(Buffer.from(data?.word ?? "", "base64").toString(), canary, name);
    assert.equal(
      found?.metadata.annotations?.["kubectl.kubernetes.io/last-applied-configuration"],
      undefined,
    );
  }
  // Everything that can go wrong where the value is near.
  await pushAll("unquoted", {
    "config/made.yaml.hbs": secretOf("canary-u", "{{values.fromFile}}"),
  });
  await pushAll("missing", {
    "config/made.yaml.hbs": secretOf("canary-m", "{{quote values.fromFile.x}}"),
  });
  await pushAll("shape", {
    "config/made.yaml.hbs": `${secretOf("canary-s", "{{quote values.fromFile}}")}    bad: [{{quote values.fromFile}}\n`,
  });
  const test = "- {op: test, path: /data/word, value: other}";
  const broken = {
    unquoted: layer("unquoted"),
    missing: layer("missing"),
    shape: layer("shape"),
    patch: layer("v1", {
      patches: [{ target: { kind: "Secret", name: "canary-made" }, patch: test }],
    }),
  };
  for (const [name, one] of Object.entries(broken)) {
    await applyFleet(hub, `canary-${name}`, cluster, [one]);
    await breaks(`canary-${name}`);
  }
  await hubSecret("canary-values", { "values.yaml": `fromSecret: ${quoted}\n  bad: indent\n` });
  await breaks("canary");
  await assertNowhere();
  await hubSecret("canary-values", { "values.yaml": `fromSecret: ${quoted}\n` });
  for (const name of Object.keys(broken))
    await applyFleet(hub, `canary-${name}`, "none", [layer("v1")]);
  await fleetReady(hub, "canary");
});

test("S10 the controller is killed again and again while it opens secrets: no plaintext is left on its disk", async () => {
  for (let i = 0; i < 5; i++) {
    const given = `fromSecret: ${quoted}\nturn: ${i}\n`;
    await hubSecret("canary-values", { "values.yaml": given });
    await kill(lab.dir, "controller");
    await startController(lab);
  }
  await fleetReady(hub, "canary");
  await assertNowhere();
});
