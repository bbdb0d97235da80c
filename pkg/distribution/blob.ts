import { CapitanError } from "../errors/index.ts";
import type { BlobSource } from "../oci/index.ts";

/** The bytes of a blob in pieces of one size, the last one smaller. Throws ArtifactCorrupt when they are more than promised. */
export async function* cutBlob(blob: BlobSource, bytes: number): AsyncIterable<Buffer> {
  let held: Uint8Array[] = [];
  let length = 0;
  let total = 0;
  for await (const chunk of blob.read()) {
    total += chunk.length;
    if (total > blob.size) throw corrupt(blob, `more than ${blob.size} bytes`);
    held.push(chunk);
    length += chunk.length;
    if (length < bytes) continue;
    const all = Buffer.concat(held);
    let start = 0;
    for (; start + bytes <= all.length; start += bytes) yield all.subarray(start, start + bytes);
    held = [all.subarray(start)];
    length = all.length - start;
  }
  if (length > 0) yield Buffer.concat(held);
}

/** Throws ArtifactCorrupt when what was read of a blob is not what it is said to be. */
export function checkBlob(blob: BlobSource, hex: string, bytes: number): void {
  if (bytes !== blob.size) throw corrupt(blob, `${bytes} bytes, ${blob.size} were promised`);
  if (`sha256:${hex}` !== blob.digest) throw corrupt(blob, `received sha256:${hex}`);
}

const corrupt = ({ digest }: BlobSource, message: string) =>
  new CapitanError("ArtifactCorrupt", `blob ${digest}: ${message}`);
