import { CapitanError, messageOf } from "../errors/index.ts";
import { asList, asMap, asNumber, asString, parseJson, type JsonMap } from "../json/index.ts";
import { digestOf } from "./digest.ts";

/** Media types of Flux's artifacts (fluxcd/pkg/oci) and of OCI image-spec v1.1. */
export const mediaTypes = {
  manifest: "application/vnd.oci.image.manifest.v1+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
  index: "application/vnd.oci.image.index.v1+json",
  dockerIndex: "application/vnd.docker.distribution.manifest.list.v2+json",
  fluxConfig: "application/vnd.cncf.flux.config.v1+json",
  fluxContent: "application/vnd.cncf.flux.content.v1.tar+gzip",
} as const;

/** OCI distribution-spec: registries should accept manifests of at least 4 MiB; larger ones are refused. */
export const manifestBytesMax = 4 * 1024 * 1024;
const layersMax = 64;

export type Descriptor = {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
};

export type Manifest = {
  readonly layers: readonly Descriptor[];
  readonly annotations: Readonly<Record<string, string>>;
};

/** Reads an image manifest. The config blob is never looked at: it differs between Flux versions. Throws ArtifactCorrupt. */
export function parseManifest(bytes: Uint8Array, what: string): Manifest {
  const manifest = parse(bytes, what);
  const mediaType = asString(manifest["mediaType"]);
  if (
    mediaType === mediaTypes.index ||
    mediaType === mediaTypes.dockerIndex ||
    manifest["manifests"] !== undefined
  ) {
    throw corrupt(what, "is an image index, not an artifact");
  }
  const layers = asList(manifest["layers"]);
  if (manifest["schemaVersion"] !== 2 || layers.length === 0)
    throw corrupt(what, "is not an OCI image manifest with layers");
  if (layers.length > layersMax)
    throw new CapitanError("ArtifactTooLarge", `${what}: more than ${layersMax} layers`);
  const annotations = Object.entries(asMap(manifest["annotations"])).filter(
    (e): e is [string, string] => typeof e[1] === "string",
  );
  return {
    layers: layers.map((layer) => descriptorOf(asMap(layer), what)),
    annotations: Object.fromEntries(annotations),
  };
}

function parse(bytes: Uint8Array, what: string): JsonMap {
  try {
    return asMap(parseJson(Buffer.from(bytes).toString("utf8")));
  } catch (error) {
    throw corrupt(what, `is not JSON (${messageOf(error).slice(0, 100)})`);
  }
}

function descriptorOf(layer: JsonMap, what: string): Descriptor {
  const mediaType = asString(layer["mediaType"]) ?? "";
  const digest = asString(layer["digest"]) ?? "";
  const size = asNumber(layer["size"]) ?? -1;
  if (!/^sha256:[a-f0-9]{64}$/.test(digest) || !Number.isSafeInteger(size) || size < 0)
    throw corrupt(what, "has a layer without a usable digest and size");
  return { mediaType, digest, size };
}

const corrupt = (what: string, message: string) =>
  new CapitanError("ArtifactCorrupt", `${what}: the manifest ${message}`);

/** The layer that holds the files: the first of Flux's content type, else the first. As Flux does. */
export function contentLayer({ layers }: Manifest): Descriptor | undefined {
  return layers.find((layer) => layer.mediaType === mediaTypes.fluxContent) ?? layers[0];
}

/** The config blob that Flux 2.9 pushes: constant, since it means nothing. */
const fluxConfig = Buffer.from(
  '{"architecture":"","created":"0001-01-01T00:00:00Z","os":"","rootfs":{"type":"layers","diff_ids":null},"config":{}}',
);

/** The manifest of an artifact with one content layer, and its config blob, as `flux push artifact` writes them. */
export function buildManifest(
  layer: Uint8Array,
  annotations: Readonly<Record<string, string>>,
): { readonly manifest: Buffer; readonly config: Buffer } {
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: {
      mediaType: mediaTypes.fluxConfig,
      size: fluxConfig.length,
      digest: digestOf(fluxConfig),
    },
    layers: [{ mediaType: mediaTypes.fluxContent, size: layer.length, digest: digestOf(layer) }],
    annotations,
  };
  return { manifest: Buffer.from(JSON.stringify(manifest)), config: fluxConfig };
}
