import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { canonicalJson, sha256Hex } from "../../pkg/json/index.ts";
import { parseManifests, type KubeObject } from "../../pkg/object/index.ts";
import { cacheDir } from "./paths.ts";
import { moduleDir } from "./tools.ts";

/** Where a Cluster API provider keeps its manifests: a directory in a module that a tool module pins. */
type Place = { readonly tools: string; readonly module: string; readonly config: string };

const capi = { tools: "capi", module: "sigs.k8s.io/cluster-api" } as const;

const places = {
  core: { ...capi, config: "core/config" },
  "kubeadm-bootstrap": { ...capi, config: "bootstrap/kubeadm/config" },
  "kubeadm-control-plane": { ...capi, config: "controlplane/kubeadm/config" },
  docker: {
    tools: "capi-providers",
    module: "sigs.k8s.io/cluster-api/test",
    config: "infrastructure/docker/config",
  },
  aws: { tools: "capa", module: "sigs.k8s.io/cluster-api-provider-aws/v2", config: "config" },
} as const satisfies Record<string, Place>;

/** A provider of Cluster API whose manifests are in a pinned module. */
export type ProviderName = keyof typeof places;

export type Manifests = {
  readonly definitions: readonly KubeObject[];
  readonly webhooks: readonly KubeObject[];
};

/** Where a manager's webhooks answer, and who has signed its certificate. */
export type WebhookAddress = { readonly url: string; readonly caBundle: string };

/** A provider's CRDs, served without any conversion, as long as nobody runs the provider. */
export async function providerDefinitions(name: ProviderName): Promise<readonly KubeObject[]> {
  return (await readManifests(name)).definitions.map(({ apiVersion, kind, metadata, ...rest }) => ({
    apiVersion,
    kind,
    metadata: { name: metadata.name },
    ...rest,
  }));
}

/**
 * A provider's CRDs, with the labels by which clusterctl and Cluster API's contract find them, and its
 * webhook configurations; conversion and admission are asked for at `address`, without cert-manager
 * and without a Service.
 */
export async function providerManifests(
  name: ProviderName,
  address: WebhookAddress,
): Promise<Manifests> {
  const { definitions, webhooks } = await readManifests(name);
  return {
    definitions: definitions.map((crd) => withConversion(crd, name, address)),
    webhooks: webhooks.map((hook) => withAddress(hook, name, address)),
  };
}

/** Parsed manifests are kept in the cache: reading 3 MB of YAML takes a second. */
async function readManifests(name: ProviderName): Promise<Manifests> {
  const { tools, module, config } = places[name];
  const dir = join(await moduleDir(tools, module), config);
  const file = join(cacheDir, "manifests", `capi-${sha256Hex(dir).slice(0, 16)}.json`);
  const text = await readFile(file, "utf8").catch(() => undefined);
  return text === undefined ? parseConfig(dir, file) : (JSON.parse(text) as Manifests);
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

function withConversion(
  crd: KubeObject,
  name: ProviderName,
  { url, caBundle }: WebhookAddress,
): KubeObject {
  const spec = crd["spec"] as { readonly versions: readonly unknown[] };
  const clientConfig = { url: `${url}/convert`, caBundle };
  const conversion = {
    strategy: "Webhook",
    webhook: { conversionReviewVersions: ["v1"], clientConfig },
  };
  const labels = {
    ...crd.metadata.labels,
    "cluster.x-k8s.io/provider": name === "core" ? "cluster-api" : name,
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

function withAddress(
  hook: KubeObject,
  name: ProviderName,
  { url, caBundle }: WebhookAddress,
): KubeObject {
  const webhooks = (hook["webhooks"] as readonly Webhook[]).map((w) => ({
    ...w,
    clientConfig: { url: `${url}${w.clientConfig.service.path}`, caBundle },
  }));
  return {
    apiVersion: hook.apiVersion,
    kind: hook.kind,
    metadata: { name: `${name === "core" ? "capi" : name}-${hook.metadata.name}` },
    webhooks,
  };
}
