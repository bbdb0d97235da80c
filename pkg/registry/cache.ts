import { DiskCache } from "../disk/index.ts";
import { digestOf } from "../oci/index.ts";

/** Blobs on disk by their digest. What is in it was checked, and is checked again when read. */
export class ArtifactCache {
  readonly #files: DiskCache;

  constructor(dir: string, failed: (error: unknown) => void) {
    this.#files = new DiskCache(dir, failed);
  }

  /** The bytes, or undefined when they are not there or no longer what they were. */
  async get(digest: string): Promise<Buffer | undefined> {
    const bytes = await this.#files.get(nameOf(digest));
    return bytes !== undefined && digestOf(bytes) === digest ? bytes : undefined;
  }

  /** Keeps the bytes, as far as the disk does. */
  put(digest: string, bytes: Uint8Array): Promise<void> {
    return this.#files.put(nameOf(digest), bytes);
  }
}

const nameOf = (digest: string) => digest.replace(":", "-");
