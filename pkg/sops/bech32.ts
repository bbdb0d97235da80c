const charset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const generators = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];
const checksumLength = 6;
/** A post-quantum recipient has 1,959 characters. */
const lengthMax = 4_096;

/** Steps of the checksum (BIP 173). */
function polymod(values: readonly number[]): number {
  let sum = 1;
  for (const value of values) {
    const top = sum >>> 25;
    sum = ((sum & 0x1ffffff) << 5) ^ value;
    for (let i = 0; i < generators.length; i++)
      if (((top >>> i) & 1) === 1) sum ^= generators[i] ?? 0;
  }
  return sum >>> 0;
}

const expanded = (prefix: string): readonly number[] => [
  ...Array.from(prefix, (c) => c.charCodeAt(0) >> 5),
  0,
  ...Array.from(prefix, (c) => c.charCodeAt(0) & 31),
];

/** The bytes of a Bech32 text in lower case, without its limit of 90 characters; undefined when it is not one. */
export function decodeBech32(text: string, prefix: string): Buffer | undefined {
  if (text.length > lengthMax || !text.startsWith(`${prefix}1`)) return undefined;
  const words = Array.from(text.slice(prefix.length + 1), (c) => charset.indexOf(c));
  if (words.includes(-1) || words.length < checksumLength) return undefined;
  if (polymod([...expanded(prefix), ...words]) !== 1) return undefined;
  return toBytes(words.slice(0, -checksumLength));
}

function toBytes(words: readonly number[]): Buffer | undefined {
  const bytes: number[] = [];
  let [buffer, bits] = [0, 0];
  for (const word of words) {
    buffer = ((buffer << 5) | word) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push((buffer >> bits) & 0xff);
  }
  const isPadded = bits < 5 && (buffer & ((1 << bits) - 1)) === 0;
  return isPadded ? Buffer.from(bytes) : undefined;
}

/** Bytes as Bech32 in lower case. */
export function encodeBech32(prefix: string, bytes: Uint8Array): string {
  const words: number[] = [];
  let [buffer, bits] = [0, 0];
  for (const byte of bytes) {
    buffer = ((buffer << 8) | byte) & 0xfff;
    bits += 8;
    for (; bits >= 5; bits -= 5) words.push((buffer >> (bits - 5)) & 31);
  }
  if (bits > 0) words.push((buffer << (5 - bits)) & 31);
  const sum = polymod([...expanded(prefix), ...words, 0, 0, 0, 0, 0, 0]) ^ 1;
  const checksum = [25, 20, 15, 10, 5, 0].map((shift) => (sum >>> shift) & 31);
  return `${prefix}1${[...words, ...checksum].map((word) => charset[word]).join("")}`;
}
