import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { hostname } from "node:os";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { stop } from "../../hack/lab/processes.ts";
import { clusterKubeconfig } from "../../hack/lab/clusters.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import type { Fleet } from "../../pkg/api/index.ts";
import {
  controllerAccount,
  groundManifests,
  installManifests,
  isInstalled,
  receiverAccount,
  systemNamespace,
  tenantManifests,
  tokenSecretsDefault,
} from "../../pkg/install/index.ts";
import { asList, asMap, asString } from "../../pkg/json/index.ts";
import { Discovery, type KubeClient } from "../../pkg/kube/index.ts";
import type { FluxEvent } from "../../pkg/notify/index.ts";
import { parseManifests, type KubeObject } from "../../pkg/object/index.ts";
import { pushFiles } from "../harness/artifacts.ts";
import { metricSpecs } from "../../pkg/server/index.ts";
import { ApiProxy, auditOf, type AuditEntry } from "../faults/harness/index.ts";
import {
  applyFleet,
  capitan,
  configMap,
  deleteNow,
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
import { inDocs } from "../harness/pages.ts";
import {
  asInstalled,
  podTemplate,
  startOwnController,
  startOwnHub,
  startOwnReceiver,
  stopOwnHub,
  tellCluster,
  wakeFleet,
  type OwnHub,
} from "../harness/own-hub.ts";
import {
  applyLostRotation,
  covers,
  definitionOf,
  grantedBy,
  ownKinds,
  rightsOf,
  rotatedWhenOld,
  textOf,
  userOf,
  type Right,
  whatMay,
} from "../harness/rights.ts";

/** One production hub from `capitan install` to `capitan uninstall`; the tests build on each other. */
const cluster = "prod-1";
const image = `registry.example/capitan@sha256:${"a".repeat(64)}`;
const controllerProcess = "controller-production";
const receiverProcess = "receiver-production";

const tenant = { namespace: "tenant", serviceAccount: "tenant", secrets: ["values"] };
const tenantCluster = () => ({ cluster: "prod-2", workload: tenantWorkload });

let lab: LabFile;
let hub: OwnHub;
let workload: KubeClient;
/** The tenant's cluster. */
let tenantWorkload: KubeClient;
let tenantKubeconfig: string;
let receiver: Server;
/** The workload cluster's. */
let kubeconfig: string;
/** What came to --events-addr. */
const told: FluxEvent[] = [];
/** The arguments that every installation here has. */
let installArgs: readonly string[];
let eventsAddress: string;
let rotation: string;

before(async () => {
  receiver = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk: Buffer) => (text += chunk.toString()));
    request.on("end", () => {
      told.push(JSON.parse(text) as FluxEvent);
      response.writeHead(202).end();
    });
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => receiver.once("listening", resolve));
  eventsAddress = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`;
  installArgs = ["install", "--image", image, "--events-addr", eventsAddress];
  lab = await sharedLab();
  const shared = await sharedHub();
  workload = (await newCluster(shared, cluster)).client;
  kubeconfig = await clusterKubeconfig(shared, { namespace, name: cluster });
  tenantWorkload = (await newCluster(shared, "prod-2")).client;
  tenantKubeconfig = await clusterKubeconfig(shared, { namespace, name: "prod-2" });
  await shared.close();
  hub = await startOwnHub(lab, "prodhub", lab.ports.lastWorkload - 4);
});
after(async () => {
  await stop(lab.dir, controllerProcess);
  await stop(lab.dir, receiverProcess);
  await stopOwnHub(lab, hub);
  await workload.close();
  await tenantWorkload.close();
  receiver.closeAllConnections();
  receiver.close();
});

const cli = (...args: readonly string[]) => capitan(args, hub.kubeconfigFile);

/** What the command line installs, as data. */
const installed = () => ({
  image,
  platformNamespaces: [namespace],
  replicas: 2,
  eventsAddress,
  tokenSecrets: tokenSecretsDefault,
  management: false,
});

async function startController(...more: readonly string[]): Promise<string> {
  const own = { account: controllerAccount, process: controllerProcess, more };
  return startOwnController(lab, await asInstalled(lab, hub, own));
}

test("capitan install --export prints what capitan install applies, and the API server takes all of it", async () => {
  const exported = await cli(...installArgs, "--export");
  assert.deepEqual([exported.code, exported.stderr], [0, ""]);
  assert.equal((await cli(...installArgs, "--export")).stdout, exported.stdout);
  const printed = parseManifests(exported.stdout, "export");
  assert.deepEqual(printed, JSON.parse(JSON.stringify(installManifests(installed()))));
  const without = await cli(...installArgs, "--export", "--no-receiver");
  const ours = parseManifests(without.stdout, "export");
  assert.ok(ours.length > 0 && !ours.some(({ metadata }) => metadata.name === receiverAccount));
  const tokens = ["--receiver-token", "b", "--receiver-token", "a"];
  const named = parseManifests((await cli(...installArgs, "--export", ...tokens)).stdout, "export");
  const [role] = named.filter((o) => o.kind === "Role" && o.metadata.name === receiverAccount);
  const ofSecrets = asList(role?.["rules"]).map(asMap).at(-1);
  assert.deepEqual(
    [ofSecrets?.["resources"], ofSecrets?.["resourceNames"]],
    [["secrets"], ["a", "b"]],
  );
  const first = await cli(...installArgs);
  assert.equal(first.code, 0, first.stderr);
  assert.equal(first.stdout, await inDocs("install.md", "Namespace/capitan-system created"));
  assert.equal(first.stdout.trim().split("\n").length, printed.length);
  const again = await cli(...installArgs);
  assert.ok(
    again.stdout
      .trim()
      .split("\n")
      .every((line) => line.endsWith(" applied")),
  );
  const discovery = new Discovery(hub.client);
  for (const object of printed) {
    const resource = await discovery.find(object.apiVersion, object.kind);
    assert.ok(resource !== undefined && (await hub.client.get(resource, object.metadata)));
  }
});

/** The Pod that the Deployment would make, changed. */
async function tryPod(
  account: string,
  name: string,
  change: (spec: PodSpec) => void,
): Promise<void> {
  const template = structuredClone(await podTemplate(hub, account));
  const spec = template["spec"];
  change(spec as PodSpec);
  const metadata = { ...template.metadata, name, namespace: systemNamespace };
  const pod = { apiVersion: "v1", kind: "Pod", metadata, spec };
  const made = await hub.client.create(resources.pod, pod);
  await hub.client.delete(resources.pod, made);
}

type PodSpec = {
  securityContext: Record<string, unknown>;
  hostNetwork?: boolean;
  volumes: object[];
  containers: { securityContext: Record<string, unknown> }[];
};
const relaxations: Readonly<Record<string, (spec: PodSpec) => void>> = {
  privileged: ({ containers: [c] }) =>
    Object.assign(c?.securityContext ?? {}, { privileged: true, allowPrivilegeEscalation: true }),
  "may-be-root": ({ securityContext }) => delete securityContext["runAsNonRoot"],
  "no-seccomp": ({ securityContext }) => delete securityContext["seccompProfile"],
  "may-escalate": ({ containers: [c] }) => delete c?.securityContext["allowPrivilegeEscalation"],
  capabilities: ({ containers: [c] }) => delete c?.securityContext["capabilities"],
  "host-network": (spec) => (spec.hostNetwork = true),
  "host-path": ({ volumes }) => volumes.push({ name: "h", hostPath: { path: "/" } }),
};

test("M1 each Deployment's pod is accepted where `restricted` is enforced, and every relaxation of it is refused", async () => {
  for (const account of [controllerAccount, receiverAccount]) {
    await tryPod(account, "as-it-is", () => undefined);
    for (const [name, relax] of Object.entries(relaxations)) {
      await assert.rejects(
        tryPod(account, name, relax),
        { message: /violates PodSecurity "restricted/ },
        `${account} ${name}`,
      );
    }
  }
});

test("the controller's rights have no wildcard and no write on Clusters; the API server agrees", async () => {
  const rules = groundManifests({ platformNamespaces: [namespace], management: false }).flatMap(
    (o) => (o["rules"] ?? []) as { apiGroups: string[]; resources: string[]; verbs: string[] }[],
  );
  for (const rule of rules) {
    assert.ok(
      ![...rule.apiGroups, ...rule.resources, ...rule.verbs].includes("*"),
      JSON.stringify(rule),
    );
    const writes = rule.verbs.filter((verb) => !["get", "list", "watch"].includes(verb));
    if (rule.apiGroups.includes("cluster.x-k8s.io")) assert.deepEqual(writes, []);
  }
  const may = whatMay(hub.client, controllerAccount);
  assert.equal(await may("list", "cluster.x-k8s.io", "clusters"), true);
  assert.equal(await may("patch", "cluster.x-k8s.io", "clusters"), false);
  assert.equal(await may("get", "", "secrets", namespace), true);
  assert.equal(await may("get", "", "secrets", "default"), false);
  assert.equal(await may("list", "", "secrets"), false);
  // Identities of clusters are made, never written again.
  assert.equal(await may("create", "", "secrets", namespace), true);
  assert.equal(await may("create", "", "secrets", "default"), false);
  for (const verb of ["update", "patch", "delete"])
    assert.equal(await may(verb, "", "secrets", namespace), false);
  assert.equal(await may("update", "", "secrets"), false);
  assert.equal(await may("create", "apps", "deployments"), false);
  assert.equal(await may("patch", "capitan.dev", "fleetmembers", namespace), true);
  assert.equal(await may("patch", "capitan.dev", "fleetmembers", "default"), false);
  assert.equal(await may("patch", "capitan.dev", "fleets", "default"), false);
});

/** What the roles of both processes grant, a tenant's among them. */
const granted = () =>
  grantedBy([
    ...groundManifests({ platformNamespaces: [namespace], management: true }),
    ...tenantManifests(tenant),
  ]);

/** Where the controller serves metrics and health. */
let endpoint: string;

/** Where Fleets are, what they select, and how their objects look. */
type Ground = {
  readonly namespace: string;
  readonly cluster: string;
  readonly workload: KubeClient;
  /** The namespace on the cluster. */
  readonly at: string;
  readonly spec: object;
  readonly more: readonly object[];
};

/** A layer whose object changes with `n`. */
const set = (n: number) => [inline("l", [configMap("kept", { n: String(n) })])];

/** Uses every right on Fleets: one that changes often, loses a member and a cluster, and goes. */
async function useOwnKinds({
  namespace,
  cluster,
  workload,
  at,
  spec,
  more,
}: Ground): Promise<void> {
  const { client } = hub;
  const gone = { namespace, name: "gone" };
  await client.apply(
    resources.cluster,
    {
      apiVersion: "cluster.x-k8s.io/v1beta2",
      kind: "Cluster",
      metadata: { ...gone, labels: { cluster } },
      spec: {},
    },
    { manager: "test" },
  );
  const apply = (n: number) =>
    applyFleet(
      client,
      "rights",
      cluster,
      [inline("l", [configMap("kept", { n: String(n) }, at)]), ...more],
      spec,
      namespace,
    );
  await apply(0);
  const kept = { namespace: at, name: "kept" };
  const isAt = async (n: number) =>
    asMap((await workload.get(resources.configMap, kept))?.["data"])["n"] === String(n);
  // More revisions than are kept.
  for (let n = 0; n < 9; n++) {
    await apply(n);
    await until(() => isAt(n), { deadlineMs: 20_000, what: `revision ${n}` });
  }
  await deleteNow(client, resources.cluster, gone);
  await until(async () => (await memberOf(client, "rights", "gone", namespace)) === undefined, {
    deadlineMs: 20_000,
    what: "the member of the deleted Cluster to go",
  });
  await applyLostRotation(client, namespace);
  await fleetReady(client, "rights", 60_000, namespace);
}

/** The rights of a platform namespace, and of a tenant's. */
async function useEveryRight(): Promise<void> {
  await useOwnKinds({ namespace, cluster, workload, at: "default", spec: {}, more: [] });
  await useInputs();
  const { namespace: home, serviceAccount: serviceAccountName } = tenant;
  const spec = { serviceAccountName };
  await putValues(home, home);
  const more = [valuesLayer()];
  await useOwnKinds({ namespace: home, ...tenantCluster(), at: home, spec, more });
  await useManagement();
  for (const name of [
    { namespace, name: "rights" },
    { namespace, name: "inputs" },
    { namespace, name: "management" },
    { namespace: home, name: "rights" },
  ]) {
    await deleteNow(hub.client, resources.fleet, name);
    await until(async () => (await fleetOf(hub.client, name.name, name.namespace)) === undefined, {
      deadlineMs: 30_000,
      what: `Fleet ${name.namespace}/${name.name} to go`,
    });
  }
}

/** Sets the tenant up as `capitan create tenant` does, here and on its cluster. */
async function setUpTenant(): Promise<void> {
  const { namespace: home } = tenant;
  const made = await cli("create", "tenant", home, "--secret", "values");
  assert.equal(made.code, 0, made.stderr);
  await tellCluster(
    hub.client,
    { namespace: home, name: tenantCluster().cluster },
    tenantKubeconfig,
  );
  const args = ["--secret", "values", "--cluster", tenantCluster().cluster];
  const both = await cli("create", "tenant", home, ...args, "--cluster-role", "cluster-admin");
  assert.equal(both.code, 0, both.stderr);
}

/** Values for a layer's template: where its object is to be. */
async function putValues(inNamespace: string, at: string): Promise<void> {
  const values = configMap("rights-values", { "values.yaml": `at: ${at}\n` }, inNamespace);
  await hub.client.apply(resources.configMap, values as KubeObject, { manager: "test" });
}

const valuesLayer = () => ({
  name: "values",
  oci: { url: `oci://${lab.registry}/rights/values`, insecure: true, ref: { tag: "v2.9.4" } },
  valuesFrom: [{ kind: "ConfigMap", name: "rights-values" }],
});

