// The commands that reach workload clusters, with the controller at work.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { clusterKubeconfig } from "../../hack/lab/clusters.ts";
import { kubeconfigOf, newAuthority } from "../../hack/lab/pki.ts";
import { conditionOf } from "../../pkg/api/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";
import { auditOf, writes } from "../../hack/lab/audit.ts";
import { cliOf } from "../harness/cli.ts";
import {
  applyFleet,
  configMap,
  deployment,
  fleetHas,
  fleetOf,
  fleetReady,
  inline,
  memberHas,
  memberOf,
  namespace,
  newCluster,
  resources,
  sharedHub,
  sharedLab,
  until,
} from "../harness/index.ts";

let hub: KubeClient;
let workload: KubeClient;
let cli: ReturnType<typeof cliOf>;

before(async () => {
  hub = await sharedHub();
  cli = cliOf((await sharedLab()).hubKubeconfig);
  workload = (await newCluster(hub, "cli-1")).client;
});
after(async () => {
  await workload.close();
  await hub.close();
});

const json = async (...args: string[]): Promise<unknown> =>
  JSON.parse((await cli([...args, "-o", "json"])).stdout);
const inDefault = (name: string) => ({ namespace: "default", name });

/** A Cluster without infrastructure; with a kubeconfig it counts as initialized. */
async function fakeCluster(name: string, labels: object, kubeconfig?: string): Promise<void> {
  const ref = (apiGroup: string, kind: string) => ({ apiGroup, kind, name: `${name}-x` });
  const object = {
    apiVersion: "cluster.x-k8s.io/v1beta2",
    kind: "Cluster",
    metadata: { namespace, name, labels },
    spec: {
      infrastructureRef: ref("infrastructure.cluster.x-k8s.io", "LabCluster"),
      controlPlaneRef: ref("controlplane.cluster.x-k8s.io", "LabControlPlane"),
    },
  };
  await hub.apply(resources.cluster, object as unknown as KubeObject, { manager: "test" });
  if (kubeconfig === undefined) return;
  const initialization = { controlPlaneInitialized: true, infrastructureProvisioned: true };
  const status = { status: { initialization } };
  await hub.mergePatch(resources.cluster, object.metadata, status, { subresource: "status" });
  const secret = {
    apiVersion: "v1",
    kind: "Secret",
    type: "cluster.x-k8s.io/secret",
    metadata: {
      namespace,
      name: `${name}-kubeconfig`,
      labels: { "cluster.x-k8s.io/cluster-name": name },
    },
    data: { value: Buffer.from(kubeconfig).toString("base64") },
  };
  await hub.apply(resources.secret, secret, { manager: "test" });
}

type Finding = { about: string; ok: boolean; message: string; code?: string; remedy?: string };

test("check: a kubeconfig that is broken, expired, refused or for another server, each with its code", async () => {
  const good = JSON.parse(await clusterKubeconfig(hub, { namespace, name: "cli-1" })) as {
    clusters: { cluster: { server: string; "certificate-authority-data": string } }[];
  };
  const { server = "", "certificate-authority-data": ca = "" } = good.clusters[0]?.cluster ?? {};
  const pem = Buffer.from(ca, "base64").toString();
  const authority = await newAuthority("somebody");
  const validMs = -60_000;
  const identity = await authority.issue({ subject: "CN=admin", use: "client", validMs });
  const labels = { cluster: "cli-broken" };
  await fakeCluster("cli-broken", labels, "hello: [");
  await fakeCluster("cli-expired", labels, kubeconfigOf(server, pem, { identity }));
  await fakeCluster("cli-denied", labels, kubeconfigOf(server, pem, { token: "nonsense" }));
  await fakeCluster("cli-other", labels, kubeconfigOf(server, authority.cert, { token: "t" }));
  const all = (await json("check", "-n", namespace)) as Finding[];
  const about = (name: string) => all.find((one) => one.about === name);
  const codeOf = (name: string) => about(`cluster fleet/${name}`)?.code;
  assert.deepEqual(["cli-broken", "cli-expired", "cli-denied", "cli-other"].map(codeOf), [
    "KubeconfigInvalid",
    "CredentialsExpired",
    "CredentialsRejected",
    "ServerIdentityRefused",
  ]);
  assert.match(
    about("cluster fleet/cli-expired")?.message ?? "",
    /^Secret fleet\/cli-expired-kubeconfig: its client certificate expired at 20/,
  );
  assert.match(
    about("cluster fleet/cli-1")?.message ?? "",
    /^Kubernetes v1\.\d+\.\d+, \d Fleets?, /,
  );
  assert.equal(about("controller")?.ok, true);
});

