type Entry<T> = { readonly value: Promise<T>; weight: number };

/**
 * Results that are made once: who asks at the same time shares them, what failed is not kept, and
 * what was asked for longest ago goes when all weigh more than `max` together.
 */
export class Kept<T> {
  readonly #max: number;
  readonly #weigh: (value: T) => number;
  readonly #entries = new Map<string, Entry<T>>();
  #total = 0;

  constructor(max: number, weigh: (value: T) => number = () => 1) {
    this.#max = max;
    this.#weigh = weigh;
  }

  of(key: string, make: () => Promise<T>): Promise<T> {
    const held = this.#entries.get(key);
    if (held !== undefined) {
      // The youngest is last.
      this.#entries.delete(key);
      this.#entries.set(key, held);
      return held.value;
    }
    const entry: Entry<T> = { value: make(), weight: 0 };
    this.#entries.set(key, entry);
    entry.value.then(
      (value) => this.#settle(key, entry, this.#weigh(value)),
      () => this.#drop(key, entry),
    );
    return entry.value;
  }

  /** What there is already. */
  held(key: string): Promise<T> | undefined {
    return this.#entries.get(key)?.value;
  }

  /** Keeps nothing of what there is. */
  clear(): void {
    this.#entries.clear();
    this.#total = 0;
  }

  #settle(key: string, entry: Entry<T>, weight: number): void {
    if (this.#entries.get(key) !== entry) return;
    entry.weight = weight;
    this.#total += weight;
    for (const [oldest, { value }] of this.#entries) {
      if (this.#total <= this.#max || value === entry.value) return;
      const found = this.#entries.get(oldest);
      if (found !== undefined) this.#drop(oldest, found);
    }
  }

  #drop(key: string, entry: Entry<T>): void {
    if (this.#entries.get(key) !== entry) return;
    this.#entries.delete(key);
    this.#total -= entry.weight;
  }
}
