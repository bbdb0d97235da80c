/** A wait that is longer is not taken: the caller is told instead. */
const waitMaxMs = 10_000;
const waitFirstMs = 200;
const triesMax = 4;
const transient = new Set([429, 502, 503, 504]);

/** A reply that may be tried again. */
export type Refusal = {
  readonly status: number;
  /** `Retry-After`: seconds, or an HTTP date. */
  readonly retryAfter: string | undefined;
  /** 1 for the first reply. */
  readonly attempt: number;
};

/**
 * How long to wait before the same request is sent again, in milliseconds; undefined when it is not
 * to be sent again. `random` is from 0 to 1, so that many clients do not come back at once.
 */
export function retryDelayMs(refusal: Refusal, nowMs: number, random: number): number | undefined {
  const { status, retryAfter, attempt } = refusal;
  if (!transient.has(status) || attempt >= triesMax) return undefined;
  const asked = askedMs(retryAfter, nowMs);
  if (asked !== undefined) return asked <= waitMaxMs ? asked : undefined;
  return waitFirstMs * 2 ** (attempt - 1) * (1 + random / 2);
}

function askedMs(retryAfter: string | undefined, nowMs: number): number | undefined {
  if (retryAfter === undefined) return undefined;
  if (/^\s*\d+(?:\.\d+)?\s*$/.test(retryAfter)) return Number(retryAfter) * 1000;
  // RFC 9110 §5.6.7; Date.parse reads much else, which is nonsense here.
  const date = /^[A-Z][a-z]{2}, .* GMT$/.test(retryAfter) ? Date.parse(retryAfter) : Number.NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}