/** A ConfigMap with values, and an identity for a cluster whose Flux decrypts; nobody serves Flux's kinds there. */
async function useInputs(): Promise<void> {
  const url = (name: string) => `oci://${lab.registry}/rights/${name}`;
  await pushFiles(`${url("flux")}:v2.9.4`, { "a.json": JSON.stringify(configMap("flux")) });
  const template =
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: values\n  namespace: {{values.at}}\n";
  await pushFiles(`${url("values")}:v2.9.4`, { "a.yaml.hbs": template });
  await putValues(namespace, "default");
  const sync = {
    git: { url: "https://git.example/fleet" },
    follow: "Tag",
    decryption: { provider: "sops" },
  };
  const artifact = { url: url("flux"), insecure: true };
  await applyFleet(hub.client, "inputs", cluster, [
    { name: "flux", flux: { version: "2.9.4", artifact, sync } },
    valuesLayer(),
  ]);
  const identity = { namespace, name: `${cluster}-age-1` };
  rotation = await rotatedWhenOld(hub.client, { namespace, name: "inputs" }, identity);
}

/** A delivery that wakes up a Fleet. */
async function useReceiver(): Promise<void> {
  const own = { account: receiverAccount, process: receiverProcess };
  await wakeFleet(hub, await startOwnReceiver(lab, await asInstalled(lab, hub, own)), "woken");
  await stop(lab.dir, receiverProcess);
  await deleteNow(hub.client, resources.fleet, { namespace, name: "woken" });
}

