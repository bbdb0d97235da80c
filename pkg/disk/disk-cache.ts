import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Files in one directory by their name. Readers never see half of one; what they read they check themselves. */
export class DiskCache {
  readonly #dir: string;
  readonly #failed: (error: unknown) => void;
  #counter = 0;

  constructor(dir: string, failed: (error: unknown) => void) {
    this.#dir = dir;
    this.#failed = failed;
  }

  /** The bytes, or undefined when they are not there. */
  async get(name: string): Promise<Buffer | undefined> {
    return readFile(join(this.#dir, name)).catch(() => undefined);
  }

  /** Keeps the bytes. A disk that is full or not writable is told, not thrown: the cache is only a cache. */
  async put(name: string, bytes: Uint8Array): Promise<void> {
    const file = join(this.#dir, name);
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
}
