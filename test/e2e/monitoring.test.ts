import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import type { Server } from "node:http";
import { hostname } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { parse } from "yaml";
import { fluxManifests, olderFluxManifests } from "../../hack/flux-manifests.ts";
import { clusterKubeconfig } from "../../hack/lab/clusters.ts";
import { serveDefinitions } from "../../hack/lab/managers.ts";
import { root } from "../../hack/lab/paths.ts";
import { stop } from "../../hack/lab/processes.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import type { Fleet } from "../../pkg/api/index.ts";
import { controllerAccount, receiverAccount, systemNamespace } from "../../pkg/install/index.ts";
import { asList, asMap } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { parseWorkloadKubeconfig } from "../../pkg/kubeconfig/index.ts";
import { outcomes, type FluxEvent } from "../../pkg/notify/index.ts";
import { parseManifests, type KubeObject } from "../../pkg/object/index.ts";
import { Foreigner, pathOf } from "../faults/drift-target.ts";
import {
  applyFleet,
  capitan,
  configMap,
  fleetOf,
  fleetReady,
  inline,
  namespace,
  newCluster,
  resources,
  sharedHub,
  sharedLab,
  until,
} from "../harness/index.ts";
import {
  fluxDefinition,
  installNotification,
  notificationProcess,
  notificationResources,
  startNotificationController,
} from "../harness/notification-controller.ts";
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
import { inDocs } from "../harness/pages.ts";
import {
  dashboardExpressions,
  metricsLint,
  operatorDefinitions,
  promtool,
  ruleFile,
  seriesOf,
  type Rule,
  type Series,
} from "../harness/prometheus.ts";
import { applyLostRotation } from "../harness/rights.ts";
import { listen, portOf } from "../harness/servers.ts";
import { testsOf } from "./alert-cases.ts";

/** A hub with Flux's notification-controller, on which Capitan is installed as the pages say. The tests build on each other. */
const cluster = "monitored-1";
const fleet = "told";
const image = `registry.example/capitan@sha256:${"a".repeat(64)}`;
const controllerProcess = "controller-monitoring";
const receiverProcess = "receiver-monitoring";
const page = "monitoring/notifications.md";
const manager = { manager: "test" };

let lab: LabFile;
let hub: OwnHub;
let workload: KubeClient;
let kubeconfig: string;
/** Writes as kubectl does. */
let kubectl: Foreigner;
let notificationAddress: string;
/** Where the controller serves metrics. */
let endpoint: string;
/** The same of the receiver. */
let receiverEndpoint: string;
/** Where the receiver takes deliveries. */
let deliveries: string;

/** What came to a Provider's address. */
type Told = { readonly path: string; readonly component: unknown; readonly event: FluxEvent };
const told: Told[] = [];
let chat: Server;

before(async () => {
  chat = await listen((request, response) => {
    let text = "";
    request.on("data", (chunk: Buffer) => (text += chunk.toString()));
    request.on("end", () => {
      const { url: path = "", headers } = request;
      const event = JSON.parse(text) as FluxEvent;
      told.push({ path, component: headers["gotk-component"], event });
      response.writeHead(200).end();
    });
  });
  lab = await sharedLab();
  const shared = await sharedHub();
  workload = (await newCluster(shared, cluster)).client;
  kubeconfig = await clusterKubeconfig(shared, { namespace, name: cluster });
  await shared.close();
  hub = await startOwnHub(lab, "monhub", lab.ports.lastWorkload - 70);
  const admin = await readFile(hub.kubeconfigFile, "utf8");
  kubectl = new Foreigner(parseWorkloadKubeconfig(admin, "monhub"));
  await installNotification(hub);
  notificationAddress = await startNotificationController(lab, hub, lab.ports.lastWorkload - 71);
  await tellCluster(hub.client, { namespace, name: cluster }, kubeconfig);
  const args = ["install", "--image", image, "--events-addr", notificationAddress];
  const installed = await capitan(args, hub.kubeconfigFile);
  assert.equal(installed.code, 0, installed.stderr);
  const own = await asInstalled(lab, hub, { account: receiverAccount, process: receiverProcess });
  const port = lab.ports.lastWorkload - 72;
  deliveries = await startOwnReceiver(lab, own, port);
  receiverEndpoint = `http://127.0.0.1:${port}`;
});
after(async () => {
  for (const name of [controllerProcess, receiverProcess, notificationProcess])
    await stop(lab.dir, name);
  await stopOwnHub(lab, hub);
  await kubectl.close();
  await workload.close();
  chat.closeAllConnections();
  chat.close();
});

