/** Waits for a condition, with a deadline. `what` completes the sentence "waited … for". */
export type Wait = {
  readonly deadlineMs: number;
  readonly what: string;
  readonly everyMs?: number;
};

/**
 * Asks until `condition` gives something truthy, and returns it. A condition that throws counts as
 * not yet; its last error is in the message when the deadline passes.
 */
export async function until<T>(
  condition: () => Promise<T> | T,
  { deadlineMs, what, everyMs = 25 }: Wait,
): Promise<NonNullable<T>> {
  const endMs = performance.now() + deadlineMs;
  let last = "";
  for (;;) {
    try {
      const result = await condition();
      if (result !== undefined && result !== null && result !== false) return result;
      last = "";
    } catch (error) {
      last = `: ${error instanceof Error ? error.message : String(error)}`;
    }
    if (performance.now() > endMs) throw new Error(`waited ${deadlineMs} ms for ${what}${last}`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
