import timers from "node:timers/promises";
import { conditionOf, durationMs, type Condition } from "../../pkg/api/index.ts";
import { CapitanError, codes, type Code } from "../../pkg/errors/index.ts";
import { Interruption } from "./interruption.ts";
import { showProgress } from "./progress.ts";

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

/** For yargs: whether `--timeout` can be used, or what is wrong with it. */
export const isWaitUsable = ({ timeout }: { readonly timeout: string }): true | string =>
  isDuration(timeout) || `--timeout ${timeout} is no duration such as 30s or 5m`;

/** How far something is that is waited for. */
export type Standing<T> = { readonly done: T } | { readonly waitsFor: string };

/** What is waited for first. */
export const notLookedAt = "the controller has not looked at it yet";

/** The longer somebody waits, the less often the hub is asked. */
const pauseMinMs = 250;
const pauseMaxMs = 2_000;
const pauseMsAfter = (waitedMs: number) =>
  Math.min(pauseMaxMs, Math.max(pauseMinMs, waitedMs / 20));

/**
 * Looks again and again until it is done; on a terminal one line says what is waited for. An
 * interruption ends the waiting and nothing else; who passes `interrupted` has a say in that itself.
 * Throws what a look throws, and HealthTimeout with the last of these reasons.
 */
export async function waitFor<T>(
  what: string,
  timeout: string,
  look: () => Promise<Standing<T>>,
  interrupted?: AbortSignal,
): Promise<T> {
  if (interrupted !== undefined) return lookUntilDone(what, timeout, look, interrupted);
  const interruption = new Interruption();
  const { signal } = interruption;
  const message = `no longer waiting for ${what}; what was asked for goes on`;
  const stopped = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(new Error(message)), { once: true });
  });
  try {
    return await lookUntilDone(what, timeout, () => Promise.race([look(), stopped]), signal);
  } finally {
    interruption.end();
  }
}

async function lookUntilDone<T>(
  what: string,
  timeout: string,
  look: () => Promise<Standing<T>>,
  interrupted: AbortSignal,
): Promise<T> {
  const startMs = performance.now();
  try {
    for (;;) {
      const found = await look();
      if ("done" in found) return found.done;
      const waitedMs = performance.now() - startMs;
      if (waitedMs > durationMs(timeout))
        throw new CapitanError("HealthTimeout", `waited ${timeout} for ${what}: ${found.waitsFor}`);
      showProgress(`… ${found.waitsFor}`);
      const pause = timers.setTimeout(pauseMsAfter(waitedMs), undefined, { signal: interrupted });
      // An interruption is looked at without delay.
      await pause.catch(() => undefined);
    }
  } finally {
    showProgress("");
  }
}

/** Throws what no waiting will change: a suspension, or what is not tried again. */
export function judge(
  name: string,
  conditions: readonly Condition[] | undefined,
): Standing<string> {
  const { status, reason = "", message = "" } = conditionOf(conditions, "Ready") ?? {};
  if (reason === "Suspended") throw new Error(`${name} is suspended: capitan resume fleet`);
  if (status === "True") return { done: message };
  if (conditionOf(conditions, "Stalled")?.status === "True" && Object.hasOwn(codes, reason))
    throw new CapitanError(reason as Code, `${name}: ${message}`);
  return { waitsFor: `${reason}: ${message}` };
}
