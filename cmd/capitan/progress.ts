import { clean } from "./text.ts";

/** Tells a person at a terminal what is being done; scripts and logs get nothing. */
export function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`► ${clean(text)}\n`);
}
