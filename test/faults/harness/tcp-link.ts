import type { Socket } from "node:net";

/** What happens to the bytes of a connection. */
export type LinkState = {
  readonly delayMs: number;
  readonly bytesPerSecond: number;
  readonly frozen: boolean;
  readonly dropping: boolean;
  /** Bytes to the client after which the connection is reset. */
  readonly cutAfterBytes: number;
};

/** A connection that is left alone. */
export const normal: LinkState = {
  delayMs: 0,
  bytesPerSecond: Infinity,
  frozen: false,
  dropping: false,
  cutAfterBytes: Infinity,
};

/** More than this waiting in one direction, and the sender feels it. */
const queuedBytesMax = 4 * 1024 * 1024;
/** A throttled link sends as much as fits into this time at once. */
const sliceMs = 50;

type Sockets = { readonly client: Socket; readonly target: Socket };

/** One proxied connection. `state` is asked before every byte; `wake` says that it has changed. */
export class Link {
  /** Bytes to the client since the last `cutAfter`. */
  bytesToClient = 0;
  /** Whether a black hole has swallowed something, so that the rest makes no sense. */
  hasLost = false;
  /** Resolves when both sides are gone. */
  readonly ended: Promise<void>;
  readonly state: () => LinkState;
  readonly #sockets: Sockets;
  readonly #directions: readonly Direction[];
  #broken = false;

  constructor(sockets: Sockets, state: () => LinkState) {
    const { client, target } = sockets;
    this.state = state;
    this.#sockets = sockets;
    const gone = [client, target].map(
      (socket) => new Promise<void>((resolve) => socket.once("close", () => resolve())),
    );
    this.ended = Promise.all(gone).then(() => undefined);
    for (const socket of [client, target]) {
      socket.on("error", () => (this.#broken = true));
      socket.on("close", () => this.#closed(socket));
    }
    this.#directions = [
      new Direction(this, { from: client, to: target }),
      new Direction(this, { from: target, to: client, count: true }),
    ];
  }

  /** Whether the client's side is open. */
  get open(): boolean {
    return !this.#sockets.client.destroyed;
  }

  /** Whether the connection has ended for both sides, or is about to. */
  get over(): boolean {
    return this.#sockets.client.destroyed && this.#sockets.target.destroyed;
  }

  /** Looks at the state again. */
  wake(): void {
    const { frozen, dropping } = this.state();
    if (this.#broken && !frozen && !dropping) this.reset();
    for (const direction of this.#directions) direction.wake();
  }

  /** RST to both sides. */
  reset(): void {
    for (const socket of [this.#sockets.client, this.#sockets.target]) {
      if (!socket.destroyed) socket.resetAndDestroy();
    }
  }

  /** One side is gone: the other is told, unless the link is frozen or a black hole. */
  #closed(socket: Socket): void {
    if (!socket.readableEnded) this.#broken = true;
    this.wake();
  }
}

type Chunk = { readonly data: Buffer; readonly arrivedMs: number };
type Way = { readonly from: Socket; readonly to: Socket; readonly count?: boolean };

/** The bytes of one connection in one direction. */
class Direction {
  readonly #link: Link;
  readonly #way: Way;
  readonly #queue: Chunk[] = [];
  #queuedBytes = 0;
  #ended = false;
  #cut = false;
  #nextMs = 0;
  #wake: () => void = () => undefined;

  constructor(link: Link, way: Way) {
    this.#link = link;
    this.#way = way;
    way.from.on("data", (data: Buffer) => this.#push(data));
    way.from.on("end", () => {
      this.#ended = true;
      this.wake();
    });
    way.to.on("drain", () => this.wake());
    void this.#run();
  }

  wake(): void {
    this.#wake();
  }

  #push(data: Buffer): void {
    this.#queue.push({ data, arrivedMs: performance.now() });
    this.#queuedBytes += data.length;
    if (this.#queuedBytes > queuedBytesMax) this.#way.from.pause();
    this.wake();
  }

  async #run(): Promise<void> {
    while (!this.#link.over) {
      const waitMs = this.#step();
      if (waitMs > 0) await this.#wait(waitMs);
      if (this.#ended && this.#queuedBytes === 0 && this.#isFlowing()) break;
    }
    if (!this.#way.to.destroyed) this.#way.to.end();
  }

  /** Does what can be done at once; says how long to wait for more, unless woken. */
  #step(): number {
    const { delayMs, dropping } = this.#link.state();
    if (dropping) this.#swallow();
    const [next] = this.#queue;
    if (next === undefined || !this.#isFlowing() || this.#way.to.writableNeedDrain) {
      return this.#ended && next === undefined && this.#isFlowing() ? 0 : Infinity;
    }
    const earlyMs = Math.max(next.arrivedMs + delayMs, this.#nextMs) - performance.now();
    if (earlyMs > 0) return earlyMs;
    this.#send(next);
    return 0;
  }

  #isFlowing(): boolean {
    const { frozen, dropping } = this.#link.state();
    return !frozen && !dropping && !this.#cut;
  }

  #swallow(): void {
    if (this.#queue.length > 0) this.#link.hasLost = true;
    this.#queue.length = 0;
    this.#queuedBytes = 0;
    this.#way.from.resume();
  }

  #send({ data, arrivedMs }: Chunk): void {
    const { bytesPerSecond, cutAfterBytes } = this.#link.state();
    const slice = Math.max(1, Math.floor((bytesPerSecond * sliceMs) / 1000));
    const left =
      this.#way.count === true ? Math.max(0, cutAfterBytes - this.#link.bytesToClient) : Infinity;
    const part = data.subarray(0, Math.min(slice, left));
    this.#take(part.length, { data, arrivedMs });
    if (bytesPerSecond < Infinity)
      this.#nextMs = performance.now() + (part.length * 1000) / bytesPerSecond;
    if (this.#way.count === true) this.#link.bytesToClient += part.length;
    this.#cut = part.length === left;
    this.#way.to.write(part, () => {
      if (this.#cut) this.#link.reset();
    });
  }

  #take(bytes: number, { data, arrivedMs }: Chunk): void {
    if (bytes === data.length) this.#queue.shift();
    else this.#queue[0] = { data: data.subarray(bytes), arrivedMs };
    this.#queuedBytes -= bytes;
    if (this.#queuedBytes <= queuedBytesMax) this.#way.from.resume();
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = ms === Infinity ? undefined : setTimeout(() => this.#wake(), ms);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = () => undefined;
        resolve();
      };
    });
  }
}
