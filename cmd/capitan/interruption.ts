/** The first SIGINT or SIGTERM is heard and decides the exit code; the second one ends the process at once. */
export class Interruption {
  readonly #heard = new AbortController();
  readonly #hear = (name: NodeJS.Signals) => {
    process.exitCode = name === "SIGINT" ? 130 : 143;
    this.#heard.abort();
  };

  constructor() {
    process.once("SIGINT", this.#hear).once("SIGTERM", this.#hear);
  }

  get signal(): AbortSignal {
    return this.#heard.signal;
  }

  end(): void {
    process.off("SIGINT", this.#hear).off("SIGTERM", this.#hear);
  }
}
