import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { Link, normal, type LinkState } from "./tcp-link.ts";

/** Where a TCP connection goes. */
export type Target = { readonly host: string; readonly port: number };

/**
 * A TCP proxy on loopback: one listener, one target, faults at will. Faults hold for open and new
 * connections alike, add up (a delayed link can be throttled and frozen), and end with `pass`.
 */
export class TcpProxy {
  readonly #server: Server;
  readonly #links = new Set<Link>();
  #target: Target;
  #state: LinkState = normal;

  private constructor(server: Server, target: Target) {
    this.#server = server;
    this.#target = target;
    server.on("connection", (client) => this.#open(client));
  }

  /** Listens on a free port of 127.0.0.1 and forwards to `target`. */
  static async start(target: Target): Promise<TcpProxy> {
    const server = createServer({ allowHalfOpen: true });
    const proxy = new TcpProxy(server, target);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("error", reject).listen(0, "127.0.0.1", resolve);
    await promise;
    return proxy;
  }

  /** The port that clients connect to. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** How many connections of clients are open now. */
  get connections(): number {
    return [...this.#links].filter((link) => link.open).length;
  }

  /** Every byte arrives this much later, in both directions, without loss of throughput. Milliseconds. */
  delay(ms: number): void {
    this.#set({ ...this.#state, delayMs: ms });
  }

  /** At most so many bytes per second, in each direction of each connection. */
  throttle(bytesPerSecond: number): void {
    this.#set({ ...this.#state, bytesPerSecond });
  }

  /**
   * A black hole: connections are accepted, every byte is swallowed, nothing is answered or closed.
   * Connections that have lost bytes are reset when `pass` ends it.
   */
  drop(): void {
    this.#set({ ...this.#state, dropping: true });
  }

  /** Nothing is forwarded, closed or lost until `thaw`; a peer's close is not told either. */
  freeze(): void {
    this.#set({ ...this.#state, frozen: true });
  }

  /** Ends `freeze`; what has queued up meanwhile is delivered. */
  thaw(): void {
    this.#set({ ...this.#state, frozen: false });
  }

  /** Each connection, open or new, is reset when it has carried so many more bytes to its client. */
  cutAfter(bytes: number): void {
    for (const link of this.#links) link.bytesToClient = 0;
    this.#set({ ...this.#state, cutAfterBytes: bytes });
  }

  /** Resets (RST) all open connections, on both sides. */
  reset(): void {
    for (const link of this.#links) link.reset();
  }

  /** New connections go to another target; open ones stay where they are. */
  retarget(target: Target): void {
    this.#target = target;
  }

  /** Back to normal. Only `retarget` stays. */
  pass(): void {
    for (const link of this.#links) if (link.hasLost) link.reset();
    this.#set(normal);
  }

  /** Stops listening and resets what is open. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.reset();
    await closed;
  }

  #set(state: LinkState): void {
    this.#state = state;
    for (const link of this.#links) link.wake();
  }

  #open(client: Socket): void {
    const target = connect({ ...this.#target, allowHalfOpen: true, noDelay: true });
    const link = new Link({ client, target }, () => this.#state);
    this.#links.add(link);
    void link.ended.then(() => this.#links.delete(link));
  }
}
