import { styleText } from "node:util";

/** Progress for people: on stderr, a line for each step; a ticking clock on a terminal only. */
export type Progress = {
  /** Something begins. */
  action(text: string): void;
  /** Something is done. */
  done(text: string): void;
  /** Runs `work`, showing on a terminal how long it has been running. */
  during<T>(text: string, work: () => Promise<T>): Promise<T>;
};

export const progress: Progress = {
  action: (text) => line("►", "cyan", text),
  done: (text) => line("✔", "green", text),
  async during(text, work) {
    const startedMs = Date.now();
    const seconds = () => Math.round((Date.now() - startedMs) / 1000);
    const { isTTY } = process.stderr;
    line("►", "cyan", text);
    const timer = isTTY
      ? setInterval(() => process.stderr.write(`\r\u001b[2K  ${seconds()} s`), 1000)
      : undefined;
    try {
      const result = await work();
      return result;
    } finally {
      clearInterval(timer);
      if (isTTY) process.stderr.write("\r\u001b[2K");
    }
  },
};

/** Progress for tests: none. */
export const silent: Progress = {
  action: () => undefined,
  done: () => undefined,
  during: (_, work) => work(),
};

function line(sign: string, colour: "cyan" | "green", text: string): void {
  const shown = process.stderr.isTTY ? styleText(colour, sign) : sign;
  process.stderr.write(`${shown} ${text}\n`);
}