test("check -l: the clusters with these labels and what is on them, and of Fleets and other clusters nothing", async () => {
  await applyFleet(hub, "cli-ill", "cli-1", [inline("l", [configMap("cli-ill")])]);
  await memberHas(hub, "cli-ill", "cli-1", "ReconciliationSucceeded");
  const well = await cli(["check", "-l", "cluster=cli-1", "-n", namespace]);
  const own =
    /^✔ (hub|Capitan|Cluster API|controller|cluster fleet\/cli-1|FleetMember fleet\/\S+-cli-1-[0-9a-f]{8}): /;
  for (const line of well.stdout.trimEnd().split("\n")) assert.match(line, own);
  assert.match(well.stdout, /FleetMember fleet\/cli-ill-cli-1-/);
  assert.equal(well.code, 0, well.stdout);
  await applyFleet(hub, "cli-ill", "cli-1", [
    inline("l", [{ ...configMap("x"), kind: "Nothing" }]),
  ]);
  await memberHas(hub, "cli-ill", "cli-1", "UnknownKind");
  const ill = await cli(["check", "-l", "cluster in (cli-1)"]);
  assert.match(
    ill.stdout,
    /✗ FleetMember fleet\/cli-ill-cli-1-[0-9a-f]{8}: UnknownKind: .*\n {2}→ /,
  );
  assert.equal(ill.code, 1);
  const others = await cli(["check", "-l", "cluster=cli-denied"]);
  assert.doesNotMatch(others.stdout, /cli-ill|cli-1/);
});

test("check: a Flux whose Deployment is not ready fails with that Deployment's name, and nothing else of the cluster", async () => {
  const annotations = { "lab.capitan.dev/stand-in": "off" };
  await hub.mergePatch(
    resources.cluster,
    { namespace, name: "cli-1" },
    { metadata: { annotations } },
  );
  const about = "cluster fleet/cli-1: Flux";
  const part = deployment("cli-flux") as KubeObject;
  const labels = { "app.kubernetes.io/part-of": "flux" };
  const flux = { ...part, metadata: { ...part.metadata, labels } };
  await workload.apply(resources.deployment, flux, { manager: "test" });
  const { code, stdout } = await cli(["check", "-n", namespace]);
  assert.equal(code, 1);
  assert.match(
    stdout,
    new RegExp(`✗ ${about}: HealthFailed: Deployment/default/cli-flux: .*\\n  → `),
  );
  assert.match(stdout, /✔ cluster fleet\/cli-1: Kubernetes/);
  const live = await workload.get(resources.deployment, inDefault("cli-flux"));
  assert.ok(live !== undefined);
  await workload.delete(resources.deployment, live);
  const back = { "lab.capitan.dev/stand-in": null };
  await hub.mergePatch(
    resources.cluster,
    { namespace, name: "cli-1" },
    { metadata: { annotations: back } },
  );
});

