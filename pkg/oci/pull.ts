import { CapitanError } from "../errors/index.ts";
import type { ArtifactFiles } from "./archive.ts";
import { checkDigest } from "./digest.ts";
import { readLayers } from "./layers.ts";
import { parseDocument, type Manifest } from "./manifest.ts";
import { chooseLayers, pickManifest, type LayerChoice } from "./selection.ts";
import type { BlobCache, Signal, Store } from "./store.ts";

/** The compressed layers of an artifact are read into memory; more than this is refused. */
const layerBytesMax = 32 * 1024 * 1024;
/** An index may list indexes, but not for ever. */
const indexDepthMax = 4;

/** What is pulled: by default what Flux would take. */
export type PullRequest = {
  readonly digest: string;
  /** `os/architecture[/variant]` of an index's manifest. */
  readonly platform?: string | undefined;
  readonly layers?: LayerChoice | undefined;
  readonly signal?: Signal;
};

type Pull = {
  readonly store: Pick<Store, "name" | "find" | "blob">;
  readonly cache: BlobCache;
  readonly request: PullRequest;
  /** All that was read for this artifact, checked, the root first. */
  readonly read: Map<string, Buffer>;
};

/**
 * The files of the artifact with this digest: from the cache, or from the store, checked against the
 * digests before anything is unpacked, and cached after that. Of an index, its only manifest or the
 * platform's. Throws the Artifact* codes.
 */
export async function pullFiles(
  store: Pull["store"],
  cache: BlobCache,
  request: PullRequest,
): Promise<ArtifactFiles> {
  const what = `oci://${store.name}@${request.digest}`;
  const pull: Pull = { store, cache, request, read: new Map() };
  const manifest = await manifestOf(request.digest, 0, pull);
  const chosen = chooseLayers(manifest, request.layers ?? "content", what);
  const bytes = chosen.reduce((sum, layer) => sum + layer.size, 0);
  if (bytes > layerBytesMax)
    throw new CapitanError(
      "ArtifactTooLarge",
      `${what}: the layer has ${bytes} bytes, more than ${layerBytesMax}`,
    );
  const layers = [];
  for (const descriptor of chosen) {
    const { digest } = descriptor;
    const blob = (await cache.get(digest)) ?? (await store.blob(descriptor, request.signal));
    checkDigest(blob, digest, what);
    pull.read.set(digest, blob);
    layers.push({ descriptor, bytes: blob });
  }
  const files = await readLayers(layers, what);
  // The root last: while it is missing everything is read again.
  for (const [digest, blob] of [...pull.read].reverse()) await cache.put(digest, blob);
  return files;
}

/** The manifest with a digest; of an index, the one that is meant. */
async function manifestOf(digest: string, depth: number, pull: Pull): Promise<Manifest> {
  const { store, cache, request, read } = pull;
  const what = `oci://${store.name}@${digest}`;
  if (depth > indexDepthMax)
    throw new CapitanError(
      "ArtifactTooLarge",
      `${what}: more than ${indexDepthMax} nested indexes`,
    );
  const bytes = (await cache.get(digest)) ?? (await store.find(digest, request.signal)).bytes;
  checkDigest(bytes, digest, what);
  read.set(digest, bytes);
  const document = parseDocument(bytes, what);
  if (document.kind === "manifest") return document;
  return manifestOf(pickManifest(document, request.platform, what).digest, depth + 1, pull);
}
