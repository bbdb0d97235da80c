/** Remembers what was last seen under a key, so that events that say nothing new cause no work. */
export class Changes {
  readonly #seen = new Map<string, string>();

  /** Whether the facts differ from those seen last; they are remembered. */
  isNew(key: string, facts: unknown): boolean {
    const text = JSON.stringify(facts);
    if (this.#seen.get(key) === text) return false;
    this.#seen.set(key, text);
    return true;
  }

  /** Drops the key of an object that has gone. */
  forget(key: string): void {
    this.#seen.delete(key);
  }
}
