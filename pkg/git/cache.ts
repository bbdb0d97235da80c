import { DiskCache } from "../disk/index.ts";
import { sha256Hex } from "../json/index.ts";

/**
 * Packs on disk, by what was asked for. What is in them is checked again when they are read: every
 * object is named by its hash, from the commit down. A pack is found only by who asks the same
 * repository for the same commit in the same namespace.
 */
export class PackCache {
  readonly #files: DiskCache;

  constructor(dir: string, failed: (error: unknown) => void) {
    this.#files = new DiskCache(dir, failed);
  }

  /** The pack, or undefined when it is not there. */
  get(key: string): Promise<Buffer | undefined> {
    return this.#files.get(nameOf(key));
  }

  /** Keeps the pack, as far as the disk does. */
  put(key: string, pack: Uint8Array): Promise<void> {
    return this.#files.put(nameOf(key), pack);
  }
}

const nameOf = (key: string) => `git-${sha256Hex(key)}`;
