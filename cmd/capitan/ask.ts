import { createInterface, type Interface } from "node:readline";
import { Writable } from "node:stream";
import { CapitanError } from "../../pkg/errors/index.ts";
import { clean } from "./text.ts";

/** Whether a person is there to be asked. */
export const isSomebodyThere = () => process.stdin.isTTY && process.stderr.isTTY;

/** A conversation with a person at a terminal; what was typed ahead is not lost between questions. */
export class Conversation {
  readonly #terminal: Interface;
  readonly #lines: string[] = [];
  #isMuted = false;
  #isOver = false;
  #wake = () => {};

  constructor() {
    const output = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        if (!this.#isMuted) process.stderr.write(chunk);
        done();
      },
    });
    this.#terminal = createInterface({ input: process.stdin, output, terminal: true });
    this.#terminal.on("line", (line) => {
      this.#lines.push(line);
      this.#wake();
    });
    this.#terminal.once("close", () => {
      this.#isOver = true;
      this.#wake();
    });
  }

  /** The next line that is typed; without echo when it is a secret. Throws ParameterInvalid at its end. */
  async ask(question: string, { isSecret = false } = {}): Promise<string> {
    process.stderr.write(clean(question));
    this.#isMuted = isSecret;
    while (this.#lines.length === 0 && !this.#isOver)
      await new Promise<void>((resolve) => (this.#wake = resolve));
    if (isSecret) process.stderr.write("\n");
    this.#isMuted = false;
    const line = this.#lines.shift();
    if (line !== undefined) return line;
    process.stderr.write("\n");
    throw new CapitanError("ParameterInvalid", "no answer: nothing was changed");
  }

  close(): void {
    this.#terminal.close();
  }
}

/** Asks a person for a yes. Where there is none, the answer is no, and `otherwise` says what to say instead. */
export async function confirmed(question: string, otherwise: string): Promise<boolean> {
  if (!isSomebodyThere()) {
    process.stderr.write(`  → nobody to ask here: ${otherwise}\n`);
    return false;
  }
  const conversation = new Conversation();
  try {
    return /^y(es)?$/i.test((await conversation.ask(`${question} [y/N] `)).trim());
  } finally {
    conversation.close();
  }
}
