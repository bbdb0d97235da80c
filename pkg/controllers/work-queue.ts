import { pauseMs, untilEvent, type Again } from "../pace/index.ts";
import type { Clock } from "./ports.ts";

export type WorkQueueOptions = {
  readonly concurrency: number;
  readonly clock: Clock;
  /**
   * Looks at one key; `light` when every reason to do so was a light one. What it throws counts as a
   * failure of that key and is told to `failed`.
   */
  readonly reconcile: (key: string, signal: AbortSignal, light: boolean) => Promise<Again>;
  readonly failed: (key: string, error: unknown) => void;
};

export type AddOptions = {
  /** Not before this time. Default 0. */
  readonly afterMs?: number;
  /** Only something small has happened; another reason makes it a whole look. */
  readonly light?: boolean;
};

/** A look that failed after this time is a slow one. */
const slowMs = 2_000;

/** How the last look at a key went; `new` when there was none that did not fail. */
type Pace = "new" | "slow" | "well";

/**
 * The share of workers that keys of some paces may hold together, so that dead clusters starve
 * neither the others nor those that have just come.
 */
const shares: readonly { readonly paces: readonly Pace[]; readonly share: number }[] = [
  { paces: ["slow"], share: 0.5 },
  { paces: ["slow", "new"], share: 0.75 },
];

/** A longer timer fires at once: Node counts in 32 bits. */
const timerMaxMs = 2 ** 31 - 1;

const failureBackoff: Again = { kind: "backoff", baseMs: 500, maxMs: 60_000, flatTries: 0 };

/**
 * Keys to look at: each at most once at a time, again when it was added meanwhile, at most
 * `concurrency` at once. One key's delay never holds another.
 */