/** Creates what a text holds as `kubectl apply` does: a field that is not in the schema, or twice there, is an error. */
async function kubectlApply(text: string): Promise<readonly KubeObject[]> {
  const objects = parseManifests(text, "what is applied");
  const query = { fieldValidation: "Strict" };
  for (const body of objects)
    await kubectl.send("POST", pathOf(body, { collection: true }), { body, query });
  return objects;
}

type Patch = { readonly target: { readonly name: string }; readonly patch: string };

/** The CRD in these manifests with the kinds that the page adds to this one of its versions. */
async function patched(manifests: string, version: number): Promise<KubeObject> {
  const { target, patch } = parse(await inDocs(page, "target:")) as Patch;
  const definition = structuredClone(await fluxDefinition(manifests, target.name));
  for (const { op, path, value } of parse(patch) as Record<"op" | "path" | "value", string>[]) {
    assert.equal(op, "add");
    const [last, ...keys] = path.replace("versions/0", `versions/${version}`).split("/").reverse();
    assert.equal(last, "-");
    const step = (node: unknown, key: string) => (node as Record<string, unknown>)[key];
    (keys.reverse().slice(1).reduce<unknown>(step, definition) as string[]).push(value);
  }
  return definition;
}

const kindsOf = (definition: KubeObject, version: number): readonly unknown[] => {
  const read = (node: unknown, key: string) => asMap(node)[key];
  const path =
    "schema openAPIV3Schema properties spec properties eventSources items properties kind";
  const at = asList(asMap(definition["spec"])["versions"])[version];
  assert.equal(asMap(at)["name"], "v1beta3");
  return asList(asMap(path.split(" ").reduce<unknown>(read, at))["enum"]);
};

test("an Alert of Flux may name our kinds once its CRD is patched as the page says; then everything on the page is accepted as printed", async () => {
  await kubectlApply(await inDocs(page, "apiVersion: networking.k8s.io/v1"));
  const [alertText, providerText] = await Promise.all(
    ["Alert", "Provider"].map((kind) =>
      inDocs(page, `apiVersion: notification.toolkit.fluxcd.io/v1beta3\nkind: ${kind}`),
    ),
  );
  await kubectlApply(providerText ?? "");
  const kinds = ["Fleet", "FleetMember", "KeyRotation", "SecretRotation"];
  for (const kind of kinds) {
    const only = parseManifests(alertText ?? "", page).map((alert) => {
      const spec = { ...asMap(alert["spec"]), eventSources: [{ kind, name: "*" }] };
      return JSON.stringify({ ...alert, spec });
    });
    const refused = { message: new RegExp(`Unsupported value: \\\\"${kind}\\\\"`) };
    await assert.rejects(kubectlApply(only.join("")), refused);
  }
  await hub.client.apply(resources.crd, await patched((await fluxManifests()).text, 0), manager);
  await until(() => kubectlApply(alertText ?? ""), {
    deadlineMs: 30_000,
    what: "the Alert to be accepted",
  });
  const older = await patched((await olderFluxManifests()).text, 1);
  assert.deepEqual(kindsOf(older, 1).slice(-kinds.length), kinds);
});

