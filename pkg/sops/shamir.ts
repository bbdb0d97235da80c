import { timingSafeEqual } from "node:crypto";

/** Products in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1. */
function times(a: number, b: number): number {
  let product = 0;
  for (let i = 0; i < 8; i++) {
    // Without branches: the operands are shares of a key.
    product ^= -((b >> i) & 1) & (a << i);
  }
  for (let bit = 14; bit >= 8; bit--) product ^= -((product >> bit) & 1) & (0x11b << (bit - 8));
  return product & 0xff;
}

/** The inverse: a^254. */
function inverse(a: number): number {
  let result = 1;
  for (let bit = 7; bit >= 0; bit--) {
    result = times(result, result);
    if (((254 >> bit) & 1) === 1) result = times(result, a);
  }
  return result;
}

/**
 * Splits a secret so that `threshold` of `parts` shares give it back. A share is the secret's length
 * and one byte more, its number from 1 on. `random` makes the other coefficients.
 */
export function split(
  secret: Buffer,
  parts: number,
  threshold: number,
  random: (bytes: number) => Buffer,
): readonly Buffer[] {
  const coefficients = Array.from({ length: threshold - 1 }, () => random(secret.length));
  return Array.from({ length: parts }, (_, index) => {
    const x = index + 1;
    const share = Buffer.alloc(secret.length + 1, x);
    for (const [at, byte] of secret.entries()) {
      let y = 0;
      for (const coefficient of coefficients.toReversed()) y = times(y, x) ^ (coefficient[at] ?? 0);
      share[at] = times(y, x) ^ byte;
    }
    return share;
  });
}

/**
 * The secret of shares, or undefined when they do not fit together. With fewer than the threshold
 * the result is some other bytes: only the MAC of the file can tell.
 */
export function combine(shares: readonly Buffer[]): Buffer | undefined {
  const length = (shares[0]?.length ?? 0) - 1;
  const xs = shares.map((share) => share.at(-1) ?? 0);
  const isFit = shares.every((share) => share.length === length + 1) && !xs.includes(0);
  if (!isFit || length < 1 || new Set(xs).size !== xs.length) return undefined;
  const weights = xs.map((x, i) =>
    xs.reduce(
      (weight, other, j) => (i === j ? weight : times(weight, times(other, inverse(x ^ other)))),
      1,
    ),
  );
  const secret = Buffer.alloc(length);
  for (let at = 0; at < length; at++)
    secret[at] = shares.reduce((sum, share, i) => sum ^ times(weights[i] ?? 0, share[at] ?? 0), 0);
  return secret;
}

/** Whether two keys are the same, in a time that does not tell where they differ. */
export const sameKey = (a: Buffer, b: Buffer): boolean =>
  a.length === b.length && timingSafeEqual(a, b);
