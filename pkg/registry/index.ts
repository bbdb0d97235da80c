/** Talking to OCI registries: resolve, pull, push, tag, list, discover; and the cache of what was pulled. */
export { RegistryClient, type RegistryAccess, type PushedArtifact } from "./client.ts";
export { ArtifactCache } from "./cache.ts";