/** An event about this Fleet, which notification-controller has never seen. */
const probe = (n: number, name: string): FluxEvent => ({
  involvedObject: {
    apiVersion: "capitan.dev/v1alpha1",
    kind: "Fleet",
    name,
    namespace,
    uid: "",
    resourceVersion: "",
  },
  severity: "error",
  timestamp: "2026-01-01T00:00:00Z",
  message: `probe ${n}`,
  reason: "Probe",
  metadata: {},
  reportingController: "probe",
  reportingInstance: "probe",
});

let probes = 0;

/** Tells of a Fleet until it has come to each of these paths: only then does notification-controller know of all Alerts and Providers. */
async function listenTo(paths: readonly string[], name = "probe"): Promise<void> {
  const arrived = async () => {
    const body = JSON.stringify(probe(probes++, name));
    const headers = { "content-type": "application/json" };
    await fetch(notificationAddress, { method: "POST", headers, body });
    return paths.every((path) => told.some((each) => each.path === path));
  };
  await until(arrived, { deadlineMs: 45_000, what: "a probe to arrive", everyMs: 250 });
}

const find = (path: string, test: (event: FluxEvent) => boolean) =>
  until(() => told.find((each) => each.path === path && test(each.event)), {
    deadlineMs: 20_000,
    what: `an event at ${path}`,
  });

/** A Provider of this name that sends to the test, and the page's Alert that uses it, changed. */
async function alertTo(name: string, more: object): Promise<void> {
  const of = { apiVersion: "notification.toolkit.fluxcd.io/v1beta3" };
  const { provider, alert } = notificationResources;
  const metadata = { namespace, name };
  const generic = { type: "generic", address: `http://127.0.0.1:${portOf(chat)}/${name}` };
  await hub.client.apply(provider, { ...of, kind: "Provider", metadata, spec: generic }, manager);
  const printed = await hub.client.get(alert, { namespace, name: "capitan" });
  const spec = { ...asMap(printed?.["spec"]), providerRef: { name }, ...more };
  await hub.client.apply(alert, { ...of, kind: "Alert", metadata, spec }, manager);
}

test("a Fleet that becomes Ready and one that fails are told through Flux's notification-controller, as its Alerts say", async () => {
  const address = `http://127.0.0.1:${portOf(chat)}/chat`;
  const spec = { type: "generic", address, channel: null, secretRef: null };
  await hub.client.mergePatch(
    notificationResources.provider,
    { namespace, name: "chat" },
    { spec },
  );
  await alertTo("all", { eventSeverity: "info" });
  await listenTo(["/chat", "/all"]);

  const own = { account: controllerAccount, process: controllerProcess };
  // A namespace without its Role: the watches there fail.
  const more = ["--platform-namespace=forgotten"];
  endpoint = await startOwnController(lab, await asInstalled(lab, hub, { ...own, more }));
  const layers = [inline("l", [configMap("monitored")])];
  await applyFleet(hub.client, fleet, cluster, layers);
  await fleetReady(hub.client, fleet);
  const annotations = { "event.toolkit.fluxcd.io/team": "blue" };
  await hub.client.mergePatch(
    resources.fleet,
    { namespace, name: fleet },
    { metadata: { annotations } },
  );
  const bad = { name: "bad", oci: { url: "oci://127.0.0.1:9/nobody", insecure: true } };
  await applyFleet(hub.client, fleet, cluster, [...layers, bad]);

  const isReady = ({ reason }: FluxEvent) => reason === "ReconciliationSucceeded";
  const ofKind = (kind: string) => (event: FluxEvent) =>
    event.involvedObject.kind === kind && isReady(event);
  const success = (await find("/all", ofKind("Fleet"))).event;
  const member = (await find("/all", ofKind("FleetMember"))).event;
  const isFailure = ({ reason }: FluxEvent) => reason === "RegistryUnreachable";
  const { event: failure, component } = await find("/chat", isFailure);
  assert.deepEqual((await find("/all", isFailure)).event, failure);
  const { uid } = ((await fleetOf(hub.client, fleet)) as Fleet).metadata;
  const { apiVersion, kind, name, resourceVersion } = failure.involvedObject;
  assert.deepEqual(
    [apiVersion, kind, name, failure.involvedObject.namespace, failure.involvedObject.uid],
    ["capitan.dev/v1alpha1", "Fleet", fleet, namespace, uid],
  );
  assert.match(resourceVersion, /^\d+$/);
  assert.equal(failure.severity, "error");
  assert.match(failure.message, /^layer bad: /);
  assert.deepEqual(failure.metadata, { revision: success.metadata["revision"], team: "blue" });
  assert.deepEqual(
    [component, failure.reportingController, failure.reportingInstance],
    [controllerAccount, controllerAccount, hostname()],
  );
  assert.equal(success.severity, "info");
  assert.match(success.message, /1 of 1 clusters ready/);
  assert.match(success.metadata["revision"] ?? "", /^told-[0-9a-f]{8}$/);
  const { revision } = success.metadata;
  assert.deepEqual([member.severity, member.metadata], ["info", { revision, fleet, cluster }]);
  assert.ok(told.every(({ path, event }) => path !== "/chat" || event.severity === "error"));
});

