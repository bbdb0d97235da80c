import { CapitanError } from "../errors/index.ts";
import {
  entriesMax,
  safePath,
  unpack,
  unpackedBytesMax,
  type ArtifactFile,
  type ArtifactFiles,
} from "./archive.ts";
import type { Descriptor } from "./manifest.ts";
import { titleOf } from "./selection.ts";

const staticPrefix = "application/vnd.cncf.flux.content.v1";

/** A layer and its bytes, whose digest has been checked. */
export type Layer = { readonly descriptor: Descriptor; readonly bytes: Uint8Array };

/**
 * The files of layers: of each archive what is in it; of each other layer one file, as Flux's static
 * layers and ORAS's files are. A name that two layers have is refused.
 * Throws ArtifactCorrupt, ArtifactTooLarge, ArtifactUnsafe.
 */
export async function readLayers(layers: readonly Layer[], what: string): Promise<ArtifactFiles> {
  const files = new Map<string, ArtifactFile>();
  const folded = new Set<string>();
  let bytes = 0;
  for (const layer of layers) {
    for (const [path, file] of await readLayer(layer, what)) {
      const key = path.normalize("NFC").toLowerCase();
      if (folded.has(key))
        throw new CapitanError(
          "ArtifactUnsafe",
          `${what}: ${JSON.stringify(path)} is in two layers`,
        );
      folded.add(key);
      bytes += file.content.length;
      if (bytes > unpackedBytesMax || folded.size > entriesMax)
        throw new CapitanError(
          "ArtifactTooLarge",
          `${what}: its layers have more than ${unpackedBytesMax} bytes or ${entriesMax} files`,
        );
      files.set(path, file);
    }
  }
  return files;
}

async function readLayer({ descriptor, bytes }: Layer, what: string): Promise<ArtifactFiles> {
  const name = fileNameOf(descriptor, what);
  // As Flux does: the first two bytes decide whether it is an archive.
  if (name === undefined || (bytes[0] === 0x1f && bytes[1] === 0x8b)) return unpack(bytes, what);
  return new Map([[name, { content: Buffer.from(bytes), executable: false }]]);
}

/** The name of the file that a layer is when it is no archive: its title, or `content` with the extension of Flux's media type. */
function fileNameOf(descriptor: Descriptor, what: string): string | undefined {
  const title = titleOf(descriptor);
  if (title !== undefined) {
    const path = safePath(title, what);
    if (path === "") throw new CapitanError("ArtifactUnsafe", `${what}: a layer's title is empty`);
    return path;
  }
  const { mediaType } = descriptor;
  if (mediaType === staticPrefix) return "content";
  const extension = mediaType.startsWith(`${staticPrefix}.`)
    ? mediaType.slice(staticPrefix.length + 1)
    : "";
  return /^[a-z0-9]{1,16}$/i.test(extension) ? `content.${extension}` : undefined;
}
