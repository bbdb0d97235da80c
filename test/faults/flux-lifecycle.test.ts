import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { serverDir } from "../../hack/lab/apiserver.ts";
import {
  assembled,
  fluxManifests,
  fluxVersion,
  olderFluxManifests,
  olderFluxVersion,
} from "../../hack/flux-manifests.ts";
import {
  fluxResources,
  serveArtifact,
  startKustomizeController,
} from "../../hack/lab/kustomize.ts";
import { stop } from "../../hack/lab/processes.ts";
import { silent } from "../../hack/lab/progress.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { conditionOf, type FleetMember } from "../../pkg/api/index.ts";
import { asMap } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import type { KubeObject, Resource } from "../../pkg/object/index.ts";
import { pushFiles } from "../harness/artifacts.ts";
import { auditOf, writesSince } from "./harness/index.ts";
import {
  applyFleet,
  configMap,
  fleetReady,
  memberHas,
  memberOf,
  newCluster,
  resources,
  sharedHub,
  sharedLab,
  retireClusters,
  until,
} from "../harness/index.ts";

let lab: LabFile;
let hub: KubeClient;
before(async () => {
  lab = await sharedLab();
  hub = await sharedHub();
});
after(async () => {
  await retireClusters(hub, "fx-");
  await hub.close();
});

const custom = (group: string, version: string, kind: string): Resource => ({
  group: `${group}.toolkit.fluxcd.io`,
  version,
  kind,
  namespaced: true,
  plural: kind === "GitRepository" ? "gitrepositories" : `${kind.toLowerCase()}s`,
});
const push = (repository: string, version: string, text: string) =>
  pushFiles(`oci://${lab.registry}/${repository}:${version}`, { "gotk-components.yaml": text });
const layer = (repository: string, version: string, more: object = {}) => ({
  name: "flux",
  deletionPolicy: "Delete",
  flux: {
    version,
    artifact: { url: `oci://${lab.registry}/${repository}`, insecure: true },
    ...more,
  },
});

async function approve(fleet: string, cluster: string): Promise<void> {
  const member = await memberHas(hub, fleet, cluster, "RemovalNeedsApproval");
  const message = conditionOf(member.status?.conditions, "Ready")?.message ?? "";
  const approval = /approve-removal=(\w+)/.exec(message)?.[1];
  const patch = { metadata: { annotations: { "capitan.dev/approve-removal": approval } } };
  await hub.mergePatch(resources.fleetMember, member.metadata, patch);
}

const definitionNames = async (client: KubeClient) =>
  (await client.list(resources.crd, { metadataOnly: true })).items.map(
    ({ metadata }) => metadata.name,
  );
const deploymentNames = async (client: KubeClient) =>
  (await client.list(resources.deployment, { namespace: "flux-system", metadataOnly: true })).items
    .map(({ metadata }) => metadata.name)
    .sort();

/** The older Flux as it was one patch before: Alerts and Providers were stored at v1beta2 then. */
const storedAtBeta2 = (text: string) =>
  text
    .replaceAll(olderFluxVersion, "v2.8.7")
    .replaceAll(
      /name: v1beta2([\s\S]*?)storage: false([\s\S]*?)name: v1beta3([\s\S]*?)storage: true/g,
      "name: v1beta2$1storage: true$2name: v1beta3$3storage: false",
    );

