import { createHash } from "node:crypto";
import { deflateSync, inflateSync } from "node:zlib";
import { CapitanError } from "../errors/index.ts";
import { readPackStream, type PacketReader } from "../gitdata/index.ts";
import { applyDelta, deltaSizes } from "./delta.ts";

/** Limits on what is read of a repository. The bytes are those of OCI artifacts. */
export const packBytesMax = 32 * 1024 * 1024;
const packObjectsMax = 50_000;
export const objectBytesMax = 16 * 1024 * 1024;
const unpackedBytesMax = 96 * 1024 * 1024;

export type ObjectType = "commit" | "tree" | "blob" | "tag";
export type GitObject = { readonly type: ObjectType; readonly content: Buffer };

/** Objects by their hash, which was computed from what they hold. */
export type GitObjects = ReadonlyMap<string, GitObject>;

/** An object as a pack holds it: whole, or as a difference to another one. */
type Entry = {
  readonly offset: number;
  readonly type: ObjectType | { readonly base: number | string };
  readonly content: Buffer;
};

const types: Readonly<Record<number, ObjectType>> = { 1: "commit", 2: "tree", 3: "blob", 4: "tag" };
const codes: Readonly<Record<ObjectType, number>> = { commit: 1, tree: 2, blob: 3, tag: 4 };
const headBytes = 12;
const hashBytes = 20;

/**
 * The pack in the answer to `fetchRequest`, not yet read; given up as soon as it is too large or says
 * that it will have too many objects. Throws GitNotFound, GitUnreachable, ArtifactCorrupt, ArtifactTooLarge.
 */
export async function receivePack(packets: PacketReader, what: string): Promise<Buffer> {
  // One buffer that grows: a server may send its pack a byte at a time.
  let held = Buffer.alloc(64 * 1024);
  let bytes = 0;
  for await (const piece of readPackStream(packets, what)) {
    const isHeadNew = bytes < headBytes;
    const length = bytes + piece.length;
    if (length > packBytesMax) throw tooLarge(what, `a pack of more than ${packBytesMax} bytes`);
    if (length > held.length)
      held = Buffer.concat([held], Math.min(packBytesMax, Math.max(length, held.length * 2)));
    piece.copy(held, bytes);
    bytes = length;
    if (isHeadNew && bytes >= headBytes) countOf(held.subarray(0, bytes), what);
  }
  return held.subarray(0, bytes);
}

/**
 * The objects of a pack (gitformat-pack), each inflated once, each named by the hash of what it
 * holds. Work and memory are bounded whatever the pack says. Throws ArtifactCorrupt, ArtifactTooLarge.
 */
export function readPack(pack: Buffer, what: string): GitObjects {
  const count = countOf(pack, what);
  const end = pack.length - hashBytes;
  const trailer = createHash("sha1").update(pack.subarray(0, end)).digest();
  if (!trailer.equals(pack.subarray(end))) throw corrupt(what, "does not match its hash");
  const budget = new Budget(what);
  const entries: Entry[] = [];
  for (let i = 0, offset = headBytes; i < count; i++) {
    const { entry, next } = readEntry(pack.subarray(0, end), offset, budget);
    entries.push(entry);
    offset = next;
  }
  return resolveEntries(entries, budget);
}

/** A pack of whole objects, for a server. Throws ArtifactTooLarge beyond what is read back. */
export function encodePack(objects: Iterable<GitObject>, what: string): Buffer {
  const bodies = Array.from(objects, ({ type, content }) => [
    encodeHead(codes[type], content.length),
    deflateSync(content),
  ]);
  const head = Buffer.from("PACK\0\0\0\u0002\0\0\0\0", "latin1");
  head.writeUInt32BE(bodies.length, 8);
  const pack = Buffer.concat([head, ...bodies.flat()]);
  if (pack.length + hashBytes > packBytesMax || bodies.length > packObjectsMax)
    throw tooLarge(what, `a pack of ${bodies.length} objects and ${pack.length} bytes`);
  return Buffer.concat([pack, createHash("sha1").update(pack).digest()]);
}

function encodeHead(code: number, size: number): Buffer {
  const bytes = [(code << 4) | (size % 16)];
  for (let rest = Math.floor(size / 16); rest > 0; rest = Math.floor(rest / 128)) {
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) | 0x80;
    bytes.push(rest % 128);
  }
  return Buffer.from(bytes);
}

/** How many objects a pack says that it has. */
function countOf(pack: Buffer, what: string): number {
  if (pack.length < headBytes || pack.toString("latin1", 0, 4) !== "PACK")
    throw corrupt(what, "is no pack");
  if (pack.readUInt32BE(4) !== 2) throw corrupt(what, "is of an unknown version");
  const count = pack.readUInt32BE(8);
  if (count > packObjectsMax) throw tooLarge(what, `${count} objects, more than ${packObjectsMax}`);
  return count;
}

/** Counts what is unpacked. */
class Budget {
  readonly what: string;
  #bytes = 0;