test("what a rotation meets is told too, with its commit, and notification-controller has nothing to warn of", async () => {
  await applyLostRotation(hub.client, namespace);
  const isRotation = ({ involvedObject }: FluxEvent) => involvedObject.kind === "SecretRotation";
  const { event } = await find("/all", isRotation);
  assert.deepEqual(event.metadata, { revision: "a".repeat(40) });
  const { items } = await hub.client.list(resources.event, { namespace });
  const about = items.filter((item) => asMap(item["regarding"])["kind"] === "Alert");
  assert.deepEqual(
    about.map(({ note }) => note),
    [],
  );
});

test("an Alert selects our objects by label once notification-controller may read them, by the right on the page", async () => {
  await kubectlApply(await inDocs(page, "apiVersion: rbac.authorization.k8s.io/v1"));
  const labels = { told: "yes" };
  await hub.client.mergePatch(
    resources.fleet,
    { namespace, name: fleet },
    { metadata: { labels } },
  );
  await alertTo("labelled", { eventSources: [{ kind: "Fleet", name: "*", matchLabels: labels }] });
  await listenTo(["/labelled"], fleet);
});

const monitoring = (file: string) => readFile(join(root, "docs", "monitoring", file), "utf8");

test("Prometheus Operator's kinds take the alerts and the PodMonitor as kubectl applies them, and nothing misspelt", async () => {
  await serveDefinitions(hub.client, await operatorDefinitions("prometheusrules", "podmonitors"));
  const alerts = await monitoring("alerts.yaml");
  await assert.rejects(kubectlApply(alerts.replace("expr:", "exprs:")), {
    message: /unknown field \\"spec.groups\[0\].rules\[0\].exprs/,
  });
  await kubectlApply(alerts);
  const [monitor] = await kubectlApply(await monitoring("podmonitor.yaml"));
  const { selector } = asMap(monitor?.["spec"]);
  const wanted = Object.entries(asMap(asMap(selector)["matchLabels"]));
  assert.ok(wanted.length > 0);
  assert.equal(monitor?.metadata.namespace, systemNamespace);
  for (const account of [controllerAccount, receiverAccount]) {
    const { metadata, spec } = await podTemplate(hub, account);
    for (const [label, value] of wanted) assert.equal(metadata.labels?.[label], value);
    const ports = asList(asMap(spec)["containers"]).flatMap((c) => asList(asMap(c)["ports"]));
    const { port } = await podMetrics();
    assert.ok(port !== undefined && ports.some((each) => asMap(each)["name"] === port));
  }
});

/** How pods are scraped. */
async function podMetrics() {
  const [monitor] = parseManifests(await monitoring("podmonitor.yaml"), "podmonitor.yaml");
  return asMap(asList(asMap(monitor?.["spec"])["podMetricsEndpoints"])[0]);
}