test("tree: created, adopted, not applied, and a layer that leaves", async () => {
  await workload.apply(
    resources.configMap,
    configMap("cli-theirs", { theirs: "1" }) as KubeObject,
    {
      manager: "kubectl",
    },
  );
  const bad = { ...deployment("cli-bad"), spec: { replicas: -1 } };
  const good = inline("good", [configMap("cli-ours"), configMap("cli-theirs")]);
  await applyFleet(hub, "cli-tree", "cli-1", [good, inline("going", [configMap("cli-held")])]);
  await fleetReady(hub, "cli-tree");
  const finalizers = ["example.com/held"];
  await workload.mergePatch(resources.configMap, inDefault("cli-held"), {
    metadata: { finalizers },
  });
  await applyFleet(hub, "cli-tree", "cli-1", [good, inline("bad", [bad])]);
  await memberHas(hub, "cli-tree", "cli-1", "ApplyFailed");
  const { stdout, stderr } = await cli(["tree", "member", "cli-1", "--fleet", "cli-tree"]);
  const stable = stdout
    .replaceAll(/ {2,}/g, "  ")
    .replaceAll(/-[0-9a-f]{8}\b/g, "-HASH")
    .replace(/ApplyFailed: .*/, "ApplyFailed: WHY");
  assert.equal(
    stable,
    `cli-tree-cli-1-HASH (cluster cli-1, Fleet cli-tree, revision cli-tree-HASH)
├── good  Ready
│  ├── ConfigMap/default/cli-ours  created
│  └── ConfigMap/default/cli-theirs  adopted, never deleted
├── bad  Failed  ApplyFailed: WHY
│  └── Deployment/default/cli-bad  not applied yet
└── going  Leaving  is not in the member's revision any more
  └── ConfigMap/default/cli-held  created
`,
    stderr,
  );
  await workload.mergePatch(resources.configMap, inDefault("cli-held"), {
    metadata: { finalizers: null },
  });
  await applyFleet(hub, "cli-tree", "cli-1", [good]);
  await fleetReady(hub, "cli-tree");
});

test("trace: from an object to its Fleet; ambiguous, unknown and foreign objects say so", async () => {
  const twice = [configMap("cli-twice"), configMap("cli-twice", {}, "kube-public")];
  await applyFleet(hub, "cli-trace", "cli-1", [inline("l", [...twice, deployment("cli-web")])]);
  await fleetReady(hub, "cli-trace");
  const on = ["--cluster", "cli-1"];
  const web = await cli(["trace", "deployment/cli-web", ...on]);
  assert.equal(
    web.stdout.replaceAll(/ {2,}/g, "  ").replaceAll(/-[0-9a-f]{8}\b/g, "-HASH"),
    `Object  Deployment/default/cli-web on cluster fleet/cli-1
State  there, created by Capitan
Layer  l
Fleet  fleet/cli-trace
Member  cli-trace-cli-1-HASH: ReconciliationSucceeded
Revision  cli-trace-HASH
Artifact  none: inline in the Fleet
`,
  );
  const full = await json("trace", "Deployment.apps/default/cli-web", ...on);
  assert.equal((full as { fleet: string }).fleet, "fleet/cli-trace");
  const both = await cli(["trace", "ConfigMap/cli-twice", ...on]);
  assert.equal(both.code, 1);
  assert.match(
    both.stderr,
    /ConfigMap\/cli-twice may be ConfigMap\/(default|kube-public)\/cli-twice, ConfigMap\/\S+; say KIND\.GROUP\/NAMESPACE\/NAME/,
  );
  const one = await cli(["trace", "ConfigMap/cli-twice", ...on, "-n", "kube-public"]);
  assert.match(one.stdout, /^Object +ConfigMap\/kube-public\/cli-twice on/);
  const foreign = await cli([
    "trace",
    "ConfigMap/kube-system/extension-apiserver-authentication",
    ...on,
  ]);
  assert.match(foreign.stderr, /is in no inventory: no Fleet brought it/);
  const nowhere = await cli(["trace", "ConfigMap/a", "--cluster", "cli-nosuch"]);
  assert.match(nowhere.stderr, /NotFound: no Fleet is on a cluster named cli-nosuch/);
});

const secret = (password: string) => ({
  apiVersion: "v1",
  kind: "Secret",
  metadata: { name: "cli-secret", namespace: "default" },
  stringData: { password },
});

type Diff = {
  cluster: string;
  objects: { object: string; action: string; changes: { path: string }[] }[];
  problems: { code: string }[];
}[];

/** The Fleet cli-diff as a file would have it. */
function diffFile(layers: readonly object[], cluster = "cli-1"): string {
  return JSON.stringify({
    apiVersion: "capitan.dev/v1alpha1",
    kind: "Fleet",
    metadata: { name: "cli-diff", namespace },
    spec: { clusterSelector: { matchLabels: { cluster } }, layers },
  });
}

const keep = () => [
  configMap("cli-d", { k: "v1" }),
  configMap("cli-gone"),
  secret("hunter2-before"),
];

