/** OCI artifacts as data: references, manifests, versions, archives, differences. No I/O. */
export { parseReference, formatReference, isLoopback, type Reference } from "./reference.ts";
export {
  parseDocument,
  describeDocument,
  mediaTypes,
  manifestBytesMax,
  type Descriptor,
  type Document,
  type Index,
  type Manifest,
} from "./manifest.ts";
export type { LayerChoice } from "./selection.ts";
export { pullFiles, type PullRequest } from "./pull.ts";
export { copyArtifact, type Copied } from "./copy.ts";
export type { BlobCache, BlobSource, Found, Signal, Store, Uploaded } from "./store.ts";
export { buildManifest } from "./build.ts";
export { digestOf, checkDigest } from "./digest.ts";
export { selectVersion, versionsIn } from "./version.ts";
export {
  unpack,
  pack,
  safePath,
  entriesMax,
  unpackedBytesMax,
  type ArtifactFiles,
  type ArtifactFile,
} from "./archive.ts";
export { diffFiles, type FileChange } from "./diff.ts";