/** A Fleet that brings to the hub all that it may bring there, Capitan itself too, and takes away what it may. */
async function useManagement(): Promise<void> {
  const { client } = hub;
  const own = installManifests({ ...installed(), management: true });
  const more = own
    .filter(({ kind }) => kind !== "Namespace" && kind !== "CustomResourceDefinition")
    .map((object) => {
      const metadata = { ...object.metadata, name: `${object.metadata.name}-more` };
      return { ...object, metadata };
    });
  const others = [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "rights-more" } },
    definitionOf("things", "rights.example"),
  ];
  const place = { namespace, name: "rights-more" };
  const going = [
    configMap("rights-more", {}, namespace),
    { apiVersion: "v1", kind: "Secret", metadata: place },
    { ...inlineFleet({ never: "" }), metadata: place },
    ...ownKinds(place),
    { apiVersion: "cluster.x-k8s.io/v1beta2", kind: "Cluster", metadata: place, spec: {} },
  ];
  const deliver = (...objects: readonly object[]) => {
    const layers = [inline("hub", objects, { wait: false })];
    const spec = { target: "Management", layers };
    const fleet = { apiVersion: "capitan.dev/v1alpha1", kind: "Fleet", spec };
    const metadata = { namespace, name: "management" };
    return client.apply(resources.fleet, { ...fleet, metadata }, { manager: "test" });
  };
  const kept = [...own, ...more, ...others];
  await deliver(...kept, ...going);
  await fleetReady(client, "management");
  await client.mergePatch(resources.fleet, place, { metadata: { labels: { drift: "1" } } });
  await deliver(...kept);
  await memberHas(client, "management", "management", "RemovalNeedsApproval");
  assert.equal((await cli("approve", "member", "management", "--yes")).code, 0);
  await fleetReady(client, "management");
  assert.equal(await client.get(resources.cluster, place), undefined);
  // What it has made stays: to take it away again nobody has the right.
  await client.mergePatch(
    resources.fleet,
    { namespace, name: "management" },
    { spec: { deletionPolicy: "Orphan" } },
  );
  await fleetReady(client, "management");
}

