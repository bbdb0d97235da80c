import { request } from "undici";
import { messageOf } from "../errors/index.ts";
import type { FluxEvent } from "./flux-event.ts";

/** What can become of an event. */
export const outcomes = ["sent", "refused", "failed", "dropped"] as const;

export type Outcome = (typeof outcomes)[number];

export type NotifierOptions = {
  /** http or https, without credentials. */
  readonly address: string;
  /** Told what became of each event. */
  readonly done: (outcome: Outcome) => void;
  /** Told why an event could not be delivered. */
  readonly failed: (message: string) => void;
  readonly monotonicMs: () => number;
  /** How long an event may be tried. Default 60 s. */
  readonly deadlineMs?: number;
  /** How many events may wait. Default 1,000. */
  readonly waitingMax?: number;
};

const deadlineDefaultMs = 60_000;
const waitingDefaultMax = 1_000;
const postTimeoutMs = 10_000;
const pauseMinMs = 200;
const pauseMaxMs = 10_000;

type Waiting = { readonly body: string; readonly untilMs: number };

/**
 * Sends events one after the other, in order. `send` returns at once. What cannot be delivered by its
 * deadline is given up; when too many wait, the oldest goes, since the newest says how things are.
 */
export class Notifier {
  readonly #options: NotifierOptions;
  readonly #waiting: Waiting[] = [];
  #working: Promise<void> | undefined;

  constructor(options: NotifierOptions) {
    this.#options = options;
  }

  /** Takes an event to send it soon. Never throws. */
  send(event: FluxEvent): void {
    const {
      monotonicMs,
      deadlineMs = deadlineDefaultMs,
      waitingMax = waitingDefaultMax,
    } = this.#options;
    if (this.#waiting.length >= waitingMax) {
      this.#waiting.shift();
      this.#options.done("dropped");
    }
    this.#waiting.push({ body: JSON.stringify(event), untilMs: monotonicMs() + deadlineMs });
    this.#working ??= this.#work();
  }

  /** Resolves when nothing waits, or after this time. */
  async drained(ms: number): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    await Promise.race([this.#working, late]);
    clearTimeout(timer);
  }

  async #work(): Promise<void> {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift())
      this.#options.done(await this.#deliver(next));
    this.#working = undefined;
  }

  async #deliver({ body, untilMs }: Waiting): Promise<Outcome> {
    const { monotonicMs, failed } = this.#options;
    for (let tries = 1; ; tries++) {
      const problem = await this.#post(body, untilMs - monotonicMs());
      if (typeof problem !== "string") return problem.outcome;
      const waitMs = Math.min(pauseMinMs * 2 ** (tries - 1), pauseMaxMs);
      if (monotonicMs() + waitMs >= untilMs) {
        failed(`an event was given up after ${tries} tries: ${problem}`);
        return "failed";
      }
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }

  /** One try: its outcome, or what went wrong when another try may help. The address is never repeated: it may hold a token. */
  async #post(body: string, leftMs: number): Promise<string | { readonly outcome: Outcome }> {
    if (leftMs <= 0) return "it waited too long";
    try {
      const reply = await request(this.#options.address, {
        method: "POST",
        headers: { "content-type": "application/json", "user-agent": "capitan-controller" },
        body,
        signal: AbortSignal.timeout(Math.min(postTimeoutMs, Math.ceil(leftMs))),
      });
      await reply.body.dump();
      if (reply.statusCode < 300) return { outcome: "sent" };
      const mayHelp = reply.statusCode >= 500 || reply.statusCode === 408;
      // 429 says that the same was told within the last minutes: no reason to tell it again.
      return mayHelp ? `HTTP ${reply.statusCode}` : { outcome: "refused" };
    } catch (error) {
      return messageOf(error);
    }
  }
}