test("diff: nothing; then change, create, delete, release, a refused object, and no Secret's value in any form", async () => {
  await workload.apply(
    resources.configMap,
    configMap("cli-adopted", { theirs: "1" }) as KubeObject,
    {
      manager: "kubectl",
    },
  );
  await applyFleet(hub, "cli-diff", "cli-1", [inline("l", [...keep(), configMap("cli-adopted")])]);
  await fleetReady(hub, "cli-diff");
  const { dir } = await sharedLab();
  const audit = auditOf(dir, "cli-1");
  const mark = await audit.mark();
  const same = await cli(["diff", "fleet", "cli-diff"]);
  assert.deepEqual([same.code, same.stdout, same.stderr], [0, "cli-1: no change\n", ""]);
  const next = [configMap("cli-d", { k: "v2" }), configMap("cli-born"), secret("hunter2-after")];
  const file = diffFile([inline("l", next)]);
  const diff = ["diff", "fleet", "cli-diff", "-f", "-"];
  const text = await cli(diff, { input: file });
  assert.equal(
    text.stdout,
    `cli-1
  + ConfigMap/default/cli-born (layer l)
  ~ ConfigMap/default/cli-d (layer l)
      data.k: "v1" → "v2"
  ~ Secret/default/cli-secret (layer l)
      data.password: "(masked)" → "(masked)"
  ○ ConfigMap/default/cli-adopted (layer l, left behind)
  - ConfigMap/default/cli-gone (layer l)
`,
    text.stderr,
  );
  assert.equal(text.code, 1);
  for (const format of ["json", "yaml"]) {
    const { code, stdout } = await cli([...diff, "-o", format], { input: file });
    assert.equal(code, 1);
    assert.match(stdout, /data\.password/);
    for (const value of ["hunter2-before", "hunter2-after"])
      for (const shown of [value, Buffer.from(value).toString("base64")])
        assert.ok(!stdout.includes(shown), stdout);
  }
  const bad = { ...deployment("cli-bad"), spec: { replicas: -1 } };
  const leaky = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: inDefault("cli-leaky"),
    data: { password: "hunter2-not-base64!" },
  };
  const refused = await cli(diff, { input: diffFile([inline("l", [...keep(), bad, leaky])]) });
  assert.equal(refused.code, 2);
  assert.match(
    refused.stdout,
    /✗ Deployment\/default\/cli-bad \(layer l\)\n {6}\S.*spec\.replicas/,
  );
  assert.match(refused.stdout, /✗ Secret\/default\/cli-leaky .*\n {6}\(message withheld/);
  assert.doesNotMatch(refused.stdout + refused.stderr, /hunter2/);
  const written = writes(await audit.since(mark)).filter(
    ({ userAgent }) => userAgent !== "capitan-controller",
  );
  assert.deepEqual(
    written.filter(({ name }) => name.startsWith("cli-")),
    [],
  );
  assert.equal((await cli(["diff", "fleet", "cli-diff"])).code, 0, "the Fleet is as it was");
});

test("diff: what another Fleet or another tool has is refused, as the controller would", async () => {
  await applyFleet(hub, "cli-first", "cli-1", [inline("l", [configMap("cli-contested")])]);
  await fleetReady(hub, "cli-first");
  const helms = {
    ...configMap("cli-helm", { k: "theirs" }),
    metadata: { ...inDefault("cli-helm"), annotations: { "meta.helm.sh/release-name": "shop" } },
  };
  await workload.apply(resources.configMap, helms as unknown as KubeObject, { manager: "helm" });
  const objects = [configMap("cli-contested", { k: "x" }), configMap("cli-helm", { k: "ours" })];
  const text = diffFile([inline("l", objects)]).replace("cli-diff", "cli-second");
  const ran = await cli(["diff", "fleet", "cli-second", "-f", "-"], { input: text });
  assert.equal(
    ran.stdout,
    `cli-1
  ✗ ConfigMap/default/cli-contested (layer l)
      OwnedByAnotherFleet: it belongs to another Fleet
  ✗ ConfigMap/default/cli-helm (layer l)
      ManagedElsewhere: it is managed by Helm release shop
`,
    ran.stderr,
  );
  assert.equal(ran.code, 2);
  const adopted = [inline("l", [configMap("cli-helm", { k: "ours" })], { adopt: true })];
  const adopting = diffFile(adopted).replace("cli-diff", "cli-second");
  const changed = await cli(["diff", "fleet", "cli-second", "-f", "-"], { input: adopting });
  assert.match(changed.stdout, /~ ConfigMap\/default\/cli-helm/);
  assert.equal(changed.code, 1);
});