const inlineFleet = (matchLabels: object) => ({
  apiVersion: "capitan.dev/v1alpha1",
  kind: "Fleet",
  spec: { clusterSelector: { matchLabels }, layers: set(0) },
});

test("M2 controller and receiver are granted what they use and use what they are granted; no wildcard, and to act only as a tenant's account", async () => {
  await tellCluster(hub.client, { namespace, name: cluster }, kubeconfig);
  assert.equal((await cli(...installArgs, "--management")).code, 0);
  await setUpTenant();
  endpoint = await startController();
  await useEveryRight();
  await useReceiver();
  const grants = granted();
  const users = new Set([controllerAccount, receiverAccount].map(userOf));
  let requests: readonly AuditEntry[] = [];
  // The Lease is renewed every two seconds, whatever the scenario does.
  const isAllUsed = async () => {
    const all = await auditOf(lab.dir, hub.name).since(0);
    requests = all.filter((entry) => users.has(entry.user) && entry.resource !== "");
    // Who delivers the receiver's Role must have what is in it.
    const given = grants.filter(({ user }) => user === userOf(receiverAccount));
    const handedOn = given.map((right) => ({ ...right, user: userOf(controllerAccount) }));
    const used = [...requests.flatMap(rightsOf), ...handedOn];
    const unused = grants.filter((grant) => !used.some((need) => covers(grant, need)));
    assert.deepEqual(unused.map(textOf), [], "granted and not used");
    return true;
  };
  await until(isAllUsed, { deadlineMs: 10_000, what: "all rights to be used", everyMs: 250 });
  const needed = requests.flatMap(rightsOf);
  const missing = needed.filter((need) => !grants.some((grant) => covers(grant, need)));
  assert.deepEqual([...new Set(missing.map(textOf))], [], "used and not granted");
  assert.deepEqual(
    requests.filter(({ code }) => code === 403),
    [],
  );
  assert.ok(!grants.some(({ verb, resource }) => /\*/.test(`${verb}${resource}`)));
  assert.ok(!grants.some(({ verb }) => /escalate|bind/.test(verb)));
  const acts = grants.filter(({ verb }) => verb === "impersonate").map(textOf);
  assert.equal(acts.length, 1, acts.join());
  assert.match(acts[0] ?? "", /impersonate \/serviceaccounts in tenant$/);
  const secrets = grants.filter(({ resource }) => resource === "/secrets");
  const isForAll = (right: Right) => right.namespace === "";
  assert.deepEqual(
    secrets.filter(isForAll).map(({ verb }) => verb),
    ["list", "watch"],
  );
  const writes = secrets.filter(({ verb }) => /patch|delete|update/.test(verb));
  assert.deepEqual([...new Set(writes.map((right) => right.namespace))], [namespace]);
  const management = groundManifests({ platformNamespaces: [namespace], management: true }).filter(
    ({ metadata }) => metadata.name.includes("-management"),
  );
  const discovery = new Discovery(hub.client);
  for (const object of [...management, ...tenantManifests(tenant).filter(isInstalled)]) {
    const resource = await discovery.find(object.apiVersion, object.kind);
    assert.ok(resource !== undefined);
    await deleteNow(hub.client, resource, object.metadata);
  }
});

