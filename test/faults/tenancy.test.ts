import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { auditOf, type AuditEntry } from "../../hack/lab/audit.ts";
import { clusterKubeconfig } from "../../hack/lab/clusters.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { conditionOf, fleetSchema } from "../../pkg/api/index.ts";
import { ownerOf } from "../../pkg/fleet/index.ts";
import { asMap, isJsonMap } from "../../pkg/json/index.ts";
import { ApiError, type KubeClient } from "../../pkg/kube/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";
import { pushFiles } from "../harness/artifacts.ts";
import {
  applyFleet,
  capitan,
  configMap,
  deleteNow,
  deployment,
  fleetHas,
  fleetOf,
  fleetReady,
  inline,
  memberHas,
  memberOf,
  namespace as platform,
  resources,
  sharedHub,
  sharedLab,
  until,
} from "../harness/index.ts";
import { fleetGoes, newTenant, tenantFleet, type Tenant } from "../harness/tenants.ts";
import { ApiProxy, swapKubeconfig } from "./harness/index.ts";

let lab: LabFile;
let hub: KubeClient;
let tenant: Tenant;
/** Plain HTTP; what is there may be pulled by anybody. */
let url: (name: string) => string;

const manager = { manager: "test" };
const soon = (what: string) => ({ deadlineMs: 20_000, what });

before(async () => {
  lab = await sharedLab();
  hub = await sharedHub();
  tenant = await newTenant(hub, { namespace: "team-f", cluster: "ten-f" });
  url = (name) => `oci://${lab.registry}/tenancy/${name}`;
  await pushFiles(`${url("flux")}:v2.9.4`, { "a.json": JSON.stringify(configMap("flux")) });
  const template =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: t}\ndata:\n  a: {{quote values.a}}\n";
  await pushFiles(`${url("files")}:v2.9.4`, { "a.yaml.hbs": template });
});
after(async () => {
  await tenant.workload.close();
  await hub.close();
});

/** How a Fleet names an object, by the field's path in the CRD: the layers and what else its spec has. */
type Naming = (name: string) => { readonly layers: readonly object[]; readonly more?: object };

const files = (more: object) => ({
  layers: [
    { name: "l", oci: { url: url("files"), insecure: true, ref: { tag: "v2.9.4" } }, ...more },
  ],
});
const oci = (more: object) => files({ oci: { url: url("files"), insecure: true, ...more } });
const flux = (more: object) => ({
  layers: [
    {
      name: "l",
      flux: { version: "2.9.4", artifact: { url: url("flux"), insecure: true }, ...more },
    },
  ],
});
const artifact = (more: object) =>
  flux({ artifact: { url: url("flux"), insecure: true, ...more } });
const sync = (more: object) => flux({ sync: { follow: "Tag", ...more } });
const syncOci = (more: object) => sync({ oci: { url: url("files"), insecure: true, ...more } });

/** One row for every field of a Fleet that names another object; the first test fails when one is missing. */
const rows: Readonly<Record<string, Naming>> = {
  "spec.serviceAccountName": (name) => ({
    ...files({ valuesFrom: [{ kind: "ConfigMap", name: "x" }] }),
    more: { serviceAccountName: name },
  }),
  "spec.layers[].oci.secretRef.name": (name) => oci({ secretRef: { name } }),
  "spec.layers[].oci.certSecretRef.name": (name) => oci({ certSecretRef: { name } }),
  "spec.layers[].git.secretRef.name": (name) => ({
    layers: [{ name: "l", git: { url: "https://git.example/x", secretRef: { name } } }],
  }),
  "spec.layers[].flux.artifact.secretRef.name": (name) => artifact({ secretRef: { name } }),
  "spec.layers[].flux.artifact.certSecretRef.name": (name) => artifact({ certSecretRef: { name } }),
  "spec.layers[].flux.imagePullSecret": (name) => flux({ imagePullSecret: name }),
  "spec.layers[].flux.sync.oci.secretRef.name": (name) => syncOci({ secretRef: { name } }),
  "spec.layers[].flux.sync.oci.certSecretRef.name": (name) => syncOci({ certSecretRef: { name } }),
  "spec.layers[].flux.sync.git.secretRef.name": (name) =>
    sync({ git: { url: "https://git.example/x", secretRef: { name } } }),
  "spec.layers[].valuesFrom[].name": (name) => files({ valuesFrom: [{ kind: "ConfigMap", name }] }),
  "spec.layers[].valuesFrom[].name of a Secret": (name) =>
    files({ valuesFrom: [{ kind: "Secret", name }] }),
  "spec.layers[].decryption.secretRef.name": (name) =>
    files({ decryption: { provider: "sops", secretRef: { name } } }),
};

