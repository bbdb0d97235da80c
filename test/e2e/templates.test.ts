import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  clusterInitialized,
  clusterKubeconfig,
  createCluster,
  createTopologyCluster,
} from "../../hack/lab/clusters.ts";
import { startGitHttp, type GitServer } from "../../hack/lab/git-http.ts";
import { root } from "../../hack/lab/paths.ts";
import { hubResources } from "../../pkg/api/index.ts";
import { templateDigest } from "../../pkg/clustertemplate/index.ts";
import { asMap } from "../../pkg/json/index.ts";
import { connect, type KubeClient } from "../../pkg/kube/index.ts";
import { parseWorkloadKubeconfig } from "../../pkg/kubeconfig/index.ts";
import { annotations, parseManifests, type KubeObject } from "../../pkg/object/index.ts";
import { fleetRepository, manager } from "../harness/fleet-repository.ts";
import { GitLab } from "../harness/git.ts";
import {
  capitan,
  configMap,
  deleteNow,
  fleetReady,
  inline,
  memberOf,
  namespace,
  resources,
  retireClusters,
  sharedHub,
  sharedLab,
  until,
} from "../harness/index.ts";

let hub: KubeClient;
let git: GitLab;
let http: GitServer;
before(async () => {
  hub = await sharedHub();
  git = await GitLab.make();
  http = await startGitHttp({ root: git.root });
});
after(async () => {
  await retireClusters(hub, "tpl-");
  await http.close();
  await git.remove();
  await hub.close();
});

const files = [{ path: "a.yaml", content: "a: 1\n" }];
const apply = (spec: object, name = "refused") => {
  const metadata = { namespace, name };
  const object = { apiVersion: "capitan.dev/v1alpha1", kind: "ClusterTemplate", metadata, spec };
  return hub.apply(hubResources.clusterTemplate, object, { manager: "test" });
};
const parameter = (one: object) => ({ files, parameters: { one } });

const refused: readonly (readonly [what: string, spec: object, why: RegExp])[] = [
  ["no files", { files: [] }, /spec\.files/],
  ["a path that leads out", { files: [{ path: "a/../../b.yaml", content: "" }] }, /relative path/],
  ["a type that there is not", parameter({ type: "object" }), /type/],
  ["a name with a dash", { files, parameters: { "a-b": { type: "string" } } }, /is a word/],
  ["a secret number", parameter({ type: "integer", secret: true }), /is a string/],
  ["a minimum of a string", parameter({ type: "string", minimum: 1 }), /minimum and maximum/],
  ["a pattern of a number", parameter({ type: "number", pattern: "a" }), /pattern, minLength/],
];

for (const [what, spec, why] of refused)
  test(`a ClusterTemplate with ${what} is refused by the API server`, async () => {
    await assert.rejects(apply(spec), why);
  });

test("templates/lab.yaml is a ClusterTemplate that the hub keeps as it is", async () => {
  const file = join(root, "templates", "lab.yaml");
  const [lab] = parseManifests(await readFile(file, "utf8"), file);
  const { object } = await hub.apply(hubResources.clusterTemplate, lab as KubeObject, {
    manager: "test",
  });
  assert.deepEqual(object["spec"], lab?.["spec"]);
  const digest = (one: unknown) => templateDigest(one as Parameters<typeof templateDigest>[0]);
  assert.equal(digest(object), digest(lab));
  await deleteNow(hub, hubResources.clusterTemplate, object.metadata);
});

test("the hub accepts what templates/lab.yaml makes, with a topology and without", async () => {
  await createCluster(hub, { namespace, name: "tpl-plain" });
  await createTopologyCluster(hub, { namespace, name: "tpl-topology" }, { tier: "gold" });
  const live = await hub.get(resources.cluster, { namespace, name: "tpl-topology" });
  const { version, variables } = asMap(asMap(live?.["spec"])["topology"]);
  assert.equal(version, "v1.36.3");
  assert.deepEqual(variables, [
    { name: "tier", value: "gold" },
    { name: "replicas", value: 1 },
  ]);
});

/** A Fleet that delivers ./management of a repository to the hub. */
async function deliver(url: string): Promise<void> {
  const data = { "manager.agekey": Buffer.from(`${manager.identity}\n`).toString("base64") };
  const secret = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { namespace, name: "tpl-key" },
    data,
  };
  await hub.apply(resources.secret, secret, { manager: "test" });
  const layer = {
    name: "management",
    git: { url, insecure: true },
    path: "./management",
    decryption: { provider: "sops", secretRef: { name: "tpl-key" } },
    wait: false,
  };
  const metadata = { namespace, name: "tpl-platform" };
  const spec = { target: "Management", layers: [layer] };
  const fleet = { apiVersion: "capitan.dev/v1alpha1", kind: "Fleet", metadata, spec };
  await hub.apply(resources.fleet, fleet, { manager: "test" });
}

async function lookNow(): Promise<void> {
  const ran = await capitan(["reconcile", "fleet", "tpl-platform", "--wait=false"]);
  assert.equal(ran.code, 0, ran.stderr);
}