test(`Flux ${olderFluxVersion} → ${fluxVersion} by a new tag: stored versions are migrated, one component goes after approval, one comes; the way back is refused`, async () => {
  const { client } = await newCluster(hub, "fx-1");
  const older = (await olderFluxManifests()).text;
  const four = [
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "notification-controller",
  ];
  await push("fx", "v2.8.7", storedAtBeta2(older));
  await applyFleet(hub, "fx", "fx-1", [layer("fx", ">=2.8.0", { components: four })]);
  await fleetReady(hub, "fx");
  for (const [kind, spec] of [
    ["Provider", { type: "generic", address: "https://example.com" }],
    ["Alert", { providerRef: { name: "a" }, eventSources: [{ kind: "Kustomization", name: "*" }] }],
  ] as const)
    await client.create(custom("notification", "v1beta2", kind), {
      apiVersion: "notification.toolkit.fluxcd.io/v1beta2",
      kind,
      spec,
      metadata: {
        namespace: "flux-system",
        name: "a",
      },
    });
  await push("fx", olderFluxVersion, older);
  await resolveAgain("fx");
  await runs(client, olderFluxVersion);
  const storedOf = async (name: string) =>
    asMap(
      (await client.get(resources.crd, { name: `${name}.notification.toolkit.fluxcd.io` }))?.[
        "status"
      ],
    )["storedVersions"];
  assert.deepEqual(await storedOf("alerts"), ["v1beta2", "v1beta3"]);
  await fleetReady(hub, "fx");
  const uidBefore = (
    await client.get(resources.deployment, { namespace: "flux-system", name: "source-controller" })
  )?.metadata.uid;
  await push("fx", fluxVersion, (await assembled()).text);
  const components = [
    ...four.filter((name) => name !== "helm-controller"),
    "image-reflector-controller",
  ];
  await applyFleet(hub, "fx", "fx-1", [layer("fx", ">=2.8.0", { components })]);
  await approve("fx", "fx-1");
  await fleetReady(hub, "fx");
  assert.deepEqual(await storedOf("alerts"), ["v1beta3"]);
  assert.deepEqual(await storedOf("providers"), ["v1beta3"]);
  for (const kind of ["Alert", "Provider"])
    assert.equal((await client.list(custom("notification", "v1beta3", kind))).items.length, 1);
  assert.deepEqual(await deploymentNames(client), [...components].sort());
  assert.ok(!(await definitionNames(client)).some((name) => name.includes("helmreleases")));
  assert.ok((await definitionNames(client)).some((name) => name.includes("imagerepositories")));
  const controller = { namespace: "flux-system", name: "source-controller" };
  assert.equal((await client.get(resources.deployment, controller))?.metadata.uid, uidBefore);
  const mark = await auditOf(lab.dir, "fx-1").mark();
  await applyFleet(hub, "fx", "fx-1", [
    layer("fx", olderFluxVersion.slice(1), { components: four }),
  ]);
  await memberHas(hub, "fx", "fx-1", "DowngradeRefused");
  const writes = await writesSince(auditOf(lab.dir, "fx-1"), mark);
  assert.deepEqual(
    writes.filter((write) => !write.includes(" configmaps capitan-system/")),
    [],
  );
  await client.close();
});

async function resolveAgain(fleet: string): Promise<void> {
  const name = { namespace: "fleet", name: fleet };
  const annotations = { "reconcile.fluxcd.io/requestedAt": `${performance.now()}` };
  await hub.mergePatch(resources.fleet, name, { metadata: { annotations } });
}

async function runs(client: KubeClient, version: string): Promise<void> {
  const name = "alerts.notification.toolkit.fluxcd.io";
  await until(
    async () =>
      (await client.get(resources.crd, { name }, { metadataOnly: true }))?.metadata.labels?.[
        "app.kubernetes.io/version"
      ] === version,
    { deadlineMs: 30_000, what: `Flux ${version}` },
  );
}

const { kustomization } = fluxResources;
const tenantSource = { namespace: "flux-system", name: "tenant" };
const fluxPod = { namespace: "flux-system", name: "kustomize-controller-0" };

/** The real kustomize-controller as a process, with a Pod object that stands for it. */
async function startWithPod(client: KubeClient, cluster: string): Promise<void> {
  const kubeconfig = join(serverDir(lab.dir, cluster), "kubeconfig");
  await startKustomizeController(lab.dir, kubeconfig, { progress: silent });
  const labels = { "app.kubernetes.io/part-of": "flux" };
  const spec = { containers: [{ name: "c", image: "registry.example/x:1" }] };
  const metadata = { ...fluxPod, labels };
  await client.create(resources.pod, { apiVersion: "v1", kind: "Pod", spec, metadata });
}

