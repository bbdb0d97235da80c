import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { auditOf, isRefused, writes, type AuditEntry } from "../../hack/lab/audit.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { conditionOf, type FleetMember } from "../../pkg/api/index.ts";
import { tenantManifests, tenantOnCluster } from "../../pkg/install/index.ts";
import { labels, parseManifests } from "../../pkg/object/index.ts";
import { asMap } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import type { KubeObject, Resource } from "../../pkg/object/index.ts";
import { fluxManifests } from "../../hack/flux-manifests.ts";
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
  resources,
  sharedHub,
  sharedLab,
  until,
} from "../harness/index.ts";
import { portOf, proxy } from "../harness/servers.ts";
import { describes } from "../harness/codes.ts";
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
  const secret = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "values", namespace },
    data,
  };
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
  const isWake =
    (verb === "list" || verb === "watch") && requestURI.includes(encodeURIComponent(labels.owner));
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
    async () =>
      (await a.workload.get(resources.configMap, { ...name, name: "extra" })) === undefined,
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
  const verbs = new Set(onHub.map(({ verb }) => verb));
  assert.deepEqual([...verbs].sort(), ["get", "list", "watch"]);
});

const rbac = "rbac.authorization.k8s.io";
const binding = (kind: string, metadata: object, role: string) => ({
  apiVersion: `${rbac}/v1`,
  kind,
  metadata,
  roleRef: { apiGroup: rbac, kind: "ClusterRole", name: role },
  subjects: [{ kind: "User", apiGroup: rbac, name: "mallory" }],
});

/** What a tenant tries beside an object that it may have, and what it is told. */
const escalations: readonly (readonly [what: string, object: object, code: string, RegExp])[] = [
  [
    "cluster-wide-binding",
    binding("ClusterRoleBinding", { name: "mallory" }, "cluster-admin"),
    "AccessDenied",
    /ClusterRoleBinding\/mallory: .*system:serviceaccount:team-a:team-a.* cannot get resource "clusterrolebindings"/,
  ],
  [
    "cluster-admin-at-home",
    binding("RoleBinding", { name: "mallory", namespace: "team-a" }, "cluster-admin"),
    "AccessDenied",
    /RoleBinding\/team-a\/mallory: .*attempting to grant RBAC permissions not currently held/,
  ],
  [
    "another-namespace",
    configMap("mallory", {}, "default"),
    "AccessDenied",
    /ConfigMap\/default\/mallory: .*cannot get resource "configmaps".* in the namespace "default"/,
  ],
  [
    "kube-system",
    { apiVersion: "v1", kind: "Secret", metadata: { name: "mallory", namespace: "kube-system" } },
    "AccessDenied",
    /Secret\/kube-system\/mallory: HTTP 403 Forbidden: system:serviceaccount:team-a:team-a may not GET it/,
  ],
  [
    "a-namespace",
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "mallory" } },
    "AccessDenied",
    /Namespace\/mallory: .*cannot get resource "namespaces"/,
  ],
  [
    "our-inventory",
    configMap("inventory", { header: "{}" }, "capitan-system"),
    "ManifestInvalid",
    /ConfigMap\/capitan-system\/inventory belongs to Capitan itself/,
  ],
];

test("a tenant's layer with an object that its ServiceAccount may not have is refused as a whole, and nobody else notices", async () => {
  const neighbour = inline("l", [configMap("neighbour", {}, a.namespace)]);
  await tenantFleet(hub, a, "neighbour", [neighbour]);
  await fleetReady(hub, "neighbour", 60_000, a.namespace);
  for (const [what, object, code, message] of escalations) {
    const mark = await auditOf(lab.dir, a.cluster).mark();
    const half = configMap(`half-${what}`, {}, a.namespace);
    await tenantFleet(hub, a, what, [inline("l", [half, object])]);
    const member = await memberHas(hub, what, a.cluster, code, 30_000, a.namespace);
    assert.match(conditionOf(member.status?.conditions, "Ready")?.message ?? "", message);
    const done = writes(await ofController(a.cluster, mark), { except: [isRefused] });
    assert.deepEqual(done.map(line), [], what);
    await fleetReady(hub, "neighbour", 20_000, a.namespace);
    await fleetGoes(hub, resources.fleet, { namespace: a.namespace, name: what });
  }
  const gone = async () =>
    (await a.workload.get(resources.configMap, { namespace: a.namespace, name: "neighbour" })) ??
    "gone";
  assert.notEqual(await gone(), "gone");
  await fleetGoes(hub, resources.fleet, { namespace: a.namespace, name: "neighbour" });
  assert.equal(await gone(), "gone");
});