  constructor(what: string) {
    this.what = what;
  }

  /** Throws ArtifactTooLarge before so many bytes are made. */
  take(bytes: number): void {
    this.#bytes += bytes;
    if (bytes > objectBytesMax)
      throw tooLarge(this.what, `an object of ${bytes} bytes, more than ${objectBytesMax}`);
    if (this.#bytes > unpackedBytesMax)
      throw tooLarge(this.what, `unpacks to more than ${unpackedBytesMax} bytes`);
  }
}

function readEntry(
  pack: Buffer,
  offset: number,
  budget: Budget,
): { readonly entry: Entry; readonly next: number } {
  const head = readHead(pack, offset, budget.what);
  budget.take(head.size);
  const { content, bytes } = inflate(pack.subarray(head.next), head.size, budget.what);
  const next = head.next + bytes;
  return { entry: { offset, type: head.type, content }, next };
}

type Head = { readonly type: Entry["type"]; readonly size: number; readonly next: number };

/** The type in three bits, the size in the others, seven to a byte, the lowest first. */
function readHead(pack: Buffer, offset: number, what: string): Head {
  const first = byteAt(pack, offset, what);
  let size = first & 0x0f;
  let next = offset + 1;
  for (let byte = first, factor = 16; (byte & 0x80) !== 0; factor *= 128) {
    byte = byteAt(pack, next++, what);
    size += (byte & 0x7f) * factor;
    if (factor > 2 ** 40) throw corrupt(what, "has an impossible size");
  }
  const code = (first >> 4) & 7;
  const type = types[code];
  if (type !== undefined) return { type, size, next };
  if (code === 7) {
    const base = pack.toString("hex", next, next + hashBytes);
    return { type: { base }, size, next: next + hashBytes };
  }
  if (code !== 6) throw corrupt(what, "has an object of an unknown type");
  const { distance, end } = readDistance(pack, next, what);
  return { type: { base: offset - distance }, size, next: end };
}

/** How far back the base is: seven bits to a byte, the highest first, and one more for each byte. */
function readDistance(pack: Buffer, offset: number, what: string) {
  let end = offset;
  let byte = byteAt(pack, end++, what);
  let distance = byte & 0x7f;
  while ((byte & 0x80) !== 0) {
    byte = byteAt(pack, end++, what);
    distance = (distance + 1) * 128 + (byte & 0x7f);
    if (distance > packBytesMax) throw corrupt(what, "refers to what is not there");
  }
  return { distance, end };
}

function byteAt(pack: Buffer, offset: number, what: string): number {
  const byte = pack[offset];
  if (byte === undefined) throw corrupt(what, "is cut off");
  return byte;
}

/** What is deflated at the beginning of some bytes, and how many of them it took. Never more than promised. */
function inflate(bytes: Buffer, size: number, what: string) {
  try {
    const options = { info: true, maxOutputLength: size + 1, chunkSize: Math.max(size + 1, 64) };
    // With `info` there is more in the result than its type says (node:zlib).
    const { buffer, engine } = inflateSync(bytes, options) as unknown as {
      readonly buffer: Buffer;
      readonly engine: { readonly bytesWritten: number };
    };
    if (buffer.length === size) return { content: buffer, bytes: engine.bytesWritten };
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
  }
  throw corrupt(what, "has an object that is not of the size it says");
}

/** Undoes the differences, base before difference, each once. */
function resolveEntries(entries: readonly Entry[], budget: Budget): GitObjects {
  const waiting = new Map<number | string, Entry[]>();
  const ready: { offset: number; object: GitObject }[] = [];
  for (const { offset, type, content } of entries) {
    if (typeof type === "string") {
      ready.push({ offset, object: { type, content } });
      continue;
    }
    const others = waiting.get(type.base) ?? [];
    others.push({ offset, type, content });
    waiting.set(type.base, others);
  }
  const objects = new Map<string, GitObject>();
  let resolved = 0;
  for (let next = ready.pop(); next !== undefined; next = ready.pop()) {
    const { offset, object } = next;
    const oid = hashOf(object);
    objects.set(oid, object);
    resolved++;
    for (const key of [offset, oid]) {
      for (const { offset, content } of waiting.get(key) ?? []) {
        budget.take(deltaSizes(content, budget.what).result);
        const made = applyDelta(object.content, content, budget.what);
        ready.push({ offset, object: { type: object.type, content: made } });
      }
      waiting.delete(key);
    }
  }
  if (resolved < entries.length) throw corrupt(budget.what, "refers to objects that are not there");
  return objects;
}

/** The name of an object (gitformat-pack, "hash of type, size and content"). */
export function hashOf({ type, content }: GitObject): string {
  return createHash("sha1").update(`${type} ${content.length}\0`).update(content).digest("hex");
}

const corrupt = (what: string, why: string) =>
  new CapitanError("ArtifactCorrupt", `${what}: the pack ${why}`);
const tooLarge = (what: string, why: string) =>
  new CapitanError("ArtifactTooLarge", `${what}: ${why}`);
