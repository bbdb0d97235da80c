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
/** Docker's own images have 127 layers at most. */
const layersMax = 128;
const manifestsMax = 1000;

type Annotations = Readonly<Record<string, string>>;

/** What one document of a registry says about another. */
export type Descriptor = {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Annotations;
  readonly platform?: Platform;
};

export type Platform = {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
};

/** An image manifest: an artifact, or an image. */
export type Manifest = {
  readonly kind: "manifest";
  readonly mediaType: string;
  /** What it says it is, or else its config's media type (distribution-spec "Listing Referrers"). */
  readonly artifactType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly annotations: Annotations;
  readonly subject?: Descriptor;
};

/** An image index: a list of manifests and further indexes. */
export type Index = {
  readonly kind: "index";
  readonly mediaType: string;
  readonly artifactType: string;
  readonly manifests: readonly Descriptor[];
  readonly annotations: Annotations;
  readonly subject?: Descriptor;
};

export type Document = Manifest | Index;

/**
 * Reads an image manifest or an image index. The config blob is never looked at: it differs between
 * Flux versions. Throws ArtifactCorrupt, ArtifactTooLarge.
 */
export function parseDocument(bytes: Uint8Array, what: string): Document {
  const map = parse(bytes, what);
  if (map["schemaVersion"] !== 2) throw corrupt(what, "is not an OCI manifest or index");
  const mediaType = asString(map["mediaType"]);
  const isIndex = mediaType === mediaTypes.index || mediaType === mediaTypes.dockerIndex;
  if (!isIndex && map["manifests"] === undefined) return manifestOf(map, what);
  if (map["layers"] !== undefined) throw corrupt(what, "is both a manifest and an index");
  return {
    kind: "index",
    mediaType: mediaType ?? mediaTypes.index,
    artifactType: asString(map["artifactType"]) ?? "",
    manifests: descriptorsOf(map["manifests"], manifestsMax, what),
    ...commonOf(map, what),
  };
}

function manifestOf(map: JsonMap, what: string): Manifest {
  const config = descriptorOf(map["config"], what);
  return {
    kind: "manifest",
    mediaType: asString(map["mediaType"]) ?? mediaTypes.manifest,
    artifactType: asString(map["artifactType"]) ?? config.mediaType,
    config,
    layers: descriptorsOf(map["layers"], layersMax, what),
    ...commonOf(map, what),
  };
}

function commonOf(map: JsonMap, what: string): Pick<Manifest, "annotations" | "subject"> {
  const annotations = annotationsOf(map["annotations"]);
  const { subject } = map;
  return subject === undefined
    ? { annotations }
    : { annotations, subject: descriptorOf(subject, what) };
}

function parse(bytes: Uint8Array, what: string): JsonMap {
  try {
    return asMap(parseJson(Buffer.from(bytes).toString("utf8")));
  } catch (error) {
    throw corrupt(what, `is not JSON (${messageOf(error).slice(0, 100)})`);
  }
}

function descriptorsOf(value: unknown, max: number, what: string): readonly Descriptor[] {
  const list = asList(value);
  if (list.length > max)
    throw new CapitanError("ArtifactTooLarge", `${what}: more than ${max} layers or manifests`);
  return list.map((item) => descriptorOf(item, what));
}

function descriptorOf(value: unknown, what: string): Descriptor {
  const map = asMap(value);
  const digest = asString(map["digest"]) ?? "";
  const size = asNumber(map["size"]) ?? -1;
  if (!/^sha256:[a-f0-9]{64}$/.test(digest) || !Number.isSafeInteger(size) || size < 0)
    throw corrupt(what, "has an entry without a usable digest and size");
  const artifactType = asString(map["artifactType"]);
  const platform = platformOf(asMap(map["platform"]));
  return {
    mediaType: asString(map["mediaType"]) ?? "",
    digest,
    size,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(map["annotations"] === undefined ? {} : { annotations: annotationsOf(map["annotations"]) }),
    ...(platform === undefined ? {} : { platform }),
  };
}

function platformOf(map: JsonMap): Platform | undefined {
  const [os, architecture] = [asString(map["os"]), asString(map["architecture"])];
  if (os === undefined || architecture === undefined) return undefined;
  const variant = asString(map["variant"]);
  return variant === undefined ? { os, architecture } : { os, architecture, variant };
}

function annotationsOf(value: unknown): Annotations {
  const texts = Object.entries(asMap(value)).filter(
    (entry): entry is [string, string] => typeof entry[1] === "string",
  );
  return Object.fromEntries(texts);
}

const corrupt = (what: string, message: string) =>
  new CapitanError("ArtifactCorrupt", `${what}: the manifest ${message}`);

/** The descriptor of a manifest as the list of referrers holds it. */
export function describeDocument(bytes: Uint8Array, document: Document): Descriptor {
  const { mediaType, artifactType, annotations } = document;
  return {
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
    ...(artifactType === "" ? {} : { artifactType }),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  };
}
