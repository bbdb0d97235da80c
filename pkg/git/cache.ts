import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sha256Hex } from "../json/index.ts";

/**
 * Packs on disk, by what was asked for. What is in them is checked again when they are read: every
 * object is named by its hash, from the commit down. A pack is found only by who asks the same
 * repository for the same commit in the same namespace.
 */
export class PackCache {
  readonly #dir: string;
  readonly #failed: (error: unknown) => void;
  #counter = 0;

  constructor(dir: string, failed: (error: unknown) => void) {
    this.#dir = dir;
    this.#failed = failed;
  }

  /** The pack, or undefined when it is not there. */
  async get(key: string): Promise<Buffer | undefined> {
    return readFile(this.#file(key)).catch(() => undefined);
  }

  /** Keeps the pack; readers never see half of it. A disk that is full or not writable is told, not thrown. */
  async put(key: string, pack: Uint8Array): Promise<void> {
    const file = this.#file(key);
    const temporary = `${file}.${process.pid}.${this.#counter++}`;
    try {
      await mkdir(this.#dir, { recursive: true });
      await writeFile(temporary, pack);
      await rename(temporary, file);
    } catch (error) {
      this.#failed(error);
      await rm(temporary, { force: true }).catch(this.#failed);
    }
  }

  #file(key: string): string {
    return join(this.#dir, `git-${sha256Hex(key)}`);
  }
}