test("withdrawing Flux: in the order of flux uninstall, with a real kustomize-controller, and what the tenants run survives", async () => {
  const { client } = await newCluster(hub, "fx-2");
  await push("fx2", fluxVersion, (await fluxManifests()).text);
  await applyFleet(hub, "fx2", "fx-2", [layer("fx2", fluxVersion.slice(1))]);
  await fleetReady(hub, "fx2");
  const files = { "tenant.yaml": JSON.stringify(configMap("tenant", { k: "v" })) };
  const server = await serveArtifact(client, tenantSource, files);
  try {
    await startWithPod(client, "fx-2");
    await client.create(kustomization, {
      apiVersion: "kustomize.toolkit.fluxcd.io/v1",
      kind: "Kustomization",
      metadata: {
        namespace: "flux-system",
        name: "tenant",
      },
      spec: {
        interval: "1h",
        prune: true,
        path: "./",
        sourceRef: {
          kind: "GitRepository",
          name: "tenant",
        },
      },
    });
    await until(() => client.get(resources.configMap, { namespace: "default", name: "tenant" }), {
      deadlineMs: 60_000,
      what: "kustomize-controller to apply the tenant's object",
    });
    const fleet = await hub.get(resources.fleet, { namespace: "fleet", name: "fx2" });
    assert.ok(fleet !== undefined);
    await hub.delete(resources.fleet, fleet);
    await approve("fx2", "fx-2");
    await until(async () => (await deploymentNames(client)).length === 0, {
      deadlineMs: 30_000,
      what: "the controllers' Deployments to go",
    });
    // The controller still runs: nothing of its kinds may be touched before it has ended.
    const waiting = await memberHas(hub, "fx2", "fx-2", "RemovalBlocked");
    assert.match(message(waiting), /Pod\/flux-system\/kustomize-controller-0 of Flux still runs/);
    const held = await client.get(kustomization, { namespace: "flux-system", name: "tenant" });
    assert.equal(held?.metadata.deletionTimestamp, undefined);
    assert.equal(held?.metadata.finalizers?.length, 1);
    await stop(lab.dir, "kustomize-controller");
    const pod = (await client.get(resources.pod, fluxPod)) as KubeObject;
    await client.delete(resources.pod, pod);
    await gone(client);
    await until(
      async () =>
        (await definitionNames(client)).every((name) => !name.endsWith("toolkit.fluxcd.io")),
      { deadlineMs: 60_000, what: "Flux's definitions to go" },
    );
    const tenant = await client.get(resources.configMap, { namespace: "default", name: "tenant" });
    assert.equal(asMap(tenant?.["data"])["k"], "v");
    // Nobody finalizes Namespaces in the laboratory: what holds it is said.
    const stuck = await until(
      async () => {
        const member = await memberOf(hub, "fx2", "fx-2");
        if (member === undefined) throw new Error("there is no member");
        if (!message(member).includes("Namespace/flux-system")) throw new Error(message(member));
        return member;
      },
      { deadlineMs: 30_000, what: "only the Namespace to be left" },
    );
    assert.match(
      message(stuck),
      /Namespace\/flux-system is being deleted since .*finalizers kubernetes/,
    );
  } finally {
    server.close();
    await stop(lab.dir, "kustomize-controller").catch(() => undefined);
    await client.close();
  }
});

const message = (member: FleetMember) =>
  conditionOf(member.status?.conditions, "Ready")?.message ?? "";

/** The kubelet's part: a Pod that was deleted with a grace period ends when its process has. */
async function gone(client: KubeClient): Promise<void> {
  await until(
    async () => {
      const pod = await client.get(resources.pod, fluxPod);
      if (pod === undefined) return true;
      await client.delete(resources.pod, pod);
      return false;
    },
    { deadlineMs: 20_000, what: "the Pod to go" },
  );
}