test("what a tenant has stays as it was when a change brings something that it may not have", async () => {
  const object = (n: string) => configMap("stays", { n }, a.namespace);
  await tenantFleet(hub, a, "stays", [inline("l", [object("1")])]);
  await fleetReady(hub, "stays", 60_000, a.namespace);
  const binds = binding("ClusterRoleBinding", { name: "mallory" }, "cluster-admin");
  await tenantFleet(hub, a, "stays", [inline("l", [object("2"), binds])]);
  await memberHas(hub, "stays", a.cluster, "AccessDenied", 30_000, a.namespace);
  assert.equal((await dataOf("stays"))["n"], "1");
  await tenantFleet(hub, a, "stays", [inline("l", [object("3")])]);
  await fleetReady(hub, "stays", 60_000, a.namespace);
  assert.equal((await dataOf("stays"))["n"], "3");
  await fleetGoes(hub, resources.fleet, { namespace: a.namespace, name: "stays" });
});

const quotas: Resource = {
  group: "",
  version: "v1",
  kind: "ResourceQuota",
  plural: "resourcequotas",
  namespaced: true,
};

test("what a tenant may do and a quota refuses is no missing right: the object is named, the others are applied", async () => {
  const { namespace, workload } = a;
  const metadata = { namespace, name: "no-services" };
  const hard = { services: "0" };
  const quota = { apiVersion: "v1", kind: "ResourceQuota", metadata, spec: { hard } };
  await workload.create(quotas, quota);
  // Nobody counts in the laboratory: admission does, from what the status says.
  const status = { hard, used: { services: "0" } };
  await workload.mergePatch(quotas, metadata, { status }, { subresource: "status" });
  const service = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { namespace, name: "counted" },
    spec: { ports: [{ port: 80 }] },
  };
  const both = [inline("l", [configMap("uncounted", { n: "1" }, namespace), service])];
  await tenantFleet(hub, a, "counted", both);
  const member = await memberHas(hub, "counted", a.cluster, "ApplyFailed", 30_000, namespace);
  assert.match(
    readyMessage(member),
    /Service\/team-a\/counted: HTTP 403 Forbidden: .*exceeded quota: no-services/,
  );
  assert.equal((await dataOf("uncounted"))["n"], "1");
  await deleteNow(workload, quotas, metadata);
  await fleetReady(hub, "counted", 60_000, namespace);
  await fleetGoes(hub, resources.fleet, { namespace, name: "counted" });
});

test("a tenant reads no Secret that its ServiceAccount may not read, and no kubeconfig even if it may", async () => {
  const { namespace } = a;
  const url = `oci://${lab.registry}/tenancy/app`;
  await pushFiles(`${url}:v1`, { "a.yaml.hbs": template });
  const using = (name: string, key: string) => [
    {
      name: "l",
      oci: { url, insecure: true, ref: { tag: "v1" } },
      valuesFrom: [{ kind: "Secret", name, key }],
    },
  ];
  const secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "foreign", namespace } };
  await hub.apply(resources.secret, { ...secret, data: { "values.yaml": "" } }, manager);
  await tenantFleet(hub, a, "reads", using("foreign", "values.yaml"));
  const denied = await memberHas(hub, "reads", a.cluster, "AccessDenied", 30_000, namespace);
  assert.match(
    conditionOf(denied.status?.conditions, "Ready")?.message ?? "",
    /^layer l: GET \/api\/v1\/namespaces\/team-a\/secrets\/foreign: HTTP 403 Forbidden: system:serviceaccount:team-a:team-a may not GET it$/,
  );
  const kubeconfig = `${a.cluster}-kubeconfig`;
  await hub.apply(roles, roleFor(namespace, [kubeconfig]), manager);
  await hub.apply(roleBindings, roleBindingFor(namespace), manager);
  await tenantFleet(hub, a, "reads", using(kubeconfig, "value"));
  await until(async () => {
    const member = await memberOf(hub, "reads", a.cluster, namespace);
    const { message = "" } = conditionOf(member?.status?.conditions, "Ready") ?? {};
    assert.match(message, /Secret team-a\/ten-1-kubeconfig is Cluster API's own/);
    return true;
  }, soon("the kubeconfig to be refused"));
  await fleetGoes(hub, resources.fleet, { namespace, name: "reads" });
});