export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #ready: string[] = [];
  readonly #queued = new Set<string>();
  readonly #running = new Map<string, Promise<void>>();
  readonly #startedMs = new Map<string, number>();
  readonly #dirty = new Set<string>();
  readonly #timers = new Map<string, { readonly timer: NodeJS.Timeout; readonly atMs: number }>();
  /** Keys with a reason that is not a light one. */
  readonly #whole = new Set<string>();
  readonly #paces = new Map<string, Pace>();
  readonly #failures = new Map<string, number>();
  #signal: AbortSignal | undefined;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
  }

  /** Looks at the key as soon as there is a free worker, or later. The earliest of several delays counts. */
  add(key: string, { afterMs = 0, light = false }: AddOptions = {}): void {
    if (afterMs > 0) this.#delay(key, afterMs, light);
    else this.#enqueue(key, light);
  }

  #enqueue(key: string, light: boolean): void {
    this.#cancel(timerOf(key, true));
    if (!light) {
      this.#cancel(timerOf(key, false));
      this.#whole.add(key);
    }
    if (this.#running.has(key)) this.#dirty.add(key);
    else if (!this.#queued.has(key)) {
      this.#queued.add(key);
      this.#ready.push(key);
      this.#pump();
    }
  }

  /** Starts; added keys wait until then. */
  start(signal: AbortSignal): void {
    this.#signal = signal;
    signal.addEventListener(
      "abort",
      () => [...this.#timers.keys()].forEach((timer) => this.#cancel(timer)),
      { once: true },
    );
    this.#pump();
  }

  /** How many keys are due, how many are looked at, and for how long the oldest of these. */
  load(): {
    readonly waiting: number;
    readonly running: number;
    readonly longestRunningMs: number;
  } {
    const now = this.#options.clock.monotonicMs();
    const ages = [...this.#startedMs.values()].map((startedMs) => now - startedMs);
    const { length: waiting } = this.#ready;
    return { waiting, running: this.#running.size, longestRunningMs: Math.max(0, ...ages) };
  }

  /** Resolves when nothing runs any more. */
  async drained(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running.values());
  }

  #delay(key: string, ms: number, light: boolean): void {
    const id = timerOf(key, light);
    const waitMs = Math.min(ms, timerMaxMs);
    const atMs = this.#options.clock.monotonicMs() + waitMs;
    const held = this.#timers.get(id);
    if (held !== undefined && held.atMs <= atMs) return;
    this.#cancel(id);
    if (this.#signal?.aborted === true) return;
    const timer = setTimeout(() => {
      this.#timers.delete(id);
      this.#enqueue(key, light);
    }, waitMs);
    this.#timers.set(id, { timer, atMs });
  }

  #cancel(id: string): void {
    clearTimeout(this.#timers.get(id)?.timer);
    this.#timers.delete(id);
  }

  #pump(): void {
    const signal = this.#signal;
    if (signal === undefined || signal.aborted) return;
    while (this.#running.size < this.#options.concurrency) {
      const key = this.#next();
      if (key === undefined) return;
      this.#queued.delete(key);
      this.#running.set(key, this.#work(key, signal));
    }
  }

  /** The first key that may run now. */
  #next(): string | undefined {
    const full = new Set(shares.filter((each) => this.#isFull(each)).flatMap(({ paces }) => paces));
    const index = this.#ready.findIndex((key) => !full.has(this.#paceOf(key)));
    return index < 0 ? undefined : this.#ready.splice(index, 1)[0];
  }

  #isFull({ paces, share }: (typeof shares)[number]): boolean {
    const held = [...this.#running.keys()].filter((key) => paces.includes(this.#paceOf(key)));
    return held.length >= Math.ceil(this.#options.concurrency * share);
  }

  #paceOf(key: string): Pace {
    return this.#paces.get(key) ?? "new";
  }

  async #work(key: string, signal: AbortSignal): Promise<void> {
    const light = !this.#whole.delete(key);
    this.#startedMs.set(key, this.#options.clock.monotonicMs());
    const again = await this.#attempt(key, signal, light);
    this.#startedMs.delete(key);
    this.#running.delete(key);
    const ms = this.#delayMs(key, again, light);
    if (this.#dirty.delete(key)) this.#enqueue(key, true);
    if (!signal.aborted) this.#later(key, again, ms);
    this.#pump();
  }

  async #attempt(key: string, signal: AbortSignal, light: boolean): Promise<Again> {
    const startedMs = this.#options.clock.monotonicMs();
    try {
      const again = await this.#options.reconcile(key, signal, light);
      this.#notePace(key, again, this.#options.clock.monotonicMs() - startedMs);
      return again;
    } catch (error) {
      if (!signal.aborted) this.#options.failed(key, error);
      return failureBackoff;
    }
  }

  /** What went well once stays so until a look fails slowly: to be refused at once holds nobody. */
  #notePace(key: string, again: Again, tookMs: number): void {
    if (again === untilEvent) this.#paces.delete(key);
    else if (again.kind === "after") this.#paces.set(key, "well");
    else if (tookMs >= slowMs) this.#paces.set(key, "slow");
    else if (this.#paces.get(key) === "slow") this.#paces.delete(key);
  }

  /** When nothing else happens, the key is looked at again: as a whole after a failure or a long time. */
  #later(key: string, again: Again, ms: number): void {
    const light = again.kind === "after" && again.light === true;
    this.add(key, { afterMs: Math.max(1, ms), light });
  }

  /** Light looks do not count: they try nothing again. */
  #delayMs(key: string, again: Again, light: boolean): number {
    const counted = light ? 0 : 1;
    const failures = again.kind === "after" ? 0 : (this.#failures.get(key) ?? 0) + counted;
    if (failures === 0) this.#failures.delete(key);
    else this.#failures.set(key, failures);
    return pauseMs(again, failures, this.#options.clock.random());
  }
}

/** A light reason must not put off a whole look that is due. */
const timerOf = (key: string, light: boolean) => `${light ? "light" : "whole"} ${key}`;