/** What looks like one and reads nothing: it selects among the layer's own objects. */
const notReferences = ["spec.layers[].patches[].target.namespace"];

/** What a Fleet with a ServiceAccount may not say at all: it is done with the controller's rights. */
const withoutAccount = [
  "spec.rotation.decryption.secretRef.name",
  "spec.rotation.repository.secretRef.name",
];

/** Every field below a schema that holds the name of an object, and every one that could say a namespace. */
function referencesIn(schema: unknown, path = ""): readonly string[] {
  const node = asMap(schema);
  const isName = node["pattern"] === "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";
  const below = Object.entries(asMap(node["properties"])).flatMap(([key, sub]) => [
    ...(/namespace/i.test(key) ? [`${path}.${key}`] : []),
    ...referencesIn(sub, `${path}.${key}`),
  ]);
  const items = node["items"] === undefined ? [] : referencesIn(node["items"], `${path}[]`);
  return [...(isName ? [path] : []), ...below, ...items];
}

/** A Fleet of the tenant's namespace, as it is sent. */
const fleetObject = (name: string, { layers, more = {} }: ReturnType<Naming>): KubeObject => ({
  apiVersion: "capitan.dev/v1alpha1",
  kind: "Fleet",
  metadata: { name, namespace: tenant.namespace },
  spec: {
    clusterSelector: {},
    serviceAccountName: tenant.namespace,
    layers,
    ...more,
  },
});

/** The same value with `namespace` beside every `name`. */
function withNamespaces(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withNamespaces);
  if (!isJsonMap(value)) return value;
  const entries = Object.entries(value).map(([key, one]) => [key, withNamespaces(one)] as const);
  const extra = "name" in value ? { namespace: "elsewhere" } : {};
  return { ...Object.fromEntries(entries), ...extra };
}

const foreignName = (i: number) => `foreign-${i}`;

/** What a process asked an API server for by these names. */
const askedFor = (entries: readonly AuditEntry[], agent: string) =>
  entries.filter(({ userAgent, name }) => userAgent === agent && name.startsWith("foreign-"));

