const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;

/** Milliseconds of a Kubernetes duration (`1h30m`). The CRD schema admits no other text; such a one is 0. */
export function durationMs(text: string): number {
  const parts = text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g);
  return [...parts].reduce(
    (sum, [, n = "0", unit = "ms"]) => sum + Number(n) * unitMs[unit as keyof typeof unitMs],
    0,
  );
}
