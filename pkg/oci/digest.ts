import { createHash } from "node:crypto";
import { CapitanError } from "../errors/index.ts";

/** `sha256:<hex>` of bytes. */
export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** Throws ArtifactCorrupt when the bytes are not the ones that the digest promises. */
export function checkDigest(bytes: Uint8Array, digest: string, what: string): void {
  const actual = digestOf(bytes);
  if (actual !== digest)
    throw new CapitanError(
      "ArtifactCorrupt",
      `${what}: expected ${digest}, received ${actual} (${bytes.length} bytes)`,
    );
}