const gadgets = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "gadgets.cli.example.com" },
  spec: {
    group: "cli.example.com",
    scope: "Namespaced",
    names: { plural: "gadgets", singular: "gadget", kind: "Gadget", listKind: "GadgetList" },
    versions: [
      { name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object" } } },
    ],
  },
};

test("diff: a definition with its object, a Namespace with its object, one cluster of several, one that cannot be reached", async () => {
  const gadget = {
    apiVersion: "cli.example.com/v1",
    kind: "Gadget",
    metadata: inDefault("cli-gadget"),
  };
  const room = { apiVersion: "v1", kind: "Namespace", metadata: { name: "cli-room" } };
  const early = [gadgets, gadget, room, configMap("cli-inside", {}, "cli-room")];
  const input = diffFile([inline("l", [...keep(), configMap("cli-adopted"), ...early])]);
  const diff = ["diff", "fleet", "cli-diff", "-f", "-", "-o", "json"];
  const ran = await cli(diff, { input });
  const [first] = JSON.parse(ran.stdout) as Diff;
  assert.deepEqual(
    first?.objects.map(({ object, action }) => `${action} ${object}`),
    [
      "create Namespace/cli-room",
      "create CustomResourceDefinition/gadgets.cli.example.com",
      "create ConfigMap/cli-room/cli-inside",
      "create Gadget/default/cli-gadget",
    ],
    ran.stderr,
  );
  assert.equal(ran.code, 1);
  const selector = {
    matchExpressions: [{ key: "cluster", operator: "In", values: ["cli-1", "cli-away"] }],
  };
  const ca = (await newAuthority("x")).cert;
  await fakeCluster(
    "cli-away",
    { cluster: "cli-away" },
    kubeconfigOf("https://127.0.0.1:1", ca, { token: "t" }),
  );
  const both = JSON.parse(diffFile([inline("l", [...keep(), configMap("cli-adopted")])])) as {
    spec: { clusterSelector: object };
  };
  both.spec.clusterSelector = selector;
  const file = JSON.stringify(both);
  const away = await cli(["diff", "fleet", "cli-diff", "-f", "-"], { input: file });
  assert.equal(away.code, 2);
  assert.match(
    away.stdout,
    /^(cli-1: no change\ncli-away\n|cli-away\n) {2}✗ Unreachable: cluster fleet\/cli-away: .*ECONNREFUSED/,
  );
  const one = await cli(["diff", "fleet", "cli-diff", "-f", "-", "--cluster", "cli-1"], {
    input: file,
  });
  assert.deepEqual([one.code, one.stdout], [0, "cli-1: no change\n"]);
  const none = await cli(["diff", "fleet", "cli-diff", "--cluster", "cli-away"]);
  assert.equal(none.code, 2);
  assert.match(none.stderr, /NotFound: the Fleet does not select a Cluster named cli-away/);
});

const digestIn = (text: string) => /approve-removal=([0-9a-f]{16})/.exec(text)?.[1];
const askedOf = async (fleet: string) =>
  conditionOf((await fleetOf(hub, fleet))?.status?.conditions, "Ready")?.message ?? "";

