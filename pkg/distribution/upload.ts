import { CapitanError } from "../errors/index.ts";

/** Blobs up to this size go in one request; larger ones in pieces of it. */
const chunkBytes = 8 * 1024 * 1024;
const chunkBytesMax = 64 * 1024 * 1024;

/** How large the pieces of an upload are, by the registry's `OCI-Chunk-Min-Length`. Throws RegistryUnreachable when it wants more than fits. */
export function chunkBytesOf(minLength: string | undefined, host: string): number {
  const wanted = /^\d+$/.test(minLength ?? "") ? Number(minLength) : 0;
  if (wanted > chunkBytesMax)
    throw new CapitanError(
      "RegistryUnreachable",
      `${host} wants pieces of ${wanted} bytes, more than ${chunkBytesMax}`,
    );
  return Math.max(chunkBytes, wanted);
}

/** `Content-Range` of a piece: first and last byte, both included (distribution-spec "Pushing a blob in chunks"). */
export function contentRange(start: number, bytes: number): string {
  return `${start}-${start + bytes - 1}`;
}

/**
 * How many bytes the registry says it has, from `Range: 0-<last>`: `unsaid` when it says nothing; one
 * that claims more than the `sent` is not believed. `0-0` is what registries say of an empty upload.
 */
export function receivedBytes(range: string | undefined, unsaid: number, sent: number): number {
  const last = /^(?:bytes=)?0-(\d+)$/.exec(range ?? "")?.[1];
  if (last === undefined) return unsaid;
  return last === "0" ? 0 : Math.min(Number(last) + 1, sent);
}

/** The path that ends an upload: its location with the digest. */
export function commitPath(location: string, digest: string): string {
  return `${location}${location.includes("?") ? "&" : "?"}digest=${encodeURIComponent(digest)}`;
}