test("A2 every field of a Fleet that names an object reaches objects of the Fleet's own namespace only", async () => {
  const found = referencesIn(fleetSchema).map((path) => path.slice(1));
  const named = Object.keys(rows).map((path) => path.replace(/ of .*/, ""));
  const known = new Set([...named, ...notReferences, ...withoutAccount]);
  assert.deepEqual([...found].sort(), [...known].sort());
  const secretRef = { name: foreignName(0) };
  const repository = { url: "https://git.example/x", secretRef };
  const rotation = { rotateEvery: "2160h", repository, decryption: { secretRef } };
  await assert.rejects(
    hub.create(resources.fleet, fleetObject("rotates", { ...files({}), more: { rotation } }), {
      dryRun: true,
    }),
    /neither target nor serviceAccountName/,
  );
  for (const [i, [path, naming]] of Object.entries(rows).entries()) {
    const name = foreignName(i);
    const data = { "values.yaml": btoa("a: b\n"), ".dockerconfigjson": btoa("{}"), "ca.crt": "" };
    for (const namespace of [platform, "default"]) {
      const metadata = { name, namespace };
      await hub.apply(
        resources.secret,
        { apiVersion: "v1", kind: "Secret", metadata, data },
        manager,
      );
      const values = configMap(name, { "values.yaml": "a: b\n" }, namespace);
      await hub.apply(resources.configMap, values as KubeObject, manager);
      const account = { apiVersion: "v1", kind: "ServiceAccount", metadata };
      await hub.apply(resources.serviceAccount, account, manager);
    }
    for (const escape of [`${platform}/${name}`, `../${platform}/${name}`, `${platform}:${name}`])
      await assert.rejects(
        hub.create(resources.fleet, fleetObject("escapes", naming(escape)), { dryRun: true }),
        (error) => error instanceof ApiError && error.status === 422,
        `${path}: ${escape}`,
      );
    const said = fleetObject("escapes", naming(name));
    const spec = withNamespaces(said["spec"]);
    const taken = await hub.create(resources.fleet, { ...said, spec }, { dryRun: true });
    assert.ok(!JSON.stringify(taken["spec"]).includes("elsewhere"), path);
  }
  const mark = await auditOf(lab.dir, "hub").mark();
  for (const [i, naming] of Object.values(rows).entries())
    await hub.apply(resources.fleet, fleetObject(`reads-${i}`, naming(foreignName(i))), manager);
  for (const [i, path] of Object.keys(rows).entries())
    await until(
      async () => {
        const said = `${await fleetReadyOf(`reads-${i}`)}; ${await readyOf(`reads-${i}`)}`;
        // ConfigMaps of its own namespace it may read.
        if (/AccessDenied|ImpersonationRefused|ValuesNotFound/.test(said)) return true;
        throw new Error(`${path}: ${said}`);
      },
      soon(`${path} to be refused`),
    );
  const asked = askedFor(await auditOf(lab.dir, "hub").since(mark), "capitan-controller");
  const foreign = asked.filter(({ namespace }) => namespace !== tenant.namespace);
  assert.deepEqual(foreign, []);
  // The oracle sees: each name was asked for where the Fleet is, but that of the account, whom nobody may be.
  const names = new Set(asked.map(({ name }) => name));
  const account = Object.keys(rows).indexOf("spec.serviceAccountName");
  const expected = Object.keys(rows).map((_, i) => foreignName(i));
  assert.deepEqual([...names].sort(), expected.filter((_, i) => i !== account).sort());
});

test("A3 the command line asks for nothing else when it resolves the same Fleets", async () => {
  const mark = await auditOf(lab.dir, "hub").mark();
  const plan = async ([i, path]: [number, string]) => {
    const { code, stderr } = await capitan(["plan", "fleet", `reads-${i}`, "-n", tenant.namespace]);
    assert.ok(code === 1 || !path.endsWith("Ref.name"), `${path}: ${stderr}`);
  };
  // Some at a time: each is a process.
  const all = [...Object.keys(rows).entries()];
  for (let i = 0; i < all.length; i += 4) await Promise.all(all.slice(i, i + 4).map(plan));
  const asked = askedFor(await auditOf(lab.dir, "hub").since(mark), "capitan");
  assert.deepEqual(
    asked.filter(({ namespace }) => namespace !== tenant.namespace),
    [],
  );
  assert.equal(new Set(asked.map(({ name }) => name)).size, Object.keys(rows).length - 1);
  for (const i of Object.keys(rows).keys())
    await fleetGoes(hub, resources.fleet, { namespace: tenant.namespace, name: `reads-${i}` });
});

/** What a Fleet of the tenant says, by its condition. */
async function fleetReadyOf(name: string): Promise<string> {
  const status = (await fleetOf(hub, name, tenant.namespace))?.status;
  const ready = conditionOf(status?.conditions, "Ready");
  return `${ready?.reason ?? ""}: ${ready?.message ?? ""}`;
}

/** What its member says. */
async function readyOf(fleet: string): Promise<string> {
  const member = await memberOf(hub, fleet, tenant.cluster, tenant.namespace);
  const ready = conditionOf(member?.status?.conditions, "Ready");
  return `${ready?.reason ?? ""}: ${ready?.message ?? ""}`;
}

const escalation = {
  apiVersion: "rbac.authorization.k8s.io/v1",
  kind: "ClusterRoleBinding",
  metadata: { name: "mallory" },
  roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
  subjects: [{ kind: "User", apiGroup: "rbac.authorization.k8s.io", name: "mallory" }],
};
const bindings = {
  group: "rbac.authorization.k8s.io",
  version: "v1",
  kind: "ClusterRoleBinding",
  plural: "clusterrolebindings",
  namespaced: false,
};
const isBound = async () =>
  (await tenant.workload.get(bindings, { name: "mallory" })) !== undefined;

