import assert from "node:assert/strict";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import type { FleetMember } from "../../pkg/api/index.ts";
import { codes, type Code } from "../../pkg/errors/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { clientOf, startApiServer } from "../../hack/lab/apiserver.ts";
import { clusterKubeconfig, standInAnnotation } from "../../hack/lab/clusters.ts";
import { applyInstall } from "../../hack/lab/controller.ts";
import { root } from "../../hack/lab/paths.ts";
import { launch, stop } from "../../hack/lab/processes.ts";
import { startRegistry } from "../../hack/lab/registry.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { ensureTools } from "../../hack/lab/tools.ts";
import { silent } from "../../hack/lab/progress.ts";
import { layerOf, pushFiles, pushLayer } from "../harness/artifacts.ts";
import { codesOfOtherTests, describes, seen } from "../harness/codes.ts";
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
  namespace,
  newCluster,
  resources,
  retireClusters,
  sharedHub,
  sharedLab,
  until,
} from "../harness/index.ts";

let lab: LabFile;
let hub: KubeClient;
let workload: KubeClient;
let hostile: Server;
const yaml = (name: string) => JSON.stringify(configMap(name));

before(async () => {
  lab = await sharedLab();
  hub = await sharedHub();
  workload = (await newCluster(hub, "err-1")).client;
  hostile = createServer(serveCorrupt).listen(0, "127.0.0.1");
  await new Promise((resolve) => hostile.once("listening", resolve));
});
after(async () => {
  hostile.close();
  await workload.close();
  await retireClusters(hub, "err-");
  await hub.close();
});

/** A registry that promises one digest and delivers other bytes. */
function serveCorrupt(request: { url?: string | undefined }, response: ServerResponse): void {
  response.setHeader("docker-content-digest", `sha256:${"0".repeat(64)}`);
  response.end(`not what was promised at ${request.url ?? ""}`);
}

const url = (repository: string) => `oci://${lab.registry}/${repository}`;
const oci = (address: string, more: object = {}) => ({
  name: "l",
  oci: { url: address, insecure: true, ...more },
});
const dockerSecret = (name: string, type = "kubernetes.io/dockerconfigjson") => ({
  apiVersion: "v1",
  kind: "Secret",
  type,
  metadata: { namespace, name },
  data: { ".dockerconfigjson": Buffer.from('{"auths":{}}').toString("base64") },
});

type FleetCase = {
  readonly code: Code;
  readonly message: RegExp;
  readonly layers: () => Promise<readonly object[]> | readonly object[];
  readonly namespace?: string;
};

