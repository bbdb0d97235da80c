import { createHash } from "node:crypto";
import { minVersion } from "semver";
import { fleetSchema, missingIn, withDefaults, type Fleet } from "../../pkg/api/index.ts";
import { clusterFacts } from "../../pkg/capi/index.ts";
import type { Repositories } from "../../pkg/controllers/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import type { ClusterFacts } from "../../pkg/cluster/index.ts";
import { parseManifests, type KubeObject } from "../../pkg/object/index.ts";
import type { ArtifactFiles } from "../../pkg/oci/index.ts";
import { readFiles } from "./artifact-files.ts";
import { textOfFile } from "./file-text.ts";

/** What `render` works on when there is no hub: everything from files. */
export type Offline = {
  readonly fleets: readonly Fleet[];
  readonly clusters: readonly ClusterFacts[];
  /** ConfigMaps and Secrets that the Fleet refers to. */
  readonly inputs: readonly KubeObject[];
};

/** Reads Fleets, Clusters, ConfigMaps and Secrets from files. Throws FileInvalid, ManifestInvalid. */
export async function readOffline(files: readonly string[]): Promise<Offline> {
  const texts = await Promise.all(
    files.map(async (file) => parseManifests(await textOfFile(file), file)),
  );
  const objects = texts.flat();
  const ofKind = (kind: string) => objects.filter((object) => object.kind === kind);
  return {
    fleets: ofKind("Fleet").map(fleetOf),
    clusters: ofKind("Cluster").map(clusterFacts),
    inputs: [...ofKind("ConfigMap").map(folded), ...ofKind("Secret").map(folded)],
  };
}

/** A Fleet as the hub would have it. Throws ManifestInvalid when something is missing. */
function fleetOf(object: KubeObject): Fleet {
  const fleet = withDefaults(fleetSchema, object) as Fleet;
  const [missing] = missingIn(fleetSchema, fleet);
  if (missing === undefined) return fleet;
  throw new CapitanError("ManifestInvalid", `Fleet ${object.metadata.name} has no ${missing}`);
}

/** `stringData` as the API server stores it. */
function folded({ stringData, ...object }: KubeObject): KubeObject {
  if (stringData === undefined) return object;
  const encoded = Object.entries(stringData as Record<string, string>).map(
    ([key, text]) => [key, Buffer.from(text).toString("base64")] as const,
  );
  const data = { ...(object["data"] as object | undefined), ...Object.fromEntries(encoded) };
  return { ...object, data };
}

/** One of the objects read, by kind, namespace and name. */
export function inputNamed({ inputs }: Offline, kind: string) {
  return ({ namespace, name }: { readonly namespace: string; readonly name: string }) =>
    Promise.resolve(
      inputs.find(
        (one) =>
          one.kind === kind &&
          one.metadata.name === name &&
          (one.metadata.namespace ?? namespace) === namespace,
      ),
    );
}

/** Directories in place of registries: `LAYER=DIR` each. Throws FileInvalid, and NotFound for a layer without one. */
export async function directories(
  { spec }: Fleet,
  sources: readonly string[],
): Promise<Repositories> {
  const byUrl = new Map<string, ArtifactFiles>();
  const versions = new Map<string, string>();
  for (const text of sources) {
    const { url, wanted, directory } = sourceOf(spec.layers, text);
    byUrl.set(url, await readFiles(directory));
    if (wanted !== undefined) versions.set(url, minVersion(wanted)?.version ?? wanted);
  }
  return (reference) => {
    const url = `oci://${reference.host}/${reference.repository}`;
    const files = byUrl.get(url);
    if (files === undefined)
      throw new CapitanError("NotFound", `${url} is not asked offline: say --source LAYER=DIR`);
    return {
      resolve: () => Promise.resolve(`sha256:${digestOf(files)}`),
      tags: () => Promise.resolve([versions.get(url) ?? "latest"]),
      pull: () => Promise.resolve(files),
      close: () => Promise.resolve(),
    };
  };
}

/** What `LAYER=DIR` says. Throws NotFound. */
function sourceOf(layers: Fleet["spec"]["layers"], text: string) {
  const cut = text.indexOf("=");
  const layer = layers.find(({ name }) => name === text.slice(0, cut));
  const { oci, flux } = layer ?? {};
  const url = oci?.url ?? flux?.artifact.url;
  if (url === undefined)
    throw new CapitanError("NotFound", `--source ${text}: no layer of that name has an artifact`);
  return { url, wanted: flux?.version ?? oci?.ref?.semver, directory: text.slice(cut + 1) };
}

function digestOf(files: ArtifactFiles): string {
  const hash = createHash("sha256");
  for (const [path, { content }] of files)
    hash.update(`${path}\0${content.length}\0`).update(content);
  return hash.digest("hex");
}
