/** OCI artifacts as data: references, manifests, versions, archives, credentials. No I/O. */
export { parseReference, formatReference, isLoopback, type Reference } from "./reference.ts";
export {
  parseManifest,
  contentLayer,
  buildManifest,
  mediaTypes,
  manifestBytesMax,
  type Manifest,
  type Descriptor,
} from "./manifest.ts";
export { digestOf, checkDigest } from "./digest.ts";
export { selectVersion } from "./version.ts";
export { unpack, pack, type ArtifactFiles, type ArtifactFile } from "./archive.ts";
export { parseChallenge, mayReceiveCredentials, type Challenge } from "./challenge.ts";
export {
  parseDockerConfig,
  credentialsFor,
  type DockerConfig,
  type Login,
} from "./docker-config.ts";
