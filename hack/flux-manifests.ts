import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { asList, asMap, asString, type JsonMap } from "../pkg/json/index.ts";
import { parseManifests, parseYaml, type KubeObject } from "../pkg/object/index.ts";
import { ArtifactCache, RegistryClient } from "../pkg/registry/index.ts";
import { parseReference } from "../pkg/oci/index.ts";
import { cacheDir, root } from "./lab/paths.ts";
import { moduleDir } from "./lab/tools.ts";

/** The version of Flux that the demo, the tests and the benchmark install. */
export const fluxVersion = "v2.9.4";

/** The last of the minor version before. */
export const olderFluxVersion = "v2.8.8";

const namespace = "flux-system";
const controllers = {
  "source-controller": "github.com/fluxcd/source-controller",
  "kustomize-controller": "github.com/fluxcd/kustomize-controller",
  "helm-controller": "github.com/fluxcd/helm-controller",
  "notification-controller": "github.com/fluxcd/notification-controller",
  "image-reflector-controller": "github.com/fluxcd/image-reflector-controller",
  "image-automation-controller": "github.com/fluxcd/image-automation-controller",
  "source-watcher": "github.com/fluxcd/source-watcher/v2",
} as const;

/** Flux's install manifests: the text of gotk-components.yaml, and where it comes from. */
export type FluxManifests = { readonly text: string; readonly origin: string };

/**
 * Real manifests of Flux: the file that `flux install` wrote when it is beside the repository, else
 * Flux's own artifact when its registry answers, else assembled from the config directories of the
 * pinned Go modules, the way Flux's own build does.
 */
export async function fluxManifests(): Promise<FluxManifests> {
  const file = join(root, "..", "shared", "vectors", "flux", `gotk-components-${fluxVersion}.yaml`);
  if (existsSync(file)) return { text: await readFile(file, "utf8"), origin: file };
  return (await fromRegistry()) ?? (await assembled());
}

/**
 * Manifests of the minor version before: the file of `flux install` when it is beside the
 * repository, else today's with what was different then: two notification CRDs had another version.
 */
export async function olderFluxManifests(): Promise<FluxManifests> {
  const file = join(
    root,
    "..",
    "shared",
    "vectors",
    "flux",
    `gotk-components-${olderFluxVersion}.yaml`,
  );
  if (existsSync(file)) return { text: await readFile(file, "utf8"), origin: file };
  const { text } = await fluxManifests();
  const older = parseManifests(text.replaceAll(fluxVersion, olderFluxVersion), "flux").map(
    withOldVersion,
  );
  const derived = older.map((object) => `---\n${stringify(object)}`).join("");
  return { text: derived, origin: "derived" };
}

function withOldVersion(object: KubeObject): KubeObject {
  if (!/^(alerts|providers)\.notification/.test(object.metadata.name)) return object;
  const spec = asMap(object["spec"]);
  const versions = asList(spec["versions"]).map(asMap);
  const old = { ...versions[0], name: "v1beta2", storage: false };
  return { ...object, spec: { ...spec, versions: [old, ...versions] } };
}

async function fromRegistry(): Promise<FluxManifests | undefined> {
  const url = "oci://ghcr.io/fluxcd/flux-manifests";
  const registry = new RegistryClient(parseReference(url), { insecure: false });
  const signal = AbortSignal.timeout(15_000);
  try {
    const digest = await registry.resolve(fluxVersion, signal);
    const files = await registry.pull(
      digest,
      new ArtifactCache(join(cacheDir, "artifacts"), () => undefined),
      signal,
    );
    const text = files.get("gotk-components.yaml")?.content.toString("utf8");
    return text === undefined ? undefined : { text, origin: `${url}@${digest}` };
  } catch {
    return undefined; // offline: the next source is as real
  } finally {
    await registry.close();
  }
}

/** All seven controllers, assembled and kept in the cache. */
export async function assembled(): Promise<FluxManifests> {
  const file = join(cacheDir, "manifests", `flux-${fluxVersion}-assembled.yaml`);
  const origin = "config/ of Flux's Go modules";
  if (existsSync(file)) return { text: await readFile(file, "utf8"), origin };
  const flux = join(await moduleDir("flux", "github.com/fluxcd/flux2/v2"), "manifests");
  const parts = await Promise.all(
    Object.entries(controllers).map(([name, module]) => controllerObjects(name, module, flux)),
  );
  const shared = [
    ...(await objectsIn(join(flux, "rbac"))),
    ...(await objectsIn(join(flux, "policies"))),
  ];
  const objects = [
    ...(await objectsIn(join(flux, "install"), "namespace.yaml")),
    ...shared,
    ...parts.flat(),
  ].map(placed);
  const text = objects.map((object) => `---\n${stringify(object)}`).join("");
  await mkdir(join(cacheDir, "manifests"), { recursive: true });
  await writeFile(file, text);
  return { text, origin };
}