const fleetCases: readonly FleetCase[] = [
  {
    code: "NamespaceNotAllowed",
    message: /names no serviceAccountName, and namespace default/,
    layers: () => [inline("l", [configMap("a")])],
    namespace: "default",
  },
  {
    code: "DependencyInvalid",
    message: /layer l depends on nosuch/,
    layers: () => [inline("l", [configMap("a")], { dependsOn: ["nosuch"] })],
  },
  {
    code: "RefInvalid",
    message: /layer l: oci:\/\/.*\/a\.\.b is not/,
    layers: () => [oci(url("a..b"))],
  },
  {
    code: "ArtifactNotFound",
    message: /err\/nosuch:latest: HTTP 404/,
    layers: () => [oci(url("err/nosuch"))],
  },
  {
    code: "VersionNotFound",
    message: /no tag in the range ">=9"/,
    layers: async () => {
      await pushFiles(`${url("err/versions")}:v1.0.0`, { "a.yaml": yaml("a") });
      return [oci(url("err/versions"), { ref: { semver: ">=9" } })];
    },
  },
  {
    code: "RegistryUnreachable",
    message: /127\.0\.0\.1:1/,
    layers: () => [oci("oci://127.0.0.1:1/a")],
  },
  {
    code: "RegistryDenied",
    message: /HTTP 401; no credentials/,
    layers: async () => {
      const htpasswd = join(lab.dir, "htpasswd");
      // user:pass, hashed by bcrypt
      await import("node:fs/promises").then((fs) =>
        fs.writeFile(
          htpasswd,
          "user:$2y$05$w3hDgq8s2l3TAX1oZtIrjOBdC8PYDQlyEgSlW4nbXCLl3Qw3ZfRBa\n",
        ),
      );
      const host = await startRegistry(lab.dir, (await ensureTools(silent)).registry, {
        name: "registry-denied",
        port: lab.ports.lastWorkload - 1,
        htpasswd,
      });
      return [oci(`oci://${host}/a`)];
    },
  },
  {
    code: "ArtifactCorrupt",
    message: /expected sha256:0+, received sha256:/,
    layers: () => [oci(`oci://127.0.0.1:${(hostile.address() as AddressInfo).port}/a`)],
  },
  {
    code: "ArtifactTooLarge",
    message: /unpacks to more than/,
    layers: async () => {
      await pushLayer(url("err/bomb"), gzipSync(Buffer.alloc(80 * 1024 * 1024)));
      return [oci(url("err/bomb"))];
    },
  },
  {
    code: "ArtifactUnsafe",
    message: /"evil" is a symlink/,
    layers: async () => {
      await pushLayer(
        url("err/link"),
        await layerOf([
          { header: { name: "evil", size: 0, type: "symlink", linkname: "/etc/passwd" } },
        ]),
      );
      return [oci(url("err/link"))];
    },
  },
  {
    code: "ManifestInvalid",
    message: /dir\/b\.yaml:2: .*not valid YAML/,
    layers: async () => {
      await pushFiles(url("err/yaml"), { "a.yaml": yaml("a"), "dir/b.yaml": "a: b\n\tc: [" });
      return [oci(url("err/yaml"))];
    },
  },
  {
    code: "DuplicateObject",
    message: /ConfigMap\/default\/a is described twice/,
    layers: async () => {
      await pushFiles(url("err/twice"), { "a.yaml": yaml("a"), "b.yaml": yaml("a") });
      return [oci(url("err/twice"))];
    },
  },
  {
    code: "KustomizeNotRendered",
    message: /contains kustomization\.yaml/,
    layers: async () => {
      await pushFiles(url("err/kustomize"), {
        "a.yaml": yaml("a"),
        "kustomization.yaml": "resources: [a.yaml]",
      });
      return [oci(url("err/kustomize"))];
    },
  },
  {
    code: "ComponentUnknown",
    message: /no component nosuch; it has thing/,
    layers: async () => {
      const labelled = {
        ...configMap("a"),
        metadata: {
          name: "a",
          namespace: "default",
          labels: { "app.kubernetes.io/component": "thing" },
        },
      };
      await pushFiles(`${url("err/flux")}:v2.9.0`, { "a.yaml": JSON.stringify(labelled) });
      return [
        {
          name: "l",
          flux: {
            version: "2.9.0",
            artifact: { url: url("err/flux"), insecure: true },
            components: ["nosuch"],
          },
        },
      ];
    },
  },
  {
    code: "SecretNotFound",
    message: /Secret fleet\/nosuch does not exist/,
    layers: () => [oci(url("a"), { secretRef: { name: "nosuch" } })],
  },
  {
    code: "SecretInvalid",
    message: /Secret fleet\/opaque is not of type/,
    layers: async () => {
      await hub.apply(resources.secret, dockerSecret("opaque", "Opaque"), { manager: "test" });
      return [oci(url("a"), { secretRef: { name: "opaque" } })];
    },
  },
];

for (const { code, message, layers, namespace: where = namespace } of fleetCases) {
  test(`${code}: the Fleet says so, describe says what to do, nothing is applied`, async () => {
    const name = `err-${code.toLowerCase()}`;
    await applyFleet(hub, name, "err-1", await layers(), {}, where);
    const condition = await fleetHas(hub, name, code, where);
    assert.match(condition.message, message);
    await describes(["fleet", name], code);
    assert.equal(await memberOf(hub, name, "err-1"), undefined);
    await deleteNow(hub, resources.fleet, { namespace: where, name });
  });
}

