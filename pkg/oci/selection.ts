import { CapitanError } from "../errors/index.ts";
import {
  mediaTypes,
  type Descriptor,
  type Document,
  type Index,
  type Manifest,
  type Platform,
} from "./manifest.ts";

/** `os/architecture[/variant]`. */
function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join("/");
}

/**
 * The manifest of an index that is meant: the one of the platform, or the only one. An artifact of
 * manifests has no platform, so several are not guessed about. Throws ArtifactNotFound with the choice.
 */
export function pickManifest(
  { manifests }: Index,
  platform: string | undefined,
  what: string,
): Descriptor {
  const found =
    platform === undefined || manifests.every((m) => m.platform === undefined)
      ? manifests
      : manifests.filter((m) => m.platform !== undefined && matches(m.platform, platform));
  const [only] = found;
  if (only !== undefined && found.length === 1) return only;
  const choice = manifests
    .slice(0, 10)
    .map((m) => (m.platform === undefined ? m.digest : formatPlatform(m.platform)))
    .join(", ");
  const wanted = platform === undefined ? "" : ` and ${found.length} of them for ${platform}`;
  throw new CapitanError(
    "ArtifactNotFound",
    `${what} is an index of ${manifests.length} manifests${wanted}: name one by its digest or platform (${choice})`,
  );
}

/** Whether a platform is the wanted one; without a variant every variant is. */
function matches(platform: Platform, wanted: string): boolean {
  const text = formatPlatform(platform);
  return text === wanted || text.startsWith(`${wanted}/`);
}

/** Which layers of an artifact are wanted: one by its index, all of a media type, or what Flux takes. */
export type LayerChoice = { readonly index: number } | { readonly mediaType: string } | "content";

/**
 * The layers that hold the files: the first of Flux's content type; else all, when each is one file
 * with its name beside it, as ORAS pushes them; else the first, as Flux does. Throws ArtifactCorrupt, ArtifactNotFound.
 */
export function chooseLayers(
  { layers }: Manifest,
  choice: LayerChoice,
  what: string,
): readonly Descriptor[] {
  if (layers.length === 0)
    throw new CapitanError("ArtifactCorrupt", `${what}: the manifest has no layers`);
  const chosen = layersOf(layers, choice);
  if (chosen.length > 0) return chosen;
  const wanted = choice === "content" ? "" : ` ${JSON.stringify(Object.values(choice)[0])}`;
  const types = layers.map(({ mediaType }) => mediaType.slice(0, 100)).join(", ");
  throw new CapitanError("ArtifactNotFound", `${what} has no layer${wanted}, only [${types}]`);
}

function layersOf(layers: readonly Descriptor[], choice: LayerChoice): readonly Descriptor[] {
  if (choice !== "content")
    return "index" in choice
      ? layers.slice(choice.index, choice.index + 1)
      : layers.filter(({ mediaType }) => mediaType === choice.mediaType);
  const flux = layers.find(({ mediaType }) => mediaType === mediaTypes.fluxContent);
  if (flux !== undefined) return [flux];
  return layers.every((layer) => titleOf(layer) !== undefined) ? layers : layers.slice(0, 1);
}

/** The name of the file that a layer is, as ORAS writes it. */
export function titleOf({ annotations }: Descriptor): string | undefined {
  return annotations?.["org.opencontainers.image.title"];
}

/** What a document needs to be whole: further documents, and blobs. Layers that are elsewhere by design are left out. */
export function partsOf(document: Document): {
  readonly documents: readonly Descriptor[];
  readonly blobs: readonly Descriptor[];
} {
  if (document.kind === "index") return { documents: document.manifests, blobs: [] };
  const blobs = [document.config, ...document.layers].filter(
    ({ mediaType }) => !/\.(?:nondistributable|foreign)\./.test(mediaType),
  );
  return { documents: [], blobs };
}
