import { CapitanError } from "../errors/index.ts";

type Number = { readonly value: number; readonly next: number };

/** The sizes of what a delta is made from and makes. Throws ArtifactCorrupt. */
export function deltaSizes(
  delta: Buffer,
  what: string,
): { readonly base: number; readonly result: number; readonly next: number } {
  const base = readSize(delta, 0, what);
  const result = readSize(delta, base.next, what);
  return { base: base.value, result: result.value, next: result.next };
}

/**
 * What a delta makes of its base (gitformat-pack, "Deltified representation"). Never more than the
 * size that it says first. Throws ArtifactCorrupt.
 */
export function applyDelta(base: Buffer, delta: Buffer, what: string): Buffer {
  const sizes = deltaSizes(delta, what);
  if (sizes.base !== base.length) throw corrupt(what);
  const made = Buffer.alloc(sizes.result);
  let length = 0;
  for (let next = sizes.next; next < delta.length;) {
    const code = delta[next++] ?? 0;
    const copy =
      (code & 0x80) === 0
        ? { from: delta, ...insertion(code, next) }
        : copied(base, delta, code, next);
    const end = copy.start + copy.size;
    if (copy.size === 0 || end > copy.from.length || length + copy.size > made.length)
      throw corrupt(what);
    copy.from.copy(made, length, copy.start, end);
    length += copy.size;
    next = copy.next;
  }
  if (length !== made.length) throw corrupt(what);
  return made;
}

/** The next bytes of the delta itself. */
function insertion(size: number, next: number) {
  return { start: next, size, next: next + size };
}

/** Bytes of the base: the code says which bytes of offset and size follow, the others are zero. */
function copied(base: Buffer, delta: Buffer, code: number, from: number) {
  let next = from;
  const read = (bits: readonly number[]) =>
    bits.reduce((sum, bit, i) => {
      const byte = (code & bit) === 0 ? 0 : (delta[next++] ?? 0);
      return sum + byte * 256 ** i;
    }, 0);
  const start = read([0x01, 0x02, 0x04, 0x08]);
  const size = read([0x10, 0x20, 0x40]);
  return { from: base, start, size: size === 0 ? 0x10000 : size, next };
}

function readSize(delta: Buffer, offset: number, what: string): Number {
  let value = 0;
  for (let next = offset, factor = 1; factor <= 2 ** 35; factor *= 128) {
    const byte = delta[next++];
    if (byte === undefined) break;
    value += (byte & 0x7f) * factor;
    if ((byte & 0x80) === 0) return { value, next };
  }
  throw corrupt(what);
}

const corrupt = (what: string) =>
  new CapitanError("ArtifactCorrupt", `${what}: the pack has a broken difference`);