test("a bad new artifact keeps the last good state", async () => {
  await pushFiles(url("err/keep"), { "a.yaml": yaml("keep") });
  const values = ["err-1", "err-late"];
  const clusterSelector = { matchExpressions: [{ key: "cluster", operator: "In", values }] };
  await applyFleet(hub, "err-keep", "", [oci(url("err/keep"))], {
    clusterSelector,
    interval: "1s",
  });
  const good = (await fleetReady(hub, "err-keep")).status?.updateRevision;
  await pushFiles(url("err/keep"), { "a.yaml": "a: [" });
  await fleetHas(hub, "err-keep", "ManifestInvalid");
  await fakeCluster("err-late");
  assert.equal((await memberOf(hub, "err-keep", "err-1"))?.spec.revision, good);
  assert.ok(
    (await workload.get(resources.configMap, { namespace: "default", name: "keep" })) !== undefined,
  );
  // A cluster that comes now gets the last good state too.
  const late = await memberHas(hub, "err-keep", "err-late", "ControlPlaneNotInitialized");
  assert.equal(late.spec.revision, good);
  const { stdout } = await capitan(["describe", "member", "err-1", "--fleet", "err-keep"]);
  assert.match(stdout, /The Fleet is stuck.*ManifestInvalid/s);
});

type MemberCase = {
  readonly code: Code;
  readonly message: RegExp;
  readonly make: (fleet: string) => Promise<void>;
};

const crdOf = (name: string) => ({
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: `${name}.err.example.com` },
  spec: {
    group: "err.example.com",
    scope: "Namespaced",
    names: { plural: name, singular: name, kind: "Thing", listKind: "ThingList" },
    versions: [
      { name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object" } } },
    ],
  },
});

const memberCases: readonly MemberCase[] = [
  {
    code: "UnknownKind",
    message: /does not serve nosuch\.example\.com\/v1 Thing/,
    make: async (fleet) =>
      void (await applyFleet(hub, fleet, "err-1", [
        inline("l", [
          configMap("unknown-beside"),
          { apiVersion: "nosuch.example.com/v1", kind: "Thing", metadata: { name: "a" } },
        ]),
      ])),
  },
  {
    code: "OwnedByAnotherFleet",
    message: /ConfigMap\/default\/contested belongs to another Fleet/,
    make: async (fleet) => {
      await applyFleet(hub, "err-first", "err-1", [inline("l", [configMap("contested")])]);
      await fleetReady(hub, "err-first");
      await applyFleet(hub, fleet, "err-1", [inline("l", [configMap("contested")])]);
    },
  },
  {
    code: "ApplyFailed",
    message: /Deployment\/default\/bad: HTTP 422 Invalid/,
    make: async (fleet) =>
      void (await applyFleet(hub, fleet, "err-1", [
        inline("l", [
          {
            ...deployment("bad"),
            spec: { replicas: -1, selector: { matchLabels: { a: "b" } }, template: {} },
          },
        ]),
      ])),
  },
  {
    code: "HealthTimeout",
    message: /layer l: Deployment\/default\/never: 0 of 1 replicas exist, after 1 s/,
    make: async (fleet) => {
      await setStandIn("off");
      await applyFleet(hub, fleet, "err-1", [
        inline("l", [deployment("never")], { timeout: "1s" }),
      ]);
    },
  },
  {
    code: "HealthFailed",
    message: /Deployment\/default\/late: has exceeded its progress deadline/,
    make: async (fleet) => {
      await setStandIn("off");
      await applyFleet(hub, fleet, "err-1", [inline("l", [deployment("late")], { timeout: "1h" })]);
      const live = await until(
        () => workload.get(resources.deployment, { namespace: "default", name: "late" }),
        { deadlineMs: 20_000, what: "the Deployment" },
      );
      const conditions = [
        { type: "Progressing", status: "False", reason: "ProgressDeadlineExceeded" },
      ];
      await workload.mergePatch(
        resources.deployment,
        live.metadata,
        { status: { observedGeneration: live.metadata.generation, conditions } },
        { subresource: "status" },
      );
    },
  },
  {
    code: "RemovalNeedsApproval",
    message:
      /would delete Namespace\/doomed with everything inside \(1 of 2 objects\); to allow it: capitan\.dev\/approve-removal=[0-9a-f]{16}/,
    make: async (fleet) => {
      const doomed = { apiVersion: "v1", kind: "Namespace", metadata: { name: "doomed" } };
      await applyFleet(hub, fleet, "err-1", [inline("l", [configMap("stays"), doomed])]);
      await fleetReady(hub, fleet);
      await applyFleet(hub, fleet, "err-1", [inline("l", [configMap("stays")])]);
    },
  },
  {
    code: "RemovalBlocked",
    message: /ConfigMap\/default\/held is being deleted since .*: finalizers example\.com\/held/,
    make: async (fleet) => {
      await applyFleet(hub, fleet, "err-1", [
        inline("l", [configMap("stays-2"), configMap("held")]),
      ]);
      await fleetReady(hub, fleet);
      await workload.mergePatch(
        resources.configMap,
        { namespace: "default", name: "held" },
        { metadata: { finalizers: ["example.com/held"] } },
      );
      await applyFleet(hub, fleet, "err-1", [inline("l", [configMap("stays-2")])]);
    },
  },
];