/** The value of one series; undefined when there is none. */
function valueOf(text: string, name: string, ...labels: readonly string[]): number | undefined {
  const line = text
    .split("\n")
    .find(
      (l) =>
        l.startsWith(name) &&
        /^[{ ]/.test(l.slice(name.length)) &&
        labels.every((x) => l.includes(x)),
    );
  return line === undefined ? undefined : Number(line.split(" ").at(-1));
}

const scrape = async () => (await fetch(`${endpoint}/metrics`)).text();
const fleetLayers = [inline("l", [configMap("a"), configMap("b")]), inline("m", [configMap("c")])];

test("every documented metric is served; clusters are named by gauges only, and go with their members", async () => {
  assert.ok(
    !(await scrape()).includes(`cluster="${cluster}"`),
    "the Fleet before this one has gone",
  );
  await applyFleet(hub.client, "stays", cluster, fleetLayers);
  await fleetReady(hub.client, "stays");
  const of = [`namespace="${namespace}"`, `cluster="${cluster}"`];
  const ready = async () => valueOf(await scrape(), "capitan_cluster_ready", ...of) === 1;
  await until(ready, { deadlineMs: 5_000, what: "the cluster to be shown as ready" });
  await workload.mergePatch(
    resources.configMap,
    { namespace: "default", name: "a" },
    { data: { k: "somebody" }, metadata: { labels: { "capitan.dev/owner": null } } },
  );
  const repaired = async () => (valueOf(await scrape(), "capitan_repaired_objects_total") ?? 0) > 0;
  await until(repaired, { deadlineMs: 10_000, what: "a repair to be counted" });
  const text = await scrape();
  for (const [name, spec] of Object.entries(metricSpecs))
    assert.equal(text.includes(`# HELP ${name} `), !("by" in spec) || spec.by === "both", name);
  assert.equal(valueOf(text, "capitan_leader"), 1);
  assert.equal(valueOf(text, "capitan_cluster_connected", ...of), 1);
  assert.equal(valueOf(text, "capitan_connected_clusters"), 1);
  assert.equal(valueOf(text, "capitan_fleet_ready", 'fleet="stays"'), 1);
  assert.equal(valueOf(text, "capitan_fleet_clusters", 'fleet="stays"', 'state="ready"'), 1);
  assert.equal(valueOf(text, "capitan_members", 'reason="ReconciliationSucceeded"'), 1);
  assert.equal(valueOf(text, "capitan_approvals_waiting", 'kind="FleetMember"'), 0);
  assert.ok(
    (valueOf(text, "capitan_kubeconfig_expiry_timestamp_seconds", ...of) ?? 0) > Date.now() / 1000,
  );
  assert.ok((valueOf(text, "capitan_age_key_created_timestamp_seconds", ...of) ?? 0) > 0);
  const waiting = [`rotation="${rotation}"`, 'state="Waiting"'];
  assert.equal(valueOf(text, "capitan_rotation_clusters", ...waiting), 0);
  assert.ok((valueOf(text, "capitan_drift_repair_duration_seconds_count") ?? 0) >= 1);
  assert.ok(
    (valueOf(text, "capitan_reconcile_duration_seconds_count", 'controller="cluster"') ?? 0) > 9,
  );
  assert.match(text, /capitan_build_info\{version="v[0-9.]+",node_version="v24[^"]+"\} 1/);
  for (const line of text.split("\n")) {
    const [, name = "", inside = ""] = /^(\w+)\{(.*)\}/.exec(line) ?? [];
    const type = (metricSpecs as Record<string, { type: string }>)[name]?.type;
    assert.ok(type === "gauge" || !inside.includes(cluster), line);
  }
  assert.equal((await fetch(`${endpoint}/healthz`)).status, 200);
});

test("the same events reach --events-addr in the schema of Flux, success included, and no Secret", async () => {
  const isSuccess = ({ involvedObject, reason }: FluxEvent) =>
    involvedObject.kind === "FleetMember" && reason === "ReconciliationSucceeded";
  await applyFleet(hub.client, "stays", cluster, [
    ...fleetLayers,
    { name: "bad", oci: { url: "oci://127.0.0.1:9/nobody", insecure: true } },
  ]);
  const find = (test: (event: FluxEvent) => boolean) =>
    until(() => told.find(test), { deadlineMs: 20_000, what: "an event" });
  const failure = await find(({ reason }) => reason === "RegistryUnreachable");
  const success = await find(isSuccess);
  await applyFleet(hub.client, "stays", cluster, fleetLayers);
  await fleetReady(hub.client, "stays");
  const fleet = (await fleetOf(hub.client, "stays")) as Fleet;
  assert.deepEqual(
    { ...failure, timestamp: "", message: "" },
    {
      involvedObject: {
        apiVersion: "capitan.dev/v1alpha1",
        kind: "Fleet",
        name: "stays",
        namespace,
        uid: fleet.metadata.uid,
        resourceVersion: failure.involvedObject.resourceVersion,
      },
      severity: "error",
      timestamp: "",
      message: "",
      reason: "RegistryUnreachable",
      metadata: failure.metadata,
      reportingController: "capitan-controller",
      reportingInstance: hostname(),
    },
  );
  assert.match(failure.involvedObject.resourceVersion, /^\d+$/);
  assert.match(failure.message, /^layer bad: /);
  assert.match(failure.metadata["capitan.dev/revision"] ?? "", /^stays-[0-9a-f]{8}$/);
  assert.equal(new Date(failure.timestamp).toISOString(), failure.timestamp);
  assert.equal(success.severity, "info");
  assert.deepEqual(Object.keys(success.metadata).sort(), [
    "capitan.dev/cluster",
    "capitan.dev/fleet",
    "capitan.dev/revision",
  ]);
  assert.equal(success.metadata["capitan.dev/cluster"], cluster);
  const sameEvents = async () => {
    const { items } = await hub.client.list(resources.event);
    // The API server records Events of its own, about addresses of Services.
    const ours = items.filter((event) => event["reportingController"] === "capitan.dev/controller");
    const sent = valueOf(await scrape(), "capitan_notifications_total", 'result="sent"');
    assert.deepEqual(
      told.map(({ message }) => message).sort(),
      ours.map(({ note }) => note).sort(),
    );
    return sent === told.length;
  };
  await until(sameEvents, { deadlineMs: 10_000, what: "every Event to have been sent too" });
  const secret = await hub.client.get(resources.secret, {
    namespace,
    name: `${cluster}-kubeconfig`,
  });
  const encoded = asString(asMap(secret?.["data"])["value"]) ?? "";
  const kubeconfig = Buffer.from(encoded, "base64").toString();
  const key = /client-key-data"?: ?"?(\S{40})/.exec(kubeconfig)?.[1] ?? "";
  assert.equal(key.length, 40);
  assert.ok(!JSON.stringify(told).includes(key));
});

/** uid and resourceVersion by name of what the Fleet has put on the workload cluster. */
async function objects(): Promise<Readonly<Record<string, string>>> {
  const { items } = await workload.list(resources.configMap, {
    namespace: "default",
    labelSelector: "capitan.dev/owner",
  });
  return Object.fromEntries(
    items.map(({ metadata }) => [
      metadata.name,
      `${metadata.uid ?? ""} ${metadata.resourceVersion ?? ""}`,
    ]),
  );
}

/** The command while something applies the Deployment again just before the Fleets would be deleted. */
async function comesBackDuring(...args: readonly string[]): Promise<void> {
  const proxy = await ApiProxy.start({ kubeconfig: await readFile(hub.kubeconfigFile, "utf8") });
  try {
    const file = join(lab.dir, "prodhub-proxy.kubeconfig");
    await writeFile(file, proxy.kubeconfig(), { mode: 0o600 });
    const held = proxy.on({ method: "PATCH", path: /\/fleets\// }).hold();
    const command = capitan(args, file);
    await until(() => held.waiting > 0, { deadlineMs: 30_000, what: "the finalizer's patch" });
    const deployment = installManifests(installed()).find(({ kind }) => kind === "Deployment");
    assert.ok(deployment !== undefined);
    await hub.client.apply(resources.deployment, deployment, { manager: "gitops" });
    held.release();
    const { code, stderr } = await command;
    assert.equal(code, 1);
    assert.match(stderr, /ControllerRuns: Deployment \S+ has come back/);
    assert.ok((await fleetOf(hub.client, "stays")) !== undefined);
  } finally {
    await proxy.close();
  }
}

const uninstalled = async () => ({
  fleet: await hub.client.get(resources.fleet, { namespace, name: "stays" }).catch(() => undefined),
  deployment: await hub.client.get(resources.deployment, {
    namespace: systemNamespace,
    name: controllerAccount,
  }),
  account: await hub.client.get(resources.serviceAccount, {
    namespace: systemNamespace,
    name: controllerAccount,
  }),
});

test("capitan uninstall takes Capitan off the hub, and nothing off the workload cluster", async () => {
  await applyFleet(hub.client, "stays", cluster, fleetLayers);
  await fleetReady(hub.client, "stays");
  const before = await objects();
  assert.deepEqual(Object.keys(before).sort(), ["a", "b", "c"]);
  const audit = auditOf(lab.dir, cluster);
  const mark = await audit.mark();

  const refused = await cli("uninstall");
  assert.equal(refused.code, 1);
  assert.match(
    refused.stderr,
    /ControllerRuns: the controller \S+ runs\n  → Stop what the message/,
  );
  await stop(lab.dir, controllerProcess, 15_000);
  assert.equal((await cli("uninstall", "--crds")).code, 2);
  assert.ok((await fleetOf(hub.client, "stays")) !== undefined);

  assert.match(
    refused.stdout,
    /^Deployment\/\S+ deleted\nwaiting 15 s, to see whether \S+ renews its Lease\n$/,
  );
  const plain = await cli("uninstall");
  assert.equal(plain.code, 0, plain.stderr);
  const [deploymentDeleted = ""] = refused.stdout.split("\n");
  assert.equal(`${deploymentDeleted}\n${plain.stdout}`, await inDocs("install.md", "Deployment/"));
  const rest = await uninstalled();
  assert.deepEqual([rest.deployment, rest.account], [undefined, undefined]);
  assert.deepEqual((rest.fleet as Fleet).metadata.finalizers, ["capitan.dev/fleet"]);

  await comesBackDuring("uninstall", "--crds", "--yes");
  assert.deepEqual(await objects(), before);
  assert.equal((await cli("uninstall")).code, 0);
  const whole = await cli("uninstall", "--crds", "--yes");
  assert.equal(whole.code, 0, whole.stderr);
  assert.equal(whole.stdout, await inDocs("install.md", "no controller runs"));
  const { items } = await hub.client.list(resources.crd, {
    labelSelector: "app.kubernetes.io/part-of=capitan",
  });
  assert.deepEqual(items, []);
  const ground = groundManifests({ platformNamespaces: [namespace], management: true });
  const ours = ground.filter(({ kind }) => /Role|ServiceAccount/.test(kind));
  const discovery = new Discovery(hub.client);
  for (const object of ours) {
    const resource = await discovery.find(object.apiVersion, object.kind);
    assert.ok(resource !== undefined);
    assert.equal(await hub.client.get(resource, object.metadata), undefined);
  }
  assert.deepEqual(await objects(), before);
  const deletes = (await audit.since(mark)).filter(({ verb }) => verb.startsWith("delete"));
  assert.deepEqual(deletes, []);
  // Namespaces with what else may be in them are not Capitan's to delete.
  assert.ok(await hub.client.get(resources.cluster, { namespace, name: cluster }));
  assert.equal((await cli("uninstall", "--crds", "--yes")).code, 0, "repeated");

  assert.equal((await cli(...installArgs)).code, 0);
  // A namespace without its Role is told of, and holds nobody else.
  endpoint = await startController("--platform-namespace=forgotten");
  assert.ok(
    (valueOf(await scrape(), "capitan_hub_watch_failures_total", 'kind="Secret"') ?? 0) > 0,
  );
  await applyFleet(hub.client, "stays", cluster, fleetLayers);
  await fleetReady(hub.client, "stays");
  assert.deepEqual(await objects(), before, "installed again, it takes over what is there");
});