/** Writes a member as only the Fleet reconciler does otherwise. */
function forgeMember(
  name: string,
  fleetRef: { namespace: string; name: string },
  revision: string,
) {
  const spec = { fleetRef, clusterRef: { name: tenant.cluster }, revision, state: "Present" };
  const metadata = { name, namespace: tenant.namespace };
  const apiVersion = "capitan.dev/v1alpha1";
  const member = { apiVersion, kind: "FleetMember", metadata, spec };
  return hub.apply(resources.fleetMember, member, { manager: "mallory" });
}

/** A revision with everything that its Fleet would never have resolved to. */
async function forgeRevision(name: string, inNamespace: string): Promise<void> {
  const layer = { name: "l", wait: false, timeout: "10s", deletionPolicy: "Delete", dependsOn: [] };
  const revision = {
    apiVersion: "capitan.dev/v1alpha1",
    kind: "FleetRevision",
    metadata: { name, namespace: inNamespace },
    spec: { fleetRef: { name: "forged" }, layers: [{ ...layer, inline: [escalation] }] },
  };
  await hub.apply(resources.fleetRevision, revision, { manager: "mallory" });
}

test("A4 members and revisions that a tenant writes give it no more than its ServiceAccount has", async () => {
  const { namespace, cluster } = tenant;
  await forgeRevision("forged-1", namespace);
  // Of a Fleet that acts as the controller, in a platform namespace.
  await applyFleet(hub, "trusted", "ten-of-nobody", [inline("l", [configMap("trusted")])]);
  await fleetHas(hub, "trusted", "NoClusters");
  await forgeMember("forged-platform", { namespace: platform, name: "trusted" }, "forged-1");
  // Of a Fleet that names no ServiceAccount where it must.
  const bare = { serviceAccountName: undefined };
  await tenantFleet(hub, tenant, "bare", [inline("l", [configMap("bare", {}, namespace)])], bare);
  const { message } = await fleetHas(hub, "bare", "NamespaceNotAllowed", namespace);
  assert.match(message, /Fleet team-f\/bare names no serviceAccountName/);
  await forgeMember("forged-bare", { namespace, name: "bare" }, "forged-1");
  await until(async () => (await readyOf("bare")).startsWith("NamespaceNotAllowed"), soon("bare"));
  // Of a Fleet that acts as its ServiceAccount: the Fleet puts its member right, or it is refused.
  await tenantFleet(hub, tenant, "own", [inline("l", [configMap("own", {}, namespace)])]);
  await fleetReady(hub, "own", 60_000, namespace);
  const own = await memberOf(hub, "own", cluster, namespace);
  await forgeMember(own?.metadata.name ?? "", { namespace, name: "own" }, "forged-1");
  await fleetReady(hub, "own", 60_000, namespace);
  assert.ok(!(await isBound()));
  const platforms = await hub.get(resources.fleetMember, { namespace, name: "forged-platform" });
  assert.equal(asMap(platforms?.["status"])["conditions"], undefined);
  for (const name of ["forged-platform", "forged-bare"])
    await deleteNow(hub, resources.fleetMember, { namespace, name });
  await deleteNow(hub, resources.fleet, { namespace, name: "bare" });
  await fleetGoes(hub, resources.fleet, { namespace, name: "own" });
  await deleteNow(hub, resources.fleet, { namespace: platform, name: "trusted" });
});

test("A4 owner labels and approvals that a tenant writes into its objects are not believed", async () => {
  const { namespace, workload } = tenant;
  const theirs = ownerOf({ namespace: platform, name: "trusted" });
  const marked = (name: string) => ({
    ...configMap(name, {}, namespace),
    metadata: {
      name,
      namespace,
      labels: { "capitan.dev/owner": theirs },
      annotations: { "capitan.dev/approve-removal": "everything" },
    },
  });
  const many = Array.from({ length: 12 }, (_, i) => marked(`marked-${i}`));
  await tenantFleet(hub, tenant, "marks", [inline("l", many)]);
  await fleetReady(hub, "marks", 60_000, namespace);
  const live = await workload.get(resources.configMap, { namespace, name: "marked-0" });
  const owner = live?.metadata.labels?.["capitan.dev/owner"];
  assert.equal(owner, ownerOf({ namespace, name: "marks" }));
  await tenantFleet(hub, tenant, "marks", [inline("l", many.slice(0, 1))]);
  await memberHas(hub, "marks", tenant.cluster, "RemovalNeedsApproval", 30_000, namespace);
  assert.ok(await workload.get(resources.configMap, { namespace, name: "marked-11" }));
});