async function controllerObjects(
  name: string,
  module: string,
  flux: string,
): Promise<readonly KubeObject[]> {
  const config = join(await moduleDir("flux", module), "config");
  const base = join(flux, "bases", name);
  const tag = await imageTag(join(config, "manager", "kustomization.yaml"));
  const manager = (await objectsIn(join(config, "manager"))).map((object) =>
    object.kind === "Deployment" ? withImage(object, `ghcr.io/fluxcd/${name}:${tag}`) : object,
  );
  const patches = asList(
    parseYaml(await readFile(join(base, "patch.yaml"), "utf8"), "patch.yaml"),
  ).map(asMap);
  const patched = manager.map((object) =>
    object.kind === "Deployment" ? patches.reduce(addTo, object) : object,
  );
  const all = [
    ...(await objectsIn(join(config, "crd", "bases"))),
    ...patched,
    ...(await objectsIn(base, "account.yaml")),
  ];
  return all.map((object) => labelled(object, { "app.kubernetes.io/component": name }));
}

async function objectsIn(dir: string, only?: string): Promise<readonly KubeObject[]> {
  const names = (await readdir(dir)).filter(
    (name) => name.endsWith(".yaml") && name !== "kustomization.yaml" && name !== "labels.yaml",
  );
  const files = names.filter((name) => only === undefined || name === only).sort();
  return (
    await Promise.all(
      files.map(async (name) =>
        parseManifests(await readFile(join(dir, name), "utf8"), join(dir, name)),
      ),
    )
  ).flat();
}

async function imageTag(file: string): Promise<string> {
  const images = asList(asMap(parseYaml(await readFile(file, "utf8"), file))["images"]).map(asMap);
  return asString(images[0]?.["newTag"]) ?? "latest";
}

function withImage(deployment: KubeObject, image: string): KubeObject {
  return addTo(deployment, { path: "/spec/template/spec/containers/0/image", value: image });
}

/** JSON patch `add` (RFC 6902), the only operation that Flux's bases use. */
function addTo(object: KubeObject, patch: JsonMap): KubeObject {
  const segments = (asString(patch["path"]) ?? "").split("/").slice(1);
  return addAt(object, segments, patch["value"]) as KubeObject;
}

function addAt(target: unknown, [head = "", ...rest]: readonly string[], value: unknown): unknown {
  if (Array.isArray(target)) {
    const index = head === "-" ? target.length : Number(head);
    const items: readonly unknown[] = target;
    return rest.length === 0
      ? items.toSpliced(index, 0, value)
      : items.with(index, addAt(items[index], rest, value));
  }
  const map = asMap(target);
  return { ...map, [head]: rest.length === 0 ? value : addAt(map[head], rest, value) };
}

function labelled(object: KubeObject, labels: Record<string, string>): KubeObject {
  const metadata = { ...object.metadata, labels: { ...object.metadata.labels, ...labels } };
  if (object.kind !== "Deployment") return { ...object, metadata };
  const spec = asMap(object["spec"]);
  const template = asMap(spec["template"]);
  const podMetadata = asMap(template["metadata"]);
  const podLabels = { ...asMap(podMetadata["labels"]), ...labels };
  return {
    ...object,
    metadata,
    spec: { ...spec, template: { ...template, metadata: { ...podMetadata, labels: podLabels } } },
  };
}

const namespaced = new Set([
  "ServiceAccount",
  "Deployment",
  "Service",
  "NetworkPolicy",
  "ResourceQuota",
]);
const suffixed = new Set(["ClusterRole", "ClusterRoleBinding", "ResourceQuota"]);

/** As `flux install` does: everything into flux-system, shared names with its name behind, labels of the instance. */
function placed(object: KubeObject): KubeObject {
  const { kind, metadata } = object;
  const name = suffixed.has(kind) ? `${metadata.name}-${namespace}` : metadata.name;
  const place = namespaced.has(kind) ? { namespace } : {};
  const common = {
    "app.kubernetes.io/part-of": "flux",
    "app.kubernetes.io/instance": namespace,
    "app.kubernetes.io/version": fluxVersion,
  };
  const result = installed(
    labelled({ ...object, metadata: { ...metadata, ...place, name } }, common),
  );
  const roleRef = asMap(object["roleRef"]);
  const renamed =
    kind === "ClusterRoleBinding" && roleRef["name"] !== "cluster-admin"
      ? { roleRef: { ...roleRef, name: `${asString(roleRef["name"]) ?? ""}-${namespace}` } }
      : {};
  return { ...result, ...renamed };
}

/** The options of `flux install` that end in the manifests even when none is given. */
function installed(object: KubeObject): KubeObject {
  if (object.kind !== "Deployment") return object;
  const spec = asMap(object["spec"]);
  const template = asMap(spec["template"]);
  const pod = asMap(template["spec"]);
  const [container, ...others] = asList(pod["containers"]).map(asMap);
  const args = asList(container?.["args"]).map((arg) =>
    String(arg)
      .replace(/^--watch-all-namespaces$/, "--watch-all-namespaces=true")
      .replace(
        "notification-controller.flux-system.svc",
        "notification-controller.$(RUNTIME_NAMESPACE).svc",
      ),
  );
  const containers = [{ ...container, args }, ...others];
  const nodeSelector = { "kubernetes.io/os": "linux" };
  return {
    ...object,
    spec: { ...spec, template: { ...template, spec: { ...pod, containers, nodeSelector } } },
  };
}