async function setStandIn(value: string): Promise<void> {
  await hub.mergePatch(
    resources.cluster,
    { namespace, name: "err-1" },
    { metadata: { annotations: { [standInAnnotation]: value } } },
  );
}

for (const { code, message, make } of memberCases) {
  test(`${code}: the member says so, describe says what to do`, async () => {
    const fleet = `err-${code.toLowerCase()}`;
    await make(fleet);
    const member = await memberHas(hub, fleet, "err-1", code);
    assert.match(member.status?.conditions?.[0]?.message ?? "", message);
    await describes(["member", "err-1", "--fleet", fleet], code);
  });
}

test("UnknownKind: nothing of that layer was applied", async () => {
  assert.equal(
    await workload.get(resources.configMap, { namespace: "default", name: "unknown-beside" }),
    undefined,
  );
});

test("RemovalNeedsApproval: nothing is deleted before; the approval that the message prints lets it go on", async () => {
  const fleet = "err-removalneedsapproval";
  const live = await workload.get(resources.namespace, { name: "doomed" });
  assert.equal(live?.metadata.deletionTimestamp, undefined);
  const member = (await memberOf(hub, fleet, "err-1")) as FleetMember;
  const approval = /approve-removal=(\w+)/.exec(member.status?.conditions?.[0]?.message ?? "")?.[1];
  await hub.mergePatch(resources.fleetMember, member.metadata, {
    metadata: { annotations: { "capitan.dev/approve-removal": approval } },
  });
  await until(
    async () =>
      (await workload.get(resources.namespace, { name: "doomed" }))?.metadata.deletionTimestamp !==
      undefined,
    { deadlineMs: 20_000, what: "the Namespace to be deleted" },
  );
  // Nobody finalizes Namespaces in the lab's workload clusters: it stays, and the member says so.
  await memberHas(hub, fleet, "err-1", "RemovalBlocked");
});

test("RemovalBlocked: when the finalizer goes, so do object and entry", async () => {
  await workload.mergePatch(
    resources.configMap,
    { namespace: "default", name: "held" },
    { metadata: { finalizers: null } },
  );
  await fleetReady(hub, "err-removalblocked");
});

