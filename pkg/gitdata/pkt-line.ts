import { CapitanError } from "../errors/index.ts";

/** One packet of Git's protocol (gitprotocol-common, "pkt-line Format"). */
export type Packet =
  | { readonly kind: "data"; readonly data: Buffer }
  | { readonly kind: "flush" | "delimiter" | "end" };

const marks = ["flush", "delimiter", "end"] as const;
const dataBytesMax = 65_516;

export const flushPacket = Buffer.from("0000");
export const delimiterPacket = Buffer.from("0001");

/** A packet with this content. */
export function dataPacket(content: string | Buffer): Buffer {
  const data = Buffer.from(content);
  if (data.length > dataBytesMax) throw new RangeError(`a packet of ${data.length} bytes`);
  return Buffer.concat([Buffer.from((data.length + 4).toString(16).padStart(4, "0")), data]);
}

/** The bytes of a packet. */
export function encodePacket(packet: Packet): Buffer {
  if (packet.kind === "data") return dataPacket(packet.data);
  return Buffer.from(`000${marks.indexOf(packet.kind)}`);
}

/** Reads packets one by one. What is not read yet stays where it is. */
export class PacketReader {
  readonly #source: AsyncIterator<Uint8Array, unknown>;
  readonly #what: string;
  #held: Uint8Array[] = [];
  #length = 0;

  constructor(source: AsyncIterable<Uint8Array>, what: string) {
    this.#source = source[Symbol.asyncIterator]();
    this.#what = what;
  }

  /** The next packet, or undefined at the end of the stream. Throws ArtifactCorrupt. */
  async next(): Promise<Packet | undefined> {
    const head = await this.#take(4);
    if (head === undefined) return undefined;
    const text = head.toString("latin1");
    const length = /^[0-9a-f]{4}$/i.test(text) ? Number.parseInt(text, 16) : 3;
    const mark = marks[length];
    if (mark !== undefined) return { kind: mark };
    if (length < 4 || length > dataBytesMax + 4) throw this.#corrupt("not Git's protocol");
    const data = length === 4 ? Buffer.alloc(0) : await this.#take(length - 4);
    if (data === undefined) throw this.#corrupt("cut off");
    return { kind: "data", data };
  }

  /** As many bytes; undefined when there are none. However the pieces are cut, each byte is copied once or twice. */
  async #take(bytes: number): Promise<Buffer | undefined> {
    while (this.#length < bytes) {
      const read = await this.#source.next();
      if (read.done === true) {
        if (this.#length === 0) return undefined;
        throw this.#corrupt("cut off");
      }
      this.#held.push(read.value);
      this.#length += read.value.length;
    }
    const [first] = this.#held;
    const all =
      this.#held.length === 1 && first !== undefined
        ? Buffer.from(first.buffer, first.byteOffset, first.length)
        : Buffer.concat(this.#held);
    this.#held = [all.subarray(bytes)];
    this.#length = all.length - bytes;
    return all.subarray(0, bytes);
  }

  #corrupt(why: string): CapitanError {
    return new CapitanError("ArtifactCorrupt", `${this.#what}: the answer is ${why}`);
  }
}