test("A4 an object that somebody marks as a Fleet's, fields and all, is not taken away with it", async () => {
  const { namespace, workload } = tenant;
  await deleteNow(hub, resources.fleet, { namespace, name: "marks" });
  const set = (n: string) => [inline("l", [configMap("real", { n }, namespace)])];
  await tenantFleet(hub, tenant, "marked", set("1"));
  await fleetReady(hub, "marked", 60_000, namespace);
  const metadata = {
    name: "copied",
    namespace,
    labels: { "capitan.dev/owner": ownerOf({ namespace, name: "marked" }) },
  };
  const copied = { apiVersion: "v1", kind: "ConfigMap", metadata };
  await workload.apply(resources.configMap, copied, { manager: "capitan" });
  await tenantFleet(hub, tenant, "marked", set("2"));
  await until(async () => {
    const live = await workload.get(resources.configMap, { namespace, name: "real" });
    return asMap(live?.["data"])["n"] === "2";
  }, soon("the change"));
  await fleetReady(hub, "marked", 60_000, namespace);
  await fleetGoes(hub, resources.fleet, { namespace, name: "marked" });
  assert.ok(await workload.get(resources.configMap, { namespace, name: "copied" }));
  assert.equal(await workload.get(resources.configMap, { namespace, name: "real" }), undefined);
});

test("a server behind the API server that answers 503 for one kind stops the layers that need that kind, and nobody else", async (t) => {
  const { namespace, cluster, workload } = tenant;
  const where = { namespace, name: cluster };
  const proxy = await ApiProxy.start({ kubeconfig: await clusterKubeconfig(hub, where) });
  const restore = await swapKubeconfig(hub, where, proxy.kubeconfig());
  t.after(async () => {
    await restore();
    await proxy.close();
  });
  const app = (replicas: number) => {
    const { spec, ...object } = deployment("behind") as unknown as { readonly spec: object };
    return { ...object, metadata: { name: "behind", namespace }, spec: { ...spec, replicas } };
  };
  const needs = (replicas: number) =>
    tenantFleet(hub, tenant, "behind", [inline("app", [app(replicas)])]);
  const besides = async (n: string) => {
    await tenantFleet(hub, tenant, "beside", [
      inline("l", [configMap("beside", { n }, namespace)]),
    ]);
    await fleetReady(hub, "beside", 20_000, namespace);
    const live = await workload.get(resources.configMap, { namespace, name: "beside" });
    assert.equal(asMap(live?.["data"])["n"], n);
  };
  const says = (words: RegExp) =>
    until(
      async () => {
        const said = await readyOf("behind");
        if (words.test(said)) return true;
        throw new Error(said);
      },
      soon(`the member to say ${String(words)}`),
    );
  await needs(1);
  await besides("1");
  await fleetReady(hub, "behind", 60_000, namespace);
  const reads = { method: "GET", path: /\/deployments\/behind$/ };
  const silent = proxy.on(reads).status(503, { message: "no backend" });
  // Its health is asked for again once somebody has written to it.
  const name = { namespace, name: "behind" };
  await workload.mergePatch(resources.deployment, name, {
    metadata: { annotations: { "test.example/written": "1" } },
  });
  await says(/Deployment\/team-f\/behind: HTTP 503.* the server behind this kind/);
  await besides("2");
  // And before it is changed.
  await needs(2);
  await says(/ApplyFailed: .*Deployment\/team-f\/behind: HTTP 503.* the server behind this kind/);
  await besides("3");
  silent.remove();
  await fleetReady(hub, "behind", 60_000, namespace);
  for (const fleet of ["behind", "beside"])
    await fleetGoes(hub, resources.fleet, { namespace, name: fleet });
});
