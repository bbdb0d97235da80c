import type { RequestFacts } from "./rules.ts";

/** How a link is cut after a number of writes. */
export type CutOptions = {
  /** The last write is done, but nobody is told. */
  readonly loseLastReply?: boolean;
  /** Writes that are let through without being counted until the cut. */
  readonly except?: (request: RequestFacts) => boolean;
};

/** What becomes of a request: the reply of a write whose reply is lost is awaited, and withheld. */
export type Admission = "pass" | "counted" | "lose" | "refuse";

/** Counts writes up to the one after which a link is cut. */
export class WriteCut {
  /** Resolves when the link is to be cut: every counted write has been answered, or has failed. */
  readonly due: Promise<void>;
  readonly #options: CutOptions;
  readonly #isDue: () => void;
  #left: number;
  #pending = 0;

  constructor(writes: number, options: CutOptions) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.due = promise;
    this.#isDue = resolve;
    this.#left = writes;
    this.#options = options;
    this.#check();
  }

  /** Asked once for each write that would be forwarded. What is counted or lost is `settled` later. */
  admit(write: RequestFacts): Admission {
    if (this.#options.except?.(write) === true) return "pass";
    if (this.#left === 0) return "refuse";
    this.#left -= 1;
    this.#pending += 1;
    return this.#left === 0 && this.#options.loseLastReply === true ? "lose" : "counted";
  }

  /** A counted write has ended: its client has the reply, or will never have it. */
  settled(): void {
    this.#pending -= 1;
    this.#check();
  }

  #check(): void {
    if (this.#left === 0 && this.#pending === 0) this.#isDue();
  }
}