test("Prometheus' own parser takes every alert, every panel and every line that we serve", async () => {
  const lint = ["check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"];
  const rules = await ruleFile();
  const count = rules.groups.flatMap((group) => group.rules).length;
  assert.match(
    await promtool(lint, { "rules.yaml": rules }),
    new RegExp(`SUCCESS: ${count} rules`),
  );
  const expressions = await dashboardExpressions();
  const records = expressions.map((expr, n) => ({ record: `panel:${n}`, expr }));
  const panels = { groups: [{ name: "panels", rules: records }] };
  await promtool(lint, { "rules.yaml": panels });
  const broken = { groups: [{ name: "panels", rules: [{ record: "panel:0", expr: "sum(" }] }] };
  await assert.rejects(promtool(lint, { "rules.yaml": broken }), { message: /parse error/ });
  const scrapes = await Promise.all([scrape(endpoint), scrape(receiverEndpoint)]);
  for (const text of scrapes) {
    const complaints = await metricsLint(text);
    assert.deepEqual(
      complaints.filter((line) => !/^(?:nodejs|process)_/.test(line)),
      [],
    );
  }
});

const scrape = async (address: string) => (await fetch(`${address}/metrics`)).text();

/** The labels that a PodMonitor adds to a target. */
const targetOf = (pod: string, container: string, address: string) => ({
  job: `${systemNamespace}/capitan`,
  namespace: systemNamespace,
  pod,
  container,
  endpoint: "http",
  instance: `${address}:8080`,
});

/** Has everything happen that a series of the rules is made by, and scrapes both processes when all is well. */
async function healthySeries(rules: readonly Rule[]): Promise<readonly Series[]> {
  await wakeFleet(hub, deliveries, "woken");
  await applyFleet(hub.client, fleet, cluster, [inline("l", [configMap("monitored")])]);
  await fleetReady(hub.client, fleet);
  const text = rules.map(({ expr }) => expr).join("\n");
  const names = new Set(text.match(/\b(?:capitan|process|nodejs)_\w+/g));
  const targets = [
    [endpoint, targetOf("capitan-controller-1", "controller", "10.0.0.1")],
    [receiverEndpoint, targetOf("capitan-receiver-1", "receiver", "10.0.0.2")],
  ] as const;
  const { honorLabels } = await podMetrics();
  const isWell = ({ name, values }: Series) =>
    !/_(?:ready|connected)$/.test(name) || Number(values) === 1;
  const scraped = async () => {
    const of = async ([address, target]: (typeof targets)[number]) =>
      seriesOf(await scrape(address), target, honorLabels === true);
    const all = (await Promise.all(targets.map(of))).flat();
    return all.every(isWell) ? all : undefined;
  };
  const all = await until(scraped, { deadlineMs: 15_000, what: "gauges to say that all is well" });
  const found = all.filter(({ name }) => names.has(name));
  assert.deepEqual(
    [...names].filter((name) => !found.some((series) => series.name === name)),
    [],
    "names in the rules that no scrape has",
  );
  return found;
}

test("every alert fires when and as it says on what we serve, and none does on a healthy hub", async () => {
  const rules = await ruleFile();
  const all = rules.groups.flatMap((group) => group.rules);
  // A rotation stands here, and the machine may be busy.
  const calm = ["capitan_rotation_clusters", "nodejs_eventloop_lag_p99_seconds"];
  const healthy = (await healthySeries(all)).map((series) =>
    calm.includes(series.name) ? { ...series, values: "0" } : series,
  );
  const ready = healthy.find(({ name }) => name === "capitan_cluster_ready");
  assert.deepEqual([ready?.labels["namespace"], ready?.labels["cluster"]], [namespace, cluster]);
  const file = { rule_files: ["rules.yaml"], ...testsOf(all, healthy) };
  // Before the first is lost, so that its loss is an increase.
  for (const outcome of outcomes)
    assert.ok(
      healthy.some(({ labels }) => labels["result"] === outcome),
      outcome,
    );
  await promtool(["test", "rules", "test.yaml"], { "rules.yaml": rules, "test.yaml": file });
});
