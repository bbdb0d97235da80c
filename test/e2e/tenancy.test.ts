import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { auditOf, type AuditEntry } from "../../hack/lab/audit.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { labels } from "../../pkg/object/index.ts";
import { asMap } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";
import { pushFiles } from "../harness/artifacts.ts";
import {
  configMap,
  deployment,
  fleetReady,
  inline,
  resources,
  sharedHub,
  sharedLab,
  until,
} from "../harness/index.ts";
import { fleetGoes, newTenant, tenantFleet, type Tenant } from "../harness/tenants.ts";

let lab: LabFile;
let hub: KubeClient;
let a: Tenant;

const manager = { manager: "test" };
const soon = (what: string) => ({ deadlineMs: 20_000, what });

before(async () => {
  lab = await sharedLab();
  hub = await sharedHub();
  a = await newTenant(hub, { namespace: "team-a", cluster: "ten-1", secrets: ["values"] });
});
after(async () => {
  await a.workload.close();
  await hub.close();
});

const template =
  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: rendered, namespace: team-a}\ndata:\n  a: {{quote values.a}}\n  b: {{quote values.b}}\n";

/** The tenant's own ConfigMap and Secret with values. */
async function putInputs(b: string): Promise<void> {
  const { namespace } = a;
  const values = configMap("values", { "values.yaml": "a: one\n" }, namespace);
  await hub.apply(resources.configMap, values as KubeObject, manager);
  const data = { "values.yaml": btoa(`b: ${b}\n`) };
  const secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "values", namespace }, data };
  await hub.apply(resources.secret, secret, manager);
}

/** The requests of the controller. */
const ofController = async (server: string, mark: number) =>
  (await auditOf(lab.dir, server).since(mark)).filter(
    ({ userAgent }) => userAgent === "capitan-controller",
  );

const line = (entry: AuditEntry) =>
  `${entry.verb} ${entry.resource} ${entry.namespace}/${entry.name} as ${entry.impersonated || "itself"}`;

/** What the controller may do on a workload cluster under its own name: docs/security.md has the list. */
function isOwnWork({ verb, resource, namespace, name, requestURI }: AuditEntry): boolean {
  const isDiscovery = resource === "";
  const isInventory = namespace === "capitan-system";
  const isDial = verb === "get" && resource === "namespaces" && name === "kube-system";
  const isWake = (verb === "list" || verb === "watch") && requestURI.includes(encodeURIComponent(labels.owner));
  const isHome = verb === "create" && resource === "namespaces";
  return isDiscovery || isInventory || isDial || isWake || isHome;
}

const dataOf = async (name: string) =>
  asMap((await a.workload.get(resources.configMap, { namespace: a.namespace, name }))?.["data"]);

test("A1 everything that is read and written for a tenant's Fleet is done as its ServiceAccount, on the hub and on the cluster", async () => {
  const marks = {
    hub: await auditOf(lab.dir, "hub").mark(),
    cluster: await auditOf(lab.dir, a.cluster).mark(),
  };
  await putInputs("two");
  const url = `oci://${lab.registry}/tenancy/app`;
  await pushFiles(`${url}:v1`, { "a.yaml.hbs": template });
  const app = { ...deployment("app"), metadata: { name: "app", namespace: a.namespace } };
  const rendered = {
    name: "rendered",
    oci: { url, insecure: true, ref: { tag: "v1" } },
    valuesFrom: [
      { kind: "ConfigMap", name: "values" },
      { kind: "Secret", name: "values" },
    ],
  };
  const kept = (n: string) => inline("plain", [configMap("kept", { n }, a.namespace), app]);
  const extra = inline("extra", [configMap("extra", {}, a.namespace)]);
  await tenantFleet(hub, a, "app", [kept("1"), rendered, extra]);
  await fleetReady(hub, "app", 60_000, a.namespace);
  assert.deepEqual(await dataOf("rendered"), { a: "one", b: "two" });

  // Changed by the Fleet, by a Secret, and on the cluster; a layer goes; then everything.
  await tenantFleet(hub, a, "app", [kept("2"), rendered]);
  await until(async () => (await dataOf("kept"))["n"] === "2", soon("the change"));
  await putInputs("three");
  await until(async () => (await dataOf("rendered"))["b"] === "three", soon("the Secret's change"));
  const name = { namespace: a.namespace, name: "kept" };
  await a.workload.mergePatch(resources.configMap, name, { data: { n: "drift" } });
  await until(async () => (await dataOf("kept"))["n"] === "2", soon("the repair"));
  await until(
    async () => (await a.workload.get(resources.configMap, { ...name, name: "extra" })) === undefined,
    soon("the dropped layer to go"),
  );
  await fleetGoes(hub, resources.fleet, { namespace: a.namespace, name: "app" });

  const onCluster = await ofController(a.cluster, marks.cluster);
  const asTenant = onCluster.filter(({ impersonated }) => impersonated === a.user);
  const done = new Set(asTenant.map(({ verb, resource }) => `${verb} ${resource}`));
  for (const what of ["get configmaps", "patch configmaps", "delete configmaps", "get deployments"])
    assert.ok(done.has(what), `${what}: ${[...done].join(", ")}`);
  const asItself = onCluster.filter(({ impersonated }) => impersonated === "");
  assert.deepEqual([...new Set(asItself.filter((entry) => !isOwnWork(entry)).map(line))], []);
  assert.equal(onCluster.length, asTenant.length + asItself.length);

  const onHub = (await ofController("hub", marks.hub)).filter(
    ({ namespace, resource }) =>
      namespace === a.namespace && (resource === "secrets" || resource === "configmaps"),
  );
  const contents = onHub.filter(
    ({ verb, name }) => verb === "get" && name !== `${a.cluster}-kubeconfig`,
  );
  assert.deepEqual([...new Set(contents.map(line))].sort(), [
    `get configmaps team-a/values as ${a.user}`,
    `get secrets team-a/values as ${a.user}`,
  ]);
  const others = onHub.filter((entry) => !contents.includes(entry));
  assert.deepEqual(
    others.filter(({ verb, name }) => !(verb === "list" || verb === "watch" || name !== "")),
    [],
  );
});