test("a Fleet acts as nobody whom the platform has not set up, and never as the controller", async () => {
  const { namespace } = a;
  const object = (n: string) => [inline("l", [configMap("ours", { n }, namespace)])];
  await tenantFleet(hub, a, "acts", object("1"), { serviceAccountName: "somebody" });
  const values = {
    name: "values",
    oci: { url: `oci://${lab.registry}/tenancy/app`, insecure: true, ref: { tag: "v1" } },
    valuesFrom: [{ kind: "ConfigMap", name: "values" }],
  };
  const refused = await memberHas(hub, "acts", a.cluster, "AccessDenied", 30_000, namespace);
  assert.match(readyMessage(refused), /system:serviceaccount:team-a:somebody/);
  await tenantFleet(hub, a, "acts", [values], { serviceAccountName: "somebody" });
  const { message } = await fleetHas(hub, "acts", "ImpersonationRefused", namespace);
  assert.match(
    message,
    /the controller may not act as|cannot impersonate resource "serviceaccounts"/,
  );
  await describes(["fleet", "acts", "-n", namespace], "ImpersonationRefused");

  await tenantFleet(hub, a, "acts", object("1"));
  await fleetReady(hub, "acts", 60_000, namespace);
  const mark = await auditOf(lab.dir, a.cluster).mark();
  await tenantFleet(hub, a, "acts", object("2"), { serviceAccountName: undefined });
  await fleetHas(hub, "acts", "NamespaceNotAllowed", namespace);
  await memberHas(hub, "acts", a.cluster, "NamespaceNotAllowed", 30_000, namespace);
  const name = { namespace, name: "ours" };
  await a.workload.mergePatch(resources.configMap, name, { data: { n: "drift" } });
  await tenantFleet(hub, a, "acts", object("3"));
  await until(async () => (await dataOf("ours"))["n"] === "3", soon("the third version"));
  const asItself = (await ofController(a.cluster, mark)).filter((e) => e.impersonated === "");
  assert.deepEqual(asItself.filter((entry) => !isOwnWork(entry)).map(line), []);
  await fleetGoes(hub, resources.fleet, { namespace, name: "acts" });
});

test("rights that are taken away on the cluster are gone at once, and the Fleet says which", async () => {
  const { namespace, workload } = a;
  const object = (n: string) => [inline("l", [configMap("revoked", { n }, namespace)])];
  await tenantFleet(hub, a, "revoked", object("1"));
  await fleetReady(hub, "revoked", 60_000, namespace);
  const binding = { namespace, name: `${namespace}-fleets` };
  await deleteNow(workload, roleBindings, binding);
  await tenantFleet(hub, a, "revoked", object("2"));
  await memberHas(hub, "revoked", a.cluster, "AccessDenied", 30_000, namespace);
  await describes(["member", a.cluster, "-n", namespace, "--fleet", "revoked"], "AccessDenied");
  assert.equal((await dataOf("revoked"))["n"], "1");
  const diff = await capitan(["diff", "fleet", "revoked", "-n", namespace]);
  assert.equal(diff.code, 2, diff.stdout);
  assert.match(
    diff.stdout,
    /system:serviceaccount:team-a:team-a.* cannot get resource "configmaps"/,
  );
  const args = ["create", "tenant", namespace, "--secret", "values", "--cluster", a.cluster];
  const { code, stderr } = await capitan([...args, "--cluster-role", "lab-tenant"]);
  assert.equal(code, 0, stderr);
  await until(async () => (await dataOf("revoked"))["n"] === "2", {
    deadlineMs: 60_000,
    what: "the Fleet to go on",
  });
  await fleetReady(hub, "revoked", 60_000, namespace);
  assert.equal((await capitan(["diff", "fleet", "revoked", "-n", namespace])).code, 0);
  await fleetGoes(hub, resources.fleet, { namespace, name: "revoked" });
});

