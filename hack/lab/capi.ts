import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { canonicalJson, sha256Hex } from "../../pkg/json/index.ts";
import { parseManifests, type KubeObject } from "../../pkg/object/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import type { Resource } from "../../pkg/object/index.ts";
import { serverDir } from "./apiserver.ts";
import { cacheDir } from "./paths.ts";
import { assertFree, type Ports } from "./ports.ts";
import { assertAlive, launch } from "./processes.ts";
import { readServerPki } from "./pki.ts";
import { resources } from "./resources.ts";
import { moduleDir, type Tools } from "./tools.ts";
import { until } from "./wait.ts";

const manager = "capitan-lab";

/**
 * Starts Cluster API's core manager against the hub, and kube-controller-manager with only the
 * garbage collector and the namespace controller, which CAPI's deletion relies on. CRDs and webhook
 * configurations come from the pinned module; neither cert-manager nor a Service is needed, since
 * webhooks are called at a loopback address with the lab's CA.
 */
export async function startCapi(
  labDir: string,
  tools: Tools,
  ports: Ports,
  hub: KubeClient,
): Promise<void> {
  const url = `https://127.0.0.1:${ports.capiWebhook}`;
  const pki = await readServerPki(join(serverDir(labDir, "hub"), "pki"));
  const { definitions, webhooks } = await readManifests(
    url,
    Buffer.from(pki.ca).toString("base64"),
  );
  await Promise.all(
    [...definitions, ...labDefinitions()].map((crd) =>
      hub.apply(resources.crd, crd, { manager, metadataOnly: true }),
    ),
  );
  await established(hub);
  await Promise.all([
    startControllerManager(labDir, tools, ports),
    startCore(labDir, tools, ports),
  ]);
  await Promise.all(
    webhooks.map((hook) => hub.apply(webhookResource(hook), hook, { manager, metadataOnly: true })),
  );
}

async function startControllerManager(labDir: string, tools: Tools, ports: Ports): Promise<void> {
  await assertFree(ports.controllerManager, "kube-controller-manager");
  const kubeconfig = join(serverDir(labDir, "hub"), "kubeconfig");
  const args = [
    `--kubeconfig=${kubeconfig}`,
    "--controllers=garbage-collector-controller,namespace-controller",
    "--leader-elect=false",
  ];
  const serving = [
    "--bind-address=127.0.0.1",
    `--secure-port=${ports.controllerManager}`,
    "--use-service-account-credentials=false",
  ];
  await launch(labDir, {
    name: "kube-controller-manager",
    command: tools["kube-controller-manager"],
    args: [...args, ...serving],
  });
}

async function startCore(labDir: string, tools: Tools, ports: Ports): Promise<void> {
  for (const port of [ports.capiWebhook, ports.capiHealth, ports.capiDiagnostics])
    await assertFree(port, "the CAPI core manager");
  const dir = serverDir(labDir, "hub");
  // The manager has no flag for the webhook's address: it listens on every interface.
  const args = [
    `--webhook-port=${ports.capiWebhook}`,
    `--webhook-cert-dir=${join(dir, "pki")}`,
    `--health-addr=127.0.0.1:${ports.capiHealth}`,
    "--feature-gates=ClusterTopology=true",
  ];
  const diagnostics = [
    `--diagnostics-address=127.0.0.1:${ports.capiDiagnostics}`,
    "--insecure-diagnostics",
  ];
  await launch(labDir, {
    name: "capi-core",
    command: tools["capi-core"],
    args: [...args, ...diagnostics],
    env: { KUBECONFIG: join(dir, "kubeconfig") },
  });
  await coreReady(labDir, ports);
}

/** Waits until a CAPI core manager that was just started answers. */
export async function coreReady(labDir: string, ports: Ports): Promise<void> {
  await until(
    async () => {
      await assertAlive(labDir, "capi-core");
      return (await fetch(`http://127.0.0.1:${ports.capiHealth}/readyz`)).ok;
    },
    { deadlineMs: 60_000, what: "the CAPI core manager" },
  );
}

async function established(hub: KubeClient): Promise<void> {
  await until(
    async () => {
      const { items } = await hub.list(resources.crd);
      return items.every(isEstablished);
    },
    { deadlineMs: 30_000, what: "CRDs to be established", everyMs: 100 },
  );
}

