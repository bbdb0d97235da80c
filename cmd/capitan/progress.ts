import { clean } from "./text.ts";

/** Tells a person at a terminal what is being done; scripts and logs get nothing. */
export function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`► ${clean(text)}\n`);
}

/** One line that is written over, on a terminal only; empty text takes it away. */
export function showProgress(text: string): void {
  if (!process.stderr.isTTY) return;
  const line = clean(text).replaceAll("\n", " ");
  process.stderr.write(`\r\u001b[K${line.slice(0, process.stderr.columns - 1)}`);
}
