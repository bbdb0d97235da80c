import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { digestOf } from "../oci/index.ts";

/** Blobs on disk by their digest. What is in it was checked, and is checked again when read. */
export class ArtifactCache {
  readonly #dir: string;
  readonly #failed: (error: unknown) => void;
  #counter = 0;

  constructor(dir: string, failed: (error: unknown) => void) {
    this.#dir = dir;
    this.#failed = failed;
  }

  /** The bytes, or undefined when they are not there or no longer what they were. */
  async get(digest: string): Promise<Buffer | undefined> {
    const bytes = await readFile(this.#file(digest)).catch(() => undefined);
    return bytes !== undefined && digestOf(bytes) === digest ? bytes : undefined;
  }

  /** Keeps the bytes; readers never see half of them. A disk that is full or not writable is told, not thrown: the cache is only a cache. */
  async put(digest: string, bytes: Uint8Array): Promise<void> {
    const file = this.#file(digest);
    const temporary = `${file}.${process.pid}.${this.#counter++}`;
    try {
      await mkdir(this.#dir, { recursive: true });
      await writeFile(temporary, bytes);
      await rename(temporary, file);
    } catch (error) {
      this.#failed(error);
      await rm(temporary, { force: true }).catch(this.#failed);
    }
  }

  #file(digest: string): string {
    return join(this.#dir, digest.replace(":", "-"));
  }
}
