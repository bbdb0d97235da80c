import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { capitan, type Call } from "../../hack/demo/cli.ts";
import { prepare, type Ground } from "../../hack/demo/birth.ts";
import { memberReady, onCluster } from "../../hack/demo/clusters.ts";
import { pushFlux } from "../../hack/demo/flux.ts";
import { person } from "../../hack/demo/repository.ts";
import { clientOf } from "../../hack/lab/apiserver.ts";
import { createCluster, type ClusterName } from "../../hack/lab/clusters.ts";
import { startController } from "../../hack/lab/controller.ts";
import { registryTells } from "../../hack/lab/fleet.ts";
import { labNamespace, startLab, stopLab } from "../../hack/lab/lab.ts";
import { root } from "../../hack/lab/paths.ts";
import { silent } from "../../hack/lab/progress.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { asList, asMap, asString } from "../../pkg/json/index.ts";
import { Discovery, type KubeClient } from "../../pkg/kube/index.ts";
import { parseManifests } from "../../pkg/object/index.ts";
import { resources, until } from "../harness/index.ts";
import { clusterRoles } from "../harness/tenants.ts";

/** A hub of its own: the example brings Capitan itself to it. */
let lab: LabFile;
let hub: KubeClient;
let ground: Ground;

before(async () => {
  const dir = await mkdtemp(join(tmpdir(), "capitan-example-"));
  lab = await startLab({ dir, progress: silent, audit: true, registryTells });
  hub = await clientOf(lab.hubKubeconfig);
  await startController(lab);
  await pushFlux(lab);
  ground = await prepare(lab, hub);
});
after(async () => {
  await hub.close();
  await stopLab(lab.dir);
});

const cli = (args: readonly string[], how: Call = {}) =>
  capitan(lab, args, { cwd: ground.clone, env: person, ...how });

const ready = (fleet: string, cluster: ClusterName) => memberReady(hub, fleet, cluster, 120_000);

/** Applies the objects of a file of the person's clone, as an admin would with kubectl. */
async function apply(client: KubeClient, path: string): Promise<void> {
  const discovery = new Discovery(client);
  for (const object of parseManifests(await readFile(join(ground.clone, path), "utf8"), path)) {
    const resource = await discovery.find(object.apiVersion, object.kind);
    assert.ok(resource !== undefined, object.kind);
    await client.apply(resource, object, { manager: "kubectl" });
  }
}

const push = (path: string, repository: string) =>
  cli(["push", "artifact", `oci://${lab.registry}/${repository}:stable`, "--path", path]);

test("every object of management/ is on the hub", async () => {
  const dir = join(ground.clone, "management");
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const files = entries.filter(({ name }) => /\.ya?ml$/.test(name));
  const discovery = new Discovery(hub);
  let count = 0;
  for (const { parentPath, name } of files) {
    const file = join(parentPath, name);
    for (const object of parseManifests(await readFile(file, "utf8"), file)) {
      const resource = await discovery.find(object.apiVersion, object.kind);
      assert.ok(resource !== undefined, object.kind);
      const live = await hub.get(resource, object.metadata, { metadataOnly: true });
      assert.ok(live !== undefined, `${object.kind} ${object.metadata.name} of ${name}`);
      count += 1;
    }
  }
  assert.ok(count > 10, `${count} objects`);
});

const settingsOf = (cluster: ClusterName) =>
  onCluster(hub, cluster, async (client) => {
    const found = await client.get(resources.configMap, { namespace: "shop", name: "settings" });
    const secret = await client.get(resources.secret, { namespace: "default", name: "admin" });
    const password = asString(asMap(secret?.["data"])["password"]) ?? "";
    return {
      ...asMap(found?.["data"]),
      password: Buffer.from(password, "base64").toString("utf8"),
    };
  });

