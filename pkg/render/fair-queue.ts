/** Something that waits, and for whom. */
export type Waiting = { readonly key: string };

/** Keys that are remembered for having been stopped. */
const suspectsMax = 1_000;

/**
 * Who is next. Keys take turns, however much one of them asks for. No key has all workers while there
 * are several. Keys that had to be stopped share one worker until a task of theirs goes well.
 */
export class FairQueue<T extends Waiting> {
  readonly #workers: number;
  readonly #lengthMax: number;
  readonly #waiting = new Map<string, T[]>();
  readonly #running = new Map<string, number>();
  readonly #suspects = new Set<string>();
  #length = 0;

  constructor(workers: number, lengthMax: number) {
    this.#workers = workers;
    this.#lengthMax = lengthMax;
  }

  /** Whether so many more may wait. */
  hasRoom(count: number): boolean {
    return this.#length + count <= this.#lengthMax;
  }

  push(item: T): void {
    const line = this.#waiting.get(item.key) ?? [];
    line.push(item);
    this.#waiting.set(item.key, line);
    this.#length += 1;
  }

  /** Takes the next item that may run now; undefined when none may. */
  next(): T | undefined {
    for (const [key, line] of this.#waiting) {
      if (!this.#mayRun(key)) continue;
      const item = line.shift();
      // The key goes to the end of the round.
      this.#waiting.delete(key);
      if (line.length > 0) this.#waiting.set(key, line);
      if (item === undefined) continue;
      this.#length -= 1;
      this.#running.set(key, this.#runningOf(key) + 1);
      return item;
    }
    return undefined;
  }

  /** Must be told of each item that `next` gave, when it is done. */
  done({ key }: T, wasStopped: boolean): void {
    const running = this.#runningOf(key) - 1;
    if (running > 0) this.#running.set(key, running);
    else this.#running.delete(key);
    this.#suspects.delete(key);
    if (wasStopped) this.#suspects.add(key);
    const [oldest] = this.#suspects;
    if (this.#suspects.size > suspectsMax && oldest !== undefined) this.#suspects.delete(oldest);
  }

  /** Takes out everything that waits. */
  clear(): readonly T[] {
    const all = [...this.#waiting.values()].flat();
    this.#waiting.clear();
    this.#length = 0;
    return all;
  }

  #mayRun(key: string): boolean {
    if (this.#suspects.has(key))
      return ![...this.#suspects].some((other) => this.#isRunning(other));
    return this.#runningOf(key) < Math.max(1, this.#workers - 1);
  }

  #runningOf(key: string): number {
    return this.#running.get(key) ?? 0;
  }

  #isRunning(key: string): boolean {
    return this.#running.has(key);
  }
}