test("a tenant's Fleet sees no Cluster of another namespace, and its ServiceAccount makes no Fleet there", async () => {
  const { namespace, user } = a;
  await tenantFleet(hub, { namespace, cluster: "nobody" }, "wide", [
    inline("l", [configMap("wide", {}, namespace)]),
  ]);
  const { message } = await fleetHas(hub, "wide", "NoClusters", namespace);
  assert.doesNotMatch(message, /elsewhere|other namespace/);
  const wide = (await fleetOf(hub, "wide", namespace)) as unknown as KubeObject;
  const spec = {
    ...asMap(wide["spec"]),
    clusterSelector: {},
    namespaceSelector: {},
    target: "Management",
  };
  await hub.replace(resources.fleet, { ...wide, spec }).catch(() => undefined);
  const isReady = async () =>
    (await fleetOf(hub, "wide", namespace))?.status?.clusters?.matched ?? 0;
  const { items } = await hub.list(resources.cluster, { namespace });
  assert.ok([0, items.length].includes(await isReady()));
  const members = await hub.list(resources.fleetMember, {});
  const theirs = members.items.filter(
    ({ metadata, spec: said }) =>
      metadata.namespace !== namespace && asMap(asMap(said)["fleetRef"])["namespace"] === namespace,
  );
  assert.deepEqual(theirs, []);
  const other = { ...wide, metadata: { name: "wide", namespace: "fleet" } } as KubeObject;
  await assert.rejects(hub.as(user).create(resources.fleet, other), {
    code: "AccessDenied",
    message: /cannot create resource "fleets".* in the namespace "fleet"/,
  });
  await fleetGoes(hub, resources.fleet, { namespace, name: "wide" });
});

test("a namespace that nobody has set up for Fleets gets none, and its Secrets are not watched", async () => {
  const namespace = "nobodys";
  const home = { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } };
  await hub.apply(resources.namespace, home, manager);
  const mark = await auditOf(lab.dir, "hub").mark();
  await tenantFleet(hub, { namespace, cluster: "x" }, "homeless", [inline("l", [configMap("x")])]);
  const { message } = await fleetHas(hub, "homeless", "NamespaceNotAllowed", namespace);
  assert.match(message, /no rights in namespace nobodys: nobody has set it up/);
  await describes(["fleet", "homeless", "-n", namespace], "NamespaceNotAllowed");
  const asked = (await ofController("hub", mark)).filter((entry) => entry.namespace === namespace);
  assert.deepEqual([...new Set(asked.map(({ resource }) => resource))].sort(), [
    "events",
    "fleets",
  ]);
  await deleteNow(hub, resources.fleet, { namespace, name: "homeless" });
});

test("tenancy: Lockdown makes the cluster's own Flux keep tenants apart, whoever they are", async () => {
  const { text } = await fluxManifests();
  const artifact = `oci://${lab.registry}/tenancy/flux`;
  await pushFiles(`${artifact}:v2.9.4`, { "install.yaml": text });
  const flux = {
    version: "2.9.4",
    artifact: { url: artifact, insecure: true },
    tenancy: "Lockdown",
  };
  await tenantFleet(hub, a, "hard", [{ name: "flux", flux }]);
  // What Flux needs a tenant may not have: hard tenancy is a cluster that the platform sets up.
  await memberHas(hub, "hard", a.cluster, "AccessDenied", 30_000, a.namespace);
  const of = ["-n", a.namespace, "--cluster", a.cluster, "-o", "json"];
  const rendered = await capitan(["render", "fleet", "hard", ...of]);
  assert.equal(rendered.code, 0, rendered.stderr);
  const deployments = (JSON.parse(rendered.stdout) as KubeObject[]).filter(
    ({ kind }) => kind === "Deployment",
  );
  const argsOf = (name: string) =>
    JSON.stringify(deployments.find(({ metadata }) => metadata.name === name));
  for (const name of ["kustomize-controller", "helm-controller", "notification-controller"])
    assert.match(argsOf(name), /--no-cross-namespace-refs=true/, name);
  for (const name of ["kustomize-controller", "helm-controller"])
    assert.match(argsOf(name), /--default-service-account=default/, name);
  assert.match(argsOf("kustomize-controller"), /--no-remote-bases=true/);
  await fleetGoes(hub, resources.fleet, { namespace: a.namespace, name: "hard" });
});