test("a cluster of each environment gets the environment's settings, its own, and its own Secret", async () => {
  const wanted = [
    {
      name: "prod-eu-1",
      fleet: "production",
      set: ["region=eu", "environment=prod", "replicas=3"],
    },
    { name: "stage-us-1", fleet: "staging", set: ["region=us", "environment=staging"] },
  ];
  for (const { name, set } of wanted)
    await cli(
      ["create", "cluster", name, "--template", "lab", "--set-file", "adminPassword=-"].concat(
        set.flatMap((one) => ["--set", one]),
      ),
      { input: `secret of ${name}` },
    );
  const seen = [];
  for (const { name, fleet } of wanted) {
    await ready(fleet, { namespace: labNamespace, name });
    seen.push(await settingsOf({ namespace: labNamespace, name }));
  }
  const common = { replicas: "1" };
  assert.deepEqual(seen, [
    {
      cluster: "prod-eu-1",
      environment: "prod",
      region: "eu",
      logLevel: "info",
      replicas: "3",
      password: "secret of prod-eu-1",
    },
    {
      ...common,
      cluster: "stage-us-1",
      environment: "staging",
      region: "us",
      logLevel: "debug",
      password: "secret of stage-us-1",
    },
  ]);
});

/** The workload API servers here have no controllers, so nobody fills the aggregated ClusterRole `admin`. */
const admin = {
  apiVersion: "rbac.authorization.k8s.io/v1",
  kind: "ClusterRole",
  metadata: { name: "admin" },
  rules: [{ apiGroups: [""], resources: ["configmaps"], verbs: ["*"] }],
};

test("the soft tenant's Fleet acts as its ServiceAccount, in its namespace only", async () => {
  const cluster = { namespace: "checkout", name: "checkout-1" };
  const printed = async (...more: readonly string[]) =>
    cli(["create", "tenant", "checkout", ...more, "--export"]);
  for (const [file, text] of [
    ["hub.yaml", await printed()],
    ["cluster.yaml", await printed("--cluster", cluster.name)],
  ] as const) {
    const kept = await readFile(join(root, "clusters", "tenants", "checkout", file), "utf8");
    assert.equal(kept.slice(kept.indexOf("\n") + 1), text, file);
  }
  await apply(hub, "tenants/checkout/hub.yaml");
  await createCluster(hub, cluster);
  await onCluster(hub, cluster, async (client) => {
    await client.apply(clusterRoles, admin, { manager: "test" });
    await apply(client, "tenants/checkout/cluster.yaml");
  });
  await push("tenants/checkout/config", "tenants/checkout");
  await apply(hub, "tenants/checkout/fleet.yaml");
  await ready("checkout", cluster);
  const settings = await onCluster(hub, cluster, (client) =>
    client.get(resources.configMap, { namespace: "checkout", name: "settings" }),
  );
  assert.deepEqual(settings?.["data"], { cluster: "checkout-1" });
});

test("the hard tenant's cluster has a Flux of its own, locked down, that pulls what the tenant publishes", async () => {
  const cluster = { namespace: labNamespace, name: "payments-1" };
  await push("tenants/payments/config", "tenants/payments");
  await createCluster(hub, cluster, { labels: { tenant: "payments" } });
  const sync = {
    group: "kustomize.toolkit.fluxcd.io",
    version: "v1",
    kind: "Kustomization",
    plural: "kustomizations",
    namespaced: true,
  };
  // Ready it is when its Flux has pulled; here nobody runs that Flux.
  const isThere = () =>
    onCluster(hub, cluster, (client) =>
      client.get(sync, { namespace: "flux-system", name: "flux-system" }),
    );
  const found = await until(isThere, {
    deadlineMs: 120_000,
    what: "the Kustomization of payments",
  });
  assert.equal(asMap(found["spec"])["path"], "./");
  const name = { namespace: "flux-system", name: "kustomize-controller" };
  const deployment = await until(
    () => onCluster(hub, cluster, (client) => client.get(resources.deployment, name)),
    { deadlineMs: 30_000, what: "its kustomize-controller" },
  );
  const spec = asMap(asMap(asMap(deployment["spec"])["template"])["spec"]);
  const args = asList(asMap(asList(spec["containers"])[0])["args"]);
  assert.ok(args.includes("--no-cross-namespace-refs=true"), JSON.stringify(args));
});