test("plan: the approval of a member is the one that the controller then asks for; approve member lets it go", async () => {
  const room = { apiVersion: "v1", kind: "Namespace", metadata: { name: "cli-doomed" } };
  const stays = configMap("cli-stays");
  await applyFleet(hub, "cli-plan", "cli-1", [inline("l", [stays, room])]);
  await fleetReady(hub, "cli-plan");
  const next = [inline("l", [stays, configMap("cli-comes")])];
  const file = diffFile(next).replace("cli-diff", "cli-plan");
  const planned = await cli(["plan", "fleet", "cli-plan", "-f", "-"], { input: file });
  assert.match(planned.stdout, /cli-1 +updates +1 +1 +would delete Namespace\/cli-doomed/);
  assert.match(
    planned.stdout,
    / \+ ConfigMap\/default\/cli-comes on cli-1\n {2}- Namespace\/cli-doomed on cli-1\n/,
  );
  const digest = digestIn(planned.stdout);
  assert.ok(digest !== undefined, planned.stdout + planned.stderr);
  await applyFleet(hub, "cli-plan", "cli-1", next);
  const member = await memberHas(hub, "cli-plan", "cli-1", "RemovalNeedsApproval");
  assert.equal(digestIn(member.status?.conditions?.[0]?.message ?? ""), digest);
  const approve = ["approve", "member", "cli-1", "--fleet", "cli-plan", "--digest", digest];
  const approved = await cli(approve);
  assert.equal(approved.code, 0, approved.stderr);
  const doomed = async () =>
    (await workload.get(resources.namespace, { name: "cli-doomed" }))?.metadata.deletionTimestamp;
  const isGoing = async () => (await doomed()) !== undefined;
  await until(isGoing, { deadlineMs: 60_000, what: "the Namespace to be deleted" });
});

test("approve --wait: until what was approved is gone, or as long as the timeout, and says what is left", async () => {
  const many = Array.from({ length: 12 }, (_, i) => configMap(`cli-wait-${i}`));
  const room = { apiVersion: "v1", kind: "Namespace", metadata: { name: "cli-stuck" } };
  const stays = configMap("cli-wait");
  await applyFleet(hub, "cli-wait", "cli-1", [inline("l", [stays, ...many])]);
  await fleetReady(hub, "cli-wait");
  await applyFleet(hub, "cli-wait", "cli-1", [inline("l", [stays])]);
  await memberHas(hub, "cli-wait", "cli-1", "RemovalNeedsApproval");
  const approve = ["approve", "member", "cli-1", "--yes", "--wait", "--fleet"];
  const done = await cli([...approve, "cli-wait"]);
  const name = "FleetMember fleet/cli-wait-cli-1-[0-9a-f]{8}";
  const lines = `^${name} approved: [0-9a-f]{16}\n${name} is Ready: applied revision cli-wait-[0-9a-f]{8}, 1 objects\n$`;
  assert.match(done.stdout, new RegExp(lines), done.stderr);
  assert.equal(done.code, 0);
  assert.equal(await workload.get(resources.configMap, inDefault("cli-wait-0")), undefined);
  // In the laboratory no Namespace finishes to go.
  const kept = configMap("cli-stuck");
  await applyFleet(hub, "cli-stuck", "cli-1", [inline("l", [kept, room])]);
  await fleetReady(hub, "cli-stuck");
  await applyFleet(hub, "cli-stuck", "cli-1", [inline("l", [kept])]);
  await memberHas(hub, "cli-stuck", "cli-1", "RemovalNeedsApproval");
  const stuck = await cli([...approve, "cli-stuck", "--timeout", "5s"]);
  assert.equal(stuck.code, 1);
  assert.match(
    stuck.stderr,
    /\n✗ HealthTimeout: waited 5s for FleetMember \S+ to carry it out: RemovalBlocked: Namespace\/cli-stuck is being deleted/,
  );
});