test("DependencyNotReady: a layer says which one it waits for", async () => {
  const layers = [
    inline("first", [
      { apiVersion: "nosuch.example.com/v1", kind: "Thing", metadata: { name: "a" } },
    ]),
    inline("second", [configMap("second-dep")], { dependsOn: ["first"] }),
  ];
  await applyFleet(hub, "err-dep", "err-1", layers);
  await memberHas(hub, "err-dep", "err-1", "UnknownKind");
  const { stdout } = await capitan(["describe", "member", "err-1", "--fleet", "err-dep"]);
  assert.match(stdout, /second +Pending +1 +- +DependencyNotReady: waits for layer first/);
  assert.equal(
    await workload.get(resources.configMap, { namespace: "default", name: "second-dep" }),
    undefined,
  );
  seen.add("DependencyNotReady");
});

test("a CRD and its object in one layer are applied in one pass", async () => {
  const thing = {
    apiVersion: "err.example.com/v1",
    kind: "Thing",
    metadata: { name: "a", namespace: "default" },
  };
  await applyFleet(hub, "err-crd", "err-1", [inline("l", [thing, crdOf("things")])]);
  await fleetReady(hub, "err-crd");
});

test("an API server's message about a Secret is withheld", async () => {
  const secret = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "leaky", namespace: "default" },
    data: { password: "hunter2-not-base64!" },
  };
  await applyFleet(hub, "err-secret", "err-1", [inline("l", [secret])]);
  const member = await memberHas(hub, "err-secret", "err-1", "ApplyFailed");
  assert.match(JSON.stringify(member.status), /withheld/);
  assert.doesNotMatch(JSON.stringify(member), /hunter2/);
});

test("InventoryInvalid: an inventory that was edited by hand stops everything", async () => {
  const { client } = await newCluster(hub, "err-2");
  await applyFleet(hub, "err-inventory", "err-2", [inline("l", [configMap("a")])]);
  await fleetReady(hub, "err-inventory");
  await client.mergePatch(
    resources.configMap,
    { namespace: "capitan-system", name: "inventory" },
    { data: { entries: "garbage" } },
  );
  await applyFleet(hub, "err-inventory", "err-2", [inline("l", [configMap("b")])]);
  await memberHas(hub, "err-inventory", "err-2", "InventoryInvalid");
  await describes(["member", "err-2"], "InventoryInvalid");
  assert.equal(
    await client.get(resources.configMap, { namespace: "default", name: "b" }),
    undefined,
  );
  await client.close();
});

/** A Cluster without infrastructure, whose status and kubeconfig the test decides. */
async function fakeCluster(name: string, kubeconfig?: string | object): Promise<void> {
  const spec = {
    infrastructureRef: {
      apiGroup: "infrastructure.cluster.x-k8s.io",
      kind: "LabCluster",
      name: `${name}-x`,
    },
    controlPlaneRef: {
      apiGroup: "controlplane.cluster.x-k8s.io",
      kind: "LabControlPlane",
      name: `${name}-x`,
    },
  };
  await hub.apply(
    resources.cluster,
    {
      apiVersion: "cluster.x-k8s.io/v1beta2",
      kind: "Cluster",
      metadata: { namespace, name, labels: { cluster: name } },
      spec,
    },
    { manager: "test" },
  );
  await applyFleet(hub, name, name, [inline("l", [configMap("a")])]);
  if (kubeconfig === undefined) return;
  await hub.mergePatch(
    resources.cluster,
    { namespace, name },
    {
      status: {
        initialization: { controlPlaneInitialized: true, infrastructureProvisioned: true },
      },
    },
    { subresource: "status" },
  );
  if (kubeconfig === "none") return;
  const value = Buffer.from(
    typeof kubeconfig === "string" ? kubeconfig : JSON.stringify(kubeconfig),
  ).toString("base64");
  await hub.apply(
    resources.secret,
    {
      apiVersion: "v1",
      kind: "Secret",
      type: "cluster.x-k8s.io/secret",
      metadata: {
        namespace,
        name: `${name}-kubeconfig`,
        labels: { "cluster.x-k8s.io/cluster-name": name },
      },
      data: { value },
    },
    { manager: "test" },
  );
}