function isEstablished(crd: KubeObject): boolean {
  const { conditions = [] } = (crd["status"] ?? {}) as {
    conditions?: readonly { type: string; status: string }[] | null;
  };
  return (conditions ?? []).some((c) => c.type === "Established" && c.status === "True");
}

type Manifests = {
  readonly definitions: readonly KubeObject[];
  readonly webhooks: readonly KubeObject[];
};

/** Parsed manifests are kept in the cache: reading 3 MB of YAML takes a second. */
async function readManifests(url: string, caBundle: string): Promise<Manifests> {
  const config = join(await moduleDir("capi", "sigs.k8s.io/cluster-api"), "core", "config");
  const file = join(cacheDir, "manifests", `capi-${sha256Hex(config).slice(0, 16)}.json`);
  const text = await readFile(file, "utf8").catch(() => undefined);
  const plain =
    text === undefined ? await parseConfig(config, file) : (JSON.parse(text) as Manifests);
  return {
    definitions: plain.definitions.map((crd) => withConversion(crd, url, caBundle)),
    webhooks: plain.webhooks.map((hook) => withAddress(hook, url, caBundle)),
  };
}

async function parseConfig(config: string, file: string): Promise<Manifests> {
  const bases = join(config, "crd", "bases");
  const names = (await readdir(bases)).filter((name) => name.endsWith(".yaml"));
  const read = async (path: string) => parseManifests(await readFile(path, "utf8"), path);
  const definitions = (await Promise.all(names.map((name) => read(join(bases, name))))).flat();
  const manifests = {
    definitions,
    webhooks: await read(join(config, "webhook", "manifests.yaml")),
  };
  await mkdir(join(cacheDir, "manifests"), { recursive: true });
  await writeFile(file, canonicalJson(manifests));
  return manifests;
}

function withConversion(crd: KubeObject, url: string, caBundle: string): KubeObject {
  const spec = crd["spec"] as { readonly versions: readonly unknown[] };
  const clientConfig = { url: `${url}/convert`, caBundle };
  const conversion = {
    strategy: "Webhook",
    webhook: { conversionReviewVersions: ["v1"], clientConfig },
  };
  const labels = {
    ...crd.metadata.labels,
    "cluster.x-k8s.io/provider": "cluster-api",
    "clusterctl.cluster.x-k8s.io": "",
    "cluster.x-k8s.io/v1beta1": "v1beta1",
    "cluster.x-k8s.io/v1beta2": "v1beta2",
  };
  return {
    ...crd,
    metadata: { name: crd.metadata.name, labels },
    spec: spec.versions.length > 1 ? { ...spec, conversion } : spec,
  };
}

type Webhook = { readonly clientConfig: { readonly service: { readonly path: string } } };

function withAddress(hook: KubeObject, url: string, caBundle: string): KubeObject {
  const webhooks = (hook["webhooks"] as readonly Webhook[]).map((w) => ({
    ...w,
    clientConfig: { url: `${url}${w.clientConfig.service.path}`, caBundle },
  }));
  return {
    apiVersion: hook.apiVersion,
    kind: hook.kind,
    metadata: { name: `capi-${hook.metadata.name}` },
    webhooks,
  };
}

function webhookResource({ kind }: KubeObject): Resource {
  return kind === "MutatingWebhookConfiguration"
    ? resources.mutatingWebhook
    : resources.validatingWebhook;
}

/** The CRDs of the lab's own provider, contract v1beta2. */
function labDefinitions(): readonly KubeObject[] {
  const { labCluster, labControlPlane, labClusterTemplate, labControlPlaneTemplate } = resources;
  const kinds = [labCluster, labControlPlane, labClusterTemplate, labControlPlaneTemplate];
  return kinds.map(({ group, kind, plural }) => ({
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: {
      name: `${plural}.${group}`,
      labels: { "cluster.x-k8s.io/v1beta2": "v1", "clusterctl.cluster.x-k8s.io": "" },
    },
    spec: {
      group,
      scope: "Namespaced",
      names: { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` },
      versions: [
        {
          name: "v1",
          served: true,
          storage: true,
          subresources: { status: {} },
          schema: {
            openAPIV3Schema: { type: "object", properties: { spec: freeForm, status: freeForm } },
          },
        },
      ],
    },
  }));
}

const freeForm = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