test("plan: who joins, leaves, updates and stays; the Fleet's approval for more than three that leave is the controller's", async () => {
  const names = ["cli-p1", "cli-p2", "cli-p3", "cli-p4", "cli-p5"];
  const label = (name: string, cluster: string) => fakeCluster(name, { cluster });
  for (const name of names) await label(name, "cli-many");
  const layers = [inline("l", [configMap("cli-many")])];
  await applyFleet(hub, "cli-many", "cli-many", layers);
  for (const name of names) await memberHas(hub, "cli-many", name, "ControlPlaneNotInitialized");
  await label("cli-p6", "cli-few");
  await label("cli-p5", "cli-few");
  await until(async () => (await memberOf(hub, "cli-many", "cli-p5"))?.spec.state !== "Present", {
    deadlineMs: 60_000,
    what: "cli-p5 to leave",
  });
  const file = diffFile(layers, "cli-few").replace("cli-diff", "cli-many");
  type Plan = { clusters: { cluster: string; action: string }[]; approval?: string };
  const ran = await cli(["plan", "fleet", "cli-many", "-f", "-", "-o", "json"], { input: file });
  const plan = JSON.parse(ran.stdout) as Plan;
  const actionOf = (name: string) => plan.clusters.find(({ cluster }) => cluster === name)?.action;
  assert.deepEqual([...names.slice(0, 4), "cli-p6"].map(actionOf), [
    ...Array.from({ length: 4 }, () => "leaves"),
    "joins",
  ]);
  const digest = digestIn(plan.approval ?? "");
  assert.ok(digest !== undefined, ran.stdout);
  const stays = (await json("plan", "fleet", "cli-many")) as Plan;
  assert.ok(stays.clusters.slice(0, 4).every(({ action }) => action === "stays"));
  await applyFleet(hub, "cli-many", "cli-few", layers);
  await fleetHas(hub, "cli-many", "RemovalNeedsApproval");
  assert.equal(digestIn(await askedOf("cli-many")), digest);
  const wrong = await cli(["approve", "fleet", "cli-many", "--yes", "--digest", "0".repeat(16)]);
  assert.equal(wrong.code, 1);
  assert.equal((await memberOf(hub, "cli-many", "cli-p1"))?.spec.state, "Present");
  const approved = await cli(["approve", "fleet", "cli-many", "--yes", "--wait"]);
  assert.equal(
    approved.stdout,
    `Fleet fleet/cli-many approved: ${digest}\nFleet fleet/cli-many is done with 4 clusters\n`,
    approved.stderr,
  );
  for (const name of names.slice(0, 4))
    assert.equal(await memberOf(hub, "cli-many", name), undefined, name);
});

test("plan says what is suspended: the Fleet, or a cluster until when", async () => {
  type Paused = { suspended: boolean; clusters: { suspendedUntil?: string }[] };
  const plan = async () => (await cli(["plan", "fleet", "cli-still"])).stdout;
  await fakeCluster("cli-still", { cluster: "cli-still" });
  await applyFleet(hub, "cli-still", "cli-still", [inline("l", [configMap("cli-still")])]);
  await memberHas(hub, "cli-still", "cli-still", "ControlPlaneNotInitialized");
  assert.doesNotMatch(await plan(), /suspended/);
  const name = { namespace, name: "cli-still" };
  const until = "2999-01-01T00:00:00Z";
  const annotations = { "capitan.dev/suspended-until": until };
  await hub.mergePatch(resources.cluster, name, { metadata: { annotations } });
  // A cluster that cannot be asked says so first.
  const paused = (await json("plan", "fleet", "cli-still")) as Paused;
  assert.deepEqual([paused.suspended, paused.clusters[0]?.suspendedUntil], [false, until]);
  await cli(["suspend", "fleet", "cli-still"]);
  assert.match(
    await plan(),
    /it is suspended: nothing of this happens before capitan resume fleet/,
  );
});

test("plan: the Fleet's approval for a revision that deletes on more than three clusters is the controller's", async () => {
  const names = ["cli-q1", "cli-q2", "cli-q3", "cli-q4"];
  for (const name of names) await fakeCluster(name, { cluster: "cli-wide" });
  await applyFleet(hub, "cli-wide", "cli-wide", [inline("l", [configMap("a"), configMap("b")])]);
  for (const name of names) await memberHas(hub, "cli-wide", name, "ControlPlaneNotInitialized");
  const next = [inline("l", [configMap("a")])];
  const input = diffFile(next, "cli-wide").replace("cli-diff", "cli-wide");
  const planned = await cli(["plan", "fleet", "cli-wide", "-f", "-"], { input });
  assert.match(
    planned.stdout,
    /The Fleet would need approval: the new revision would delete 1 obj/,
  );
  const digest = digestIn(planned.stdout);
  await applyFleet(hub, "cli-wide", "cli-wide", next);
  await fleetHas(hub, "cli-wide", "RemovalNeedsApproval");
  assert.equal(digestIn(await askedOf("cli-wide")), digest);
});