type Config = { clusters: { cluster: object }[]; users: { user: object }[] };
const goodConfig = async () =>
  JSON.parse(await clusterKubeconfig(hub, { namespace, name: "err-1" })) as Config;
const withUser = (config: Config, user: object) => ({ ...config, users: [{ name: "lab", user }] });
const withCluster = (config: Config, more: object) => ({
  ...config,
  clusters: [{ name: "lab", cluster: { ...config.clusters[0]?.cluster, ...more } }],
});

const connectionCases: readonly (readonly [
  code: Code,
  kubeconfig: () => Promise<string | object | undefined> | string | undefined,
])[] = [
  ["ControlPlaneNotInitialized", () => undefined],
  ["KubeconfigNotFound", () => "none"],
  ["KubeconfigInvalid", () => "hello: ["],
  [
    "KubeconfigRefused",
    async () =>
      withUser(await goodConfig(), {
        exec: {
          apiVersion: "client.authentication.k8s.io/v1",
          command: "/bin/touch",
          args: [join(lab.dir, "pwned")],
        },
      }),
  ],
  ["Unreachable", async () => withCluster(await goodConfig(), { server: "https://127.0.0.1:1" })],
  ["CredentialsRejected", async () => withUser(await goodConfig(), { token: "nonsense" })],
];

for (const [code, kubeconfig] of connectionCases) {
  test(`${code}: the member says so, describe says what to do`, async () => {
    const name = `fake-${code.toLowerCase()}`;
    await fakeCluster(name, await kubeconfig());
    await memberHas(hub, name, name, code);
    await describes(["member", name], code);
  });
}

test("KubeconfigRefused: the program was not run", async () => {
  const { access } = await import("node:fs/promises");
  await assert.rejects(access(join(lab.dir, "pwned")));
});

test("ClusterPaused: nothing is written while the Cluster is paused", async () => {
  await fakeCluster("fake-paused");
  await memberHas(hub, "fake-paused", "fake-paused", "ControlPlaneNotInitialized");
  await hub.mergePatch(
    resources.cluster,
    { namespace, name: "fake-paused" },
    { spec: { paused: true } },
  );
  await memberHas(hub, "fake-paused", "fake-paused", "ClusterPaused");
  await describes(["member", "fake-paused"], "ClusterPaused");
});

test("ClusterDeleting: the cluster is let go while others still hold it", async () => {
  await fakeCluster("fake-deleting");
  await memberHas(hub, "fake-deleting", "fake-deleting", "ControlPlaneNotInitialized");
  await hub.mergePatch(
    resources.cluster,
    { namespace, name: "fake-deleting" },
    { metadata: { finalizers: ["cluster.cluster.x-k8s.io", "example.com/held"] } },
  );
  await deleteNow(hub, resources.cluster, { namespace, name: "fake-deleting" });
  await memberHas(hub, "fake-deleting", "fake-deleting", "ClusterDeleting");
  await describes(["member", "fake-deleting"], "ClusterDeleting");
  await letGo("fake-deleting");
});

/** Takes the test's own finalizer off; Cluster API takes its own off when it likes. */
async function letGo(name: string): Promise<void> {
  const attempt = async () => {
    const live = await hub.get(resources.cluster, { namespace, name });
    if (live === undefined) return true;
    const { resourceVersion, finalizers = [] } = live.metadata;
    const kept = finalizers.filter((finalizer) => finalizer !== "example.com/held");
    const patch = { metadata: { resourceVersion, finalizers: kept } };
    await hub.mergePatch(resources.cluster, { namespace, name }, patch);
    return true;
  };
  await until(attempt, { deadlineMs: 20_000, what: `the finalizer of ${name} to go` });
}

