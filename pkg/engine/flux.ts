import { CapitanError } from "../errors/index.ts";
import { asList, asMap, asString, isJsonMap, type JsonMap } from "../json/index.ts";
import { type KubeObject } from "../object/index.ts";

/** Where Flux installs itself. */
export const fluxSystemNamespace = "flux-system";

const componentLabel = "app.kubernetes.io/component";

export type FluxOptions = {
  readonly components?: readonly string[] | undefined;
  readonly registry?: string | undefined;
  readonly imagePullSecret?: string | undefined;
  readonly tenancy?: "Single" | "Lockdown" | undefined;
};

/** Flux's flags for clusters with tenants, by component. Source: Flux's documentation of multi-tenancy lockdown. */
const lockdownFlags: Readonly<Record<string, readonly string[]>> = {
  "kustomize-controller": [
    "--no-cross-namespace-refs=true",
    "--no-remote-bases=true",
    "--default-service-account=default",
  ],
  "helm-controller": ["--no-cross-namespace-refs=true", "--default-service-account=default"],
  "notification-controller": ["--no-cross-namespace-refs=true"],
  "image-reflector-controller": ["--no-cross-namespace-refs=true"],
  "image-automation-controller": ["--no-cross-namespace-refs=true"],
  "source-watcher": ["--no-cross-namespace-refs=true"],
};

/**
 * What `flux install` with these options would install, from the manifests with all components that
 * Flux publishes: objects of other components left out, images relocated, the pull secret named in
 * each Deployment. Throws ComponentUnknown.
 */
export function selectFlux(
  objects: readonly KubeObject[],
  options: FluxOptions,
): readonly KubeObject[] {
  const available = new Set(objects.map(componentOf).filter((name) => name !== undefined));
  const wanted = options.components ?? [...available];
  const unknown = wanted.find((name) => !available.has(name));
  if (unknown !== undefined) {
    throw new CapitanError(
      "ComponentUnknown",
      `the artifact has no component ${unknown}; it has ${[...available].sort().join(", ")}`,
    );
  }
  return objects
    .filter(
      (object) => componentOf(object) === undefined || wanted.includes(componentOf(object) ?? ""),
    )
    .map((object) => (object.kind === "Deployment" ? withPodOptions(object, options) : object));
}

function componentOf(object: KubeObject): string | undefined {
  return object.metadata.labels?.[componentLabel];
}

function withPodOptions(
  deployment: KubeObject,
  { registry, imagePullSecret, tenancy }: FluxOptions,
): KubeObject {
  const spec = asMap(deployment["spec"]);
  const template = asMap(spec["template"]);
  const pod = asMap(template["spec"]);
  const flags = tenancy === "Lockdown" ? (lockdownFlags[deployment.metadata.name] ?? []) : [];
  const containers = asList(pod["containers"]).map((c) =>
    isJsonMap(c) ? flagged(relocated(c, registry), flags) : c,
  );
  const pull =
    imagePullSecret === undefined ? {} : { imagePullSecrets: [{ name: imagePullSecret }] };
  return {
    ...deployment,
    spec: { ...spec, template: { ...template, spec: { ...pod, containers, ...pull } } },
  };
}

/** The manager's container with these flags in place of others of the same names. */
function flagged(container: JsonMap, flags: readonly string[]): JsonMap {
  if (flags.length === 0 || container["name"] !== "manager") return container;
  const names = flags.map((flag) => `${flag.split("=")[0] ?? flag}=`);
  const args = asList(container["args"]).filter((arg) => typeof arg === "string");
  const others = args.filter((arg) => !names.some((name) => arg.startsWith(name)));
  return { ...container, args: [...others, ...flags] };
}

/** `ghcr.io/fluxcd/source-controller:v1` → `<registry>/source-controller:v1`. */
function relocated(container: JsonMap, registry: string | undefined): JsonMap {
  const image = asString(container["image"]);
  if (registry === undefined || image === undefined) return container;
  return { ...container, image: `${registry}/${image.split("/").at(-1) ?? image}` };
}