test("reconcile, suspend and resume take effect and say so", async () => {
  const layers = (k: string) => [inline("l", [configMap("cli-s", { k })])];
  await applyFleet(hub, "cli-s", "cli-1", layers("v1"));
  await fleetReady(hub, "cli-s");
  const fleet = await cli(["reconcile", "fleet", "cli-s", "--timeout", "60s"]);
  assert.match(fleet.stdout, /^Fleet fleet\/cli-s is Ready: 1 of 1 clusters ready/);
  const of = ["cli-1", "--fleet", "cli-s"];
  const member = await cli(["reconcile", "member", ...of, "--timeout", "60s"]);
  assert.match(member.stdout, /^FleetMember fleet\/cli-s-cli-1-[0-9a-f]{8} is Ready: /);
  assert.deepEqual([fleet.code, fleet.stderr, member.code, member.stderr], [0, "", 0, ""]);
  const suspended = await cli(["suspend", "fleet", "cli-s"]);
  assert.equal(
    suspended.stdout,
    "Fleet fleet/cli-s is suspended\n  → to go on: capitan resume fleet cli-s\n",
  );
  const before = (await memberOf(hub, "cli-s", "cli-1"))?.spec.revision;
  await applyFleet(hub, "cli-s", "cli-1", layers("v2"));
  await fleetHas(hub, "cli-s", "Suspended");
  assert.equal((await memberOf(hub, "cli-s", "cli-1"))?.spec.revision, before);
  const stuck = await cli(["reconcile", "fleet", "cli-s"]);
  const says = "✗ Fleet fleet/cli-s is suspended: capitan resume fleet\n";
  assert.deepEqual([stuck.code, stuck.stderr], [1, says]);
  assert.equal((await cli(["resume", "fleet", "cli-s"])).stdout, "Fleet fleet/cli-s is resumed\n");
  await fleetReady(hub, "cli-s");
  assert.notEqual((await memberOf(hub, "cli-s", "cli-1"))?.spec.revision, before);
  const render = ["render", "layer", "nope", "--fleet", "cli-s", "--cluster", "cli-1"];
  const known = "✗ NotFound: Fleet cli-s has no such layer; it has l";
  assert.equal((await cli(render)).stderr.split("\n")[0], known);
  const events = await cli(["events", "--for", "cli-s", "-n", namespace]);
  assert.match(events.stdout, /Fleet\/cli-s +Normal +Suspended /);
});

test("reconcile does not wait for what no waiting changes, and says what it waits for otherwise", async () => {
  const layers = [inline("l", [configMap("cli-w")], { dependsOn: ["nosuch"] })];
  await applyFleet(hub, "cli-wrong", "cli-nobody", layers);
  await fleetHas(hub, "cli-wrong", "DependencyInvalid");
  const wrong = await cli(["reconcile", "fleet", "cli-wrong"]);
  assert.equal(
    wrong.stderr,
    `✗ DependencyInvalid: Fleet fleet/cli-wrong: layer l depends on nosuch, which is not a layer of the Fleet
  → Correct dependsOn in the Fleet.
`,
  );
  assert.equal(wrong.code, 1);
  await fakeCluster("cli-early", { cluster: "cli-early" });
  await applyFleet(hub, "cli-early", "cli-early", [inline("l", [configMap("cli-w")])]);
  await memberHas(hub, "cli-early", "cli-early", "ControlPlaneNotInitialized");
  const late = await cli(["reconcile", "member", "cli-early", "--timeout", "5s"]);
  assert.equal(late.code, 1);
  assert.match(
    late.stderr,
    /^✗ HealthTimeout: waited 5s for FleetMember \S+ to be Ready: (ControlPlaneNotInitialized: |the controller has not)/,
  );
});

test("suspend and resume member: for every Fleet on the cluster, and get clusters says until when", async () => {
  const suspended = await cli(["suspend", "member", "cli-1", "--for", "30m"]);
  assert.match(
    suspended.stdout,
    /^Cluster fleet\/cli-1 is suspended until \S+Z for Fleets .*cli-s/,
  );
  const shown = await cli(["get", "clusters", "-n", namespace, "-l", "cluster=cli-1"]);
  assert.match(shown.stdout, /is suspended until 20\S+Z$/m);
  const resumed = await cli(["resume", "member", "cli-1"]);
  assert.match(resumed.stdout, /^Cluster fleet\/cli-1 is resumed for Fleets /);
  const after = await cli(["get", "clusters", "-n", namespace, "-l", "cluster=cli-1"]);
  assert.doesNotMatch(after.stdout, /suspended/);
});