test("a cluster that was never initialized is left without being reached", async () => {
  const name = "fake-untouched";
  await fakeCluster(name);
  await memberHas(hub, name, name, "ControlPlaneNotInitialized");
  const labels = { cluster: "nobody" };
  await hub.mergePatch(resources.cluster, { namespace, name }, { metadata: { labels } });
  await until(async () => (await memberOf(hub, name, name)) === undefined, {
    deadlineMs: 20_000,
    what: "the member to go",
  });
});

/** A member of a suspended Fleet, pinned by the test to a revision that no Fleet made. */
async function pinnedTo(fleet: string, revision: string): Promise<void> {
  await applyFleet(hub, fleet, "nobody", [inline("l", [configMap("a")])], { suspend: true });
  const spec = { fleetRef: { namespace, name: fleet }, clusterRef: { name: "err-1" }, revision };
  await until(async () => (await fleetOf(hub, fleet)) !== undefined, {
    deadlineMs: 5_000,
    what: "the Fleet",
  });
  await hub.apply(
    resources.fleetMember,
    {
      apiVersion: "capitan.dev/v1alpha1",
      kind: "FleetMember",
      metadata: { namespace, name: `${fleet}-pinned` },
      spec,
    },
    { manager: "test" },
  );
}

test("RevisionNotFound: a member whose revision is not there says so", async () => {
  await pinnedTo("err-norevision", "nosuch");
  await memberHas(hub, "err-norevision", "err-1", "RevisionNotFound");
  await describes(["member", "err-norevision-pinned"], "RevisionNotFound");
});

test("ArtifactGone: a revision whose artifact was collected says so", async () => {
  const layer = {
    name: "l",
    wait: true,
    timeout: "5m",
    deletionPolicy: "Delete",
    dependsOn: [],
    oci: {
      url: url("err/collected"),
      insecure: true,
      digest: `sha256:${"1".repeat(64)}`,
      revision: "x",
    },
  };
  await hub.apply(
    resources.fleetRevision,
    {
      apiVersion: "capitan.dev/v1alpha1",
      kind: "FleetRevision",
      metadata: { namespace, name: "err-gone-rev" },
      spec: { fleetRef: { name: "err-gone" }, layers: [layer] },
    },
    { manager: "test" },
  );
  await pinnedTo("err-gone", "err-gone-rev");
  await memberHas(hub, "err-gone", "err-1", "ArtifactGone");
  await describes(["member", "err-gone-pinned"], "ArtifactGone");
});

