import { durationMs } from "../../pkg/api/index.ts";
import { CapitanError } from "../../pkg/errors/index.ts";
import { clean } from "./text.ts";

/** Options of commands that may wait for what they asked for. */
export const waitOptions = {
  wait: { type: "boolean", default: true, describe: "Wait until it is Ready" },
  timeout: { type: "string", default: "5m", describe: "How long to wait, as a duration" },
} as const;

export type WaitArguments = { readonly wait: boolean; readonly timeout: string };

const durationPattern = /^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$/;

/** Whether the text is a duration as Kubernetes writes them, and longer than nothing. */
export function isDuration(text: string): boolean {
  return durationPattern.test(text) && durationMs(text) > 0;
}

type Look<T> = { readonly done: T } | { readonly waitsFor: string };

const everyMs = 250;

/**
 * Looks again and again until it is done; on a terminal one line says what is waited for. Throws
 * what a look throws, and HealthTimeout with the last of these reasons.
 */
export async function waitFor<T>(
  what: string,
  timeout: string,
  look: () => Promise<Look<T>>,
): Promise<T> {
  const deadlineMs = performance.now() + durationMs(timeout);
  try {
    for (;;) {
      const found = await look();
      if ("done" in found) return found.done;
      if (performance.now() > deadlineMs)
        throw new CapitanError("HealthTimeout", `waited ${timeout} for ${what}: ${found.waitsFor}`);
      showProgress(`… ${found.waitsFor}`);
      await new Promise((resolve) => setTimeout(resolve, everyMs));
    }
  } finally {
    showProgress("");
  }
}

/** One line that is written over, on a terminal only. */
function showProgress(text: string): void {
  if (!process.stderr.isTTY) return;
  const line = clean(text).replaceAll("\n", " ");
  process.stderr.write(`\r\u001b[K${line.slice(0, process.stderr.columns - 1)}`);
}
