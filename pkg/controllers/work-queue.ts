import { pauseMs, type Again } from "../pace/index.ts";
import type { Clock } from "./ports.ts";

export type WorkQueueOptions = {
  readonly concurrency: number;
  readonly clock: Clock;
  /** Looks at one key. What it throws counts as a failure of that key and is told to `failed`. */
  readonly reconcile: (key: string, signal: AbortSignal) => Promise<Again>;
  readonly failed: (key: string, error: unknown) => void;
};

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
  readonly #dirty = new Set<string>();
  readonly #timers = new Map<string, { readonly timer: NodeJS.Timeout; readonly atMs: number }>();
  readonly #failures = new Map<string, number>();
  #signal: AbortSignal | undefined;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
  }

  /** Looks at the key as soon as there is a free worker, or after `ms`. The earliest of several delays counts. */
  add(key: string, ms = 0): void {
    if (ms > 0) return this.#delay(key, ms);
    this.#cancel(key);
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
      () => [...this.#timers.keys()].forEach((key) => this.#cancel(key)),
      { once: true },
    );
    this.#pump();
  }

  /** Resolves when nothing runs any more. */
  async drained(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running.values());
  }

  #delay(key: string, ms: number): void {
    const waitMs = Math.min(ms, timerMaxMs);
    const atMs = this.#options.clock.monotonicMs() + waitMs;
    const held = this.#timers.get(key);
    if (held !== undefined && held.atMs <= atMs) return;
    this.#cancel(key);
    if (this.#signal?.aborted === true) return;
    const timer = setTimeout(() => {
      this.#timers.delete(key);
      this.add(key);
    }, waitMs);
    this.#timers.set(key, { timer, atMs });
  }

  #cancel(key: string): void {
    clearTimeout(this.#timers.get(key)?.timer);
    this.#timers.delete(key);
  }

  #pump(): void {
    const signal = this.#signal;
    if (signal === undefined || signal.aborted) return;
    while (this.#running.size < this.#options.concurrency) {
      const key = this.#ready.shift();
      if (key === undefined) return;
      this.#queued.delete(key);
      this.#running.set(key, this.#work(key, signal));
    }
  }

  async #work(key: string, signal: AbortSignal): Promise<void> {
    const again = await this.#attempt(key, signal);
    this.#running.delete(key);
    const ms = this.#delayMs(key, again);
    if (this.#dirty.delete(key)) this.add(key);
    else if (!signal.aborted) this.#delay(key, ms);
    this.#pump();
  }

  async #attempt(key: string, signal: AbortSignal): Promise<Again> {
    try {
      return await this.#options.reconcile(key, signal);
    } catch (error) {
      if (!signal.aborted) this.#options.failed(key, error);
      return failureBackoff;
    }
  }

  #delayMs(key: string, again: Again): number {
    const failures = again.kind === "after" ? 0 : (this.#failures.get(key) ?? 0) + 1;
    if (failures === 0) this.#failures.delete(key);
    else this.#failures.set(key, failures);
    return pauseMs(again, failures, this.#options.clock.random());
  }
}