test("CapiVersionUnsupported: a hub that serves only v1beta1", async () => {
  const tools = await ensureTools(silent);
  const server = await startApiServer(lab.dir, tools["kube-apiserver"], {
    name: "oldhub",
    port: lab.ports.lastWorkload,
    etcdPort: lab.ports.etcd,
  });
  const old = await clientOf(server.kubeconfigFile);
  try {
    await applyInstall(old);
    const freeForm = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
    const spec = {
      group: "cluster.x-k8s.io",
      scope: "Namespaced",
      names: { plural: "clusters", kind: "Cluster", singular: "cluster", listKind: "ClusterList" },
      versions: [
        { name: "v1beta1", served: true, storage: true, schema: { openAPIV3Schema: freeForm } },
      ],
    };
    await old.apply(
      resources.crd,
      {
        apiVersion: "apiextensions.k8s.io/v1",
        kind: "CustomResourceDefinition",
        metadata: {
          name: "clusters.cluster.x-k8s.io",
          annotations: {
            "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/cluster-api",
          },
        },
        spec,
      },
      { manager: "test" },
    );
    await old.apply(
      resources.namespace,
      { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
      { manager: "test" },
    );
    const args = [
      join(root, "cmd", "controller", "main.ts"),
      "--platform-namespace",
      namespace,
      "--metrics-address",
      "127.0.0.1:0",
      "--cache-dir",
      join(lab.dir, "oldhub-cache"),
    ];
    await launch(lab.dir, {
      name: "controller-oldhub",
      command: process.execPath,
      args,
      env: { KUBECONFIG: server.kubeconfigFile },
    });
    await applyFleet(old, "old", "x", [inline("l", [configMap("a")])]);
    await fleetHas(old, "old", "CapiVersionUnsupported");
    await describes(["fleet", "old"], "CapiVersionUnsupported", server.kubeconfigFile);
  } finally {
    await stop(lab.dir, "controller-oldhub");
    await stop(lab.dir, "apiserver-oldhub");
    await old.close();
  }
});

test("InternalError: what nobody foresaw reaches the status, without its stack", async () => {
  const { ClusterReconciler } = await import("../../pkg/controllers/index.ts");
  const member = (await memberOf(hub, "err-keep", "err-1")) as FleetMember;
  let status: FleetMember["status"];
  const reconciler = new ClusterReconciler({
    hub: {
      fleet: () => ({ metadata: { namespace }, spec: { layers: [] } }) as never,
      fleetsBeside: () => [],
      freshMember: () => Promise.resolve(undefined),
      annotateMember: () => Promise.resolve(),
      cluster: () => ({
        namespace,
        name: "err-1",
        uid: "u",
        labels: {},
        paused: false,
        deleting: false,
        controlPlaneInitialized: true,
        context: {} as never,
      }),
      membersOn: () => [member],
      membersAt: () => [],
      secret: () => Promise.reject(new TypeError("something nobody foresaw")),
      secretVersion: () => "",
      revision: () => Promise.resolve(undefined),
      writeStatus: (_, written) => Promise.resolve((status = written) !== undefined),
      emit: () => Promise.resolve(),
    },
    tenancy: { platformNamespaces: new Set([namespace]) },
    connections: {
      held: () => undefined,
      get: () => Promise.reject(new Error("unused")),
      management: () => Promise.reject(new Error("unused")),
      drop: () => Promise.resolve(),
    },
    sources: undefined as never,
    identities: undefined as never,
    clock: { now: () => new Date(), monotonicMs: () => performance.now(), random: () => 0 },
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    metrics: { applied: () => undefined, repaired: () => undefined },
  });
  await reconciler.reconcile(`${namespace}/err-1`, AbortSignal.timeout(5_000));
  assert.equal(status?.conditions?.[0]?.reason, "InternalError");
  await pinnedTo("err-internal", "nosuch");
  await memberHas(hub, "err-internal", "err-1", "RevisionNotFound");
  const name = { namespace, name: "err-internal-pinned" };
  await hub.mergePatch(
    resources.fleetMember,
    name,
    { status: { ...status, observedGeneration: 1 } },
    { subresource: "status" },
  );
  await describes(["member", "err-internal-pinned"], "InternalError");
});

test("HubConfigInvalid, NotFound and FileInvalid: the CLI says them too", async () => {
  const missing = await capitan(["get", "fleets"], "/nonexistent");
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /HubConfigInvalid: cannot read the kubeconfig \/nonexistent/);
  const nobody = await capitan(["describe", "fleet", "nosuch"]);
  assert.match(nobody.stderr, /NotFound: there is no Fleet named nosuch/);
  const unread = await capitan(["push", "artifact", url("err/unread"), "--path", "/nonexistent"]);
  assert.match(unread.stderr, /FileInvalid: cannot read \/nonexistent/);
  for (const [code, { stderr }] of [
    ["HubConfigInvalid", missing],
    ["NotFound", nobody],
    ["FileInvalid", unread],
  ] as const) {
    assert.ok(stderr.includes(codes[code].remedy));
    seen.add(code);
  }
});

test("every error code that exists was made true above, or is in the tests of ownership", () => {
  const all = Object.keys(codes) as Code[];
  const elsewhere = new Set(codesOfOtherTests);
  const missing = all.filter((code) => !seen.has(code) && !elsewhere.has(code));
  assert.deepEqual(missing, []);
});