test("who knows a digest gets nothing from the cache that its own credentials could not pull", async () => {
  const { namespace } = a;
  const files = { "a.yaml": JSON.stringify(configMap("private", {}, namespace)) };
  const digest = await pushFiles(`oci://${lab.registry}/tenancy/private:v1`, files);
  const refusal = { status: 401, headers: { "www-authenticate": 'Basic realm="lab"' } };
  const guard = await proxy(lab.registry, (seen, pass) =>
    seen.headers["authorization"] === undefined ? Promise.resolve(refusal) : pass(),
  );
  try {
    const host = `127.0.0.1:${portOf(guard)}`;
    const config = JSON.stringify({ auths: { [host]: { auth: btoa("u:p") } } });
    const data = { ".dockerconfigjson": btoa(config) };
    const metadata = { name: "login", namespace };
    const type = "kubernetes.io/dockerconfigjson";
    await hub.apply(
      resources.secret,
      { apiVersion: "v1", kind: "Secret", metadata, type, data },
      manager,
    );
    const more = ["--secret", "login", "--secret", "values"];
    for (const account of [["--service-account", "second"], more]) {
      const { code, stderr } = await capitan(["create", "tenant", namespace, ...account]);
      assert.equal(code, 0, stderr);
    }
    const oci = { url: `oci://${host}/tenancy/private`, insecure: true, ref: { digest } };
    const knowing = [{ name: "l", oci }];
    const second = { serviceAccountName: "second", clusterSelector: {} };
    await tenantFleet(hub, a, "owner", [
      { name: "l", oci: { ...oci, secretRef: { name: "login" } } },
    ]);
    await fleetReady(hub, "owner", 60_000, namespace);
    await tenantFleet(hub, a, "knows", knowing, second);
    await fleetHas(hub, "knows", "RegistryDenied", namespace);
    // Nor a Fleet of the platform.
    await applyFleet(hub, "knows", "nobody", knowing);
    await fleetHas(hub, "knows", "RegistryDenied");
    for (const name of ["owner", "knows"])
      await deleteNow(hub, resources.fleet, { namespace, name });
    await fleetGoes(hub, resources.fleet, { namespace: "fleet", name: "knows" });
  } finally {
    guard.close();
  }
});

test("capitan create tenant prints for Git what it applies, and makes no tenant of Kubernetes' own namespaces", async () => {
  const options = { namespace: "team-x", serviceAccount: "deployer", secrets: ["a", "b"] };
  const args = ["create", "tenant", "team-x", "--service-account", "deployer", "--export"];
  const onHub = await capitan([...args, "--secret", "b", "--secret", "a"]);
  assert.deepEqual(parseManifests(onHub.stdout, "hub"), plain(tenantManifests(options)));
  const onCluster = await capitan([...args, "--cluster", "c", "--cluster-role", "edit"]);
  const wanted = plain(tenantOnCluster(options, "edit"));
  assert.deepEqual(parseManifests(onCluster.stdout, "cluster"), wanted);
  for (const name of ["kube-system", "capitan-system"])
    assert.equal((await capitan(["create", "tenant", name, "--export"])).code, 2, name);
});

const plain = (value: unknown) => JSON.parse(JSON.stringify(value)) as unknown;

const readyMessage = (member: FleetMember) =>
  conditionOf(member.status?.conditions, "Ready")?.message ?? "";

const ofRbac = (kind: string, plural: string) => ({
  group: rbac,
  version: "v1",
  kind,
  plural,
  namespaced: true,
});
const roles = ofRbac("Role", "roles");
const roleBindings = ofRbac("RoleBinding", "rolebindings");
const roleFor = (namespace: string, resourceNames: readonly string[]): KubeObject => ({
  apiVersion: `${rbac}/v1`,
  kind: "Role",
  metadata: { name: "too-much", namespace },
  rules: [{ apiGroups: [""], resources: ["secrets"], resourceNames, verbs: ["get"] }],
});
const roleBindingFor = (namespace: string): KubeObject => ({
  apiVersion: `${rbac}/v1`,
  kind: "RoleBinding",
  metadata: { name: "too-much", namespace },
  roleRef: { apiGroup: rbac, kind: "Role", name: "too-much" },
  subjects: [{ kind: "ServiceAccount", name: namespace, namespace }],
});