test("a cluster is made, changed and taken away through Git, and nothing of it is left", async (t) => {
  const { hubKubeconfig: kubeconfig } = await sharedLab();
  const name = "tpl-life";
  const cluster = { namespace, name };
  const r = await fleetRepository(t, { lab: git, url: http.url, name: "life.git", kubeconfig });
  const made = await r.create(name, "--set environment=staging");
  assert.equal(made.code, 0, made.stderr);
  await deliver(r.url);
  await fleetReady(hub, "tpl-platform", 30_000);
  await clusterInitialized(hub, cluster);
  const secret = await hub.get(resources.secret, { namespace, name: `${name}-age-1` });
  const identity = await r.decrypt(`management/clusters/${name}/identity.sops.yaml`);
  assert.ok(identity.includes(secret?.metadata.annotations?.[annotations.recipient] ?? "nobody"));
  const taken = await r.create(name, "--branch other");
  assert.match(taken.stderr, /✗ AlreadyExists: the repository has a cluster tpl-life already/);

  const spec = {
    clusterSelector: { matchLabels: { env: "staging" } },
    layers: [inline("l", [configMap("tpl-life")])],
  };
  const fleet = {
    apiVersion: "capitan.dev/v1alpha1",
    kind: "Fleet",
    metadata: { namespace, name },
    spec,
  };
  await hub.apply(resources.fleet, fleet, { manager: "test" });
  await fleetReady(hub, name);
  const workload = connect(parseWorkloadKubeconfig(await clusterKubeconfig(hub, cluster), name));
  t.after(() => workload.close());
  const place = { namespace: "default", name };
  assert.ok(await workload.get(resources.configMap, place));

  const upgraded = await r.run(`upgrade cluster ${name} --version v1.36.4`);
  assert.equal(upgraded.code, 0, upgraded.stderr);
  await lookNow();
  await until(
    async () =>
      asMap((await hub.get(resources.labControlPlane, cluster))?.["spec"])["version"] === "v1.36.4",
    { deadlineMs: 30_000, what: "the new version" },
  );

  const unasked = await r.run(`delete cluster ${name}`);
  assert.equal(unasked.code, 1);
  assert.match(unasked.stderr, /nobody to ask here: say --yes/);
  const live = await hub.get(resources.cluster, cluster);
  const gone = await r.run(`delete cluster ${name} --withdraw --timeout 60s --yes`);
  assert.equal(gone.code, 0, gone.stderr);
  assert.match(gone.stderr, /Cluster fleet\/tpl-life goes, with everything that runs in it:\n/);
  assert.match(gone.stderr, /- Fleet tpl-life on it: 1 objects, layers l\n/);
  assert.equal(await workload.get(resources.configMap, place), undefined);
  assert.equal((await memberOf(hub, name, name))?.spec.state, "Removed");
  const left = (await r.files()).filter((path) => path.includes(name));
  assert.deepEqual(left, [`management/clusters/${name}/removed.yaml`]);
  assert.ok((await r.show(left[0] ?? "")).includes(live?.metadata.uid ?? "nothing"));
  assert.ok(!(await r.show(".sops.yaml")).includes(name));
  await lookNow();
  const isGone = async () => {
    const gone = (await memberOf(hub, name, name)) === undefined;
    const places = [
      hub.get(resources.cluster, cluster),
      hub.get(resources.labControlPlane, cluster),
      hub.get(resources.secret, { namespace, name: `${name}-age-1` }),
      hub.get(resources.secret, { namespace, name: `${name}-kubeconfig` }),
    ];
    return gone && (await Promise.all(places)).every((object) => object === undefined);
  };
  await until(isGone, { deadlineMs: 60_000, what: "everything of the cluster to be gone" });
  for (const fleet of [name, "tpl-platform"])
    await deleteNow(hub, resources.fleet, { namespace, name: fleet });
});

test("layers that do not go in time come back, and nothing is committed", async (t) => {
  const { hubKubeconfig: kubeconfig } = await sharedLab();
  const name = "tpl-stuck";
  const cluster = { namespace, name };
  const r = await fleetRepository(t, { lab: git, url: http.url, name: "stuck.git", kubeconfig });
  assert.equal((await r.create(name)).code, 0);
  await createCluster(hub, cluster, { labels: { stuck: "yes" } });
  await clusterInitialized(hub, cluster);
  const workload = connect(parseWorkloadKubeconfig(await clusterKubeconfig(hub, cluster), name));
  t.after(() => workload.close());
  const object = configMap("tpl-stuck") as KubeObject;
  const held = {
    ...object,
    metadata: { ...object.metadata, finalizers: ["test.capitan.dev/held"] },
  };
  const spec = {
    clusterSelector: { matchLabels: { stuck: "yes" } },
    layers: [inline("l", [held])],
  };
  const fleet = {
    apiVersion: "capitan.dev/v1alpha1",
    kind: "Fleet",
    metadata: { namespace, name },
    spec,
  };
  await hub.apply(resources.fleet, fleet, { manager: "test" });
  await fleetReady(hub, name);
  const head = await r.head();
  const ran = await r.run(`delete cluster ${name} --withdraw --timeout 3s --yes`);
  assert.equal(ran.code, 1);
  assert.match(
    ran.stderr,
    /✗ LayersLeft: waited 3s for the layers to go: Fleet tpl-stuck: 1 objects left/,
  );
  assert.equal(await r.head(), head);
  const annotated = (await hub.get(resources.cluster, cluster))?.metadata.annotations ?? {};
  assert.equal(annotated[annotations.withdraw], undefined);
  const metadata = { metadata: { finalizers: null } };
  await workload.mergePatch(resources.configMap, { namespace: "default", name }, metadata);
  await fleetReady(hub, name);
  await deleteNow(hub, resources.fleet, { namespace, name });
});

test("a name that the hub has is taken", async (t) => {
  const { hubKubeconfig: kubeconfig } = await sharedLab();
  const r = await fleetRepository(t, { lab: git, url: http.url, name: "taken.git", kubeconfig });
  const { code, stderr } = await r.create("tpl-plain");
  assert.equal(code, 1);
  assert.match(stderr, /✗ AlreadyExists: the hub has a Cluster fleet\/tpl-plain already/);
  assert.equal(await r.head(), r.parent);
});
