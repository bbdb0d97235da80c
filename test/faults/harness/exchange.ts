import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import {
  constants,
  Http2ServerResponse,
  type Http2ServerRequest,
  type Http2Session,
} from "node:http2";
import type { Writable } from "node:stream";
import { messageOf } from "../../../pkg/errors/index.ts";
import type { RequestFacts } from "./rules.ts";

/** What is kept of a request, in the order of arrival. */
export type LoggedRequest = RequestFacts & {
  /** What the client was answered: undefined as long as nothing, 0 when its stream was destroyed. */
  readonly status: number | undefined;
  /** What the API server has answered; undefined when it was not asked or did not answer. */
  readonly upstreamStatus: number | undefined;
  /** Why it could not be answered, when no rule and no cut is the reason. */
  readonly failure: string | undefined;
};

type Reply = Writable & Pick<ServerResponse, "setHeader" | "flushHeaders" | "headersSent">;

/** A client that does not confirm within this time that it has got a reply is not waited for. */
const confirmMs = 1_000;

/** These are about one connection, not about the request (RFC 9110 §7.6.1, RFC 9113 §8.2.2). */
const hopByHop = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Headers as they may be passed on: without pseudo-headers and those of a single connection. */
export function endToEnd(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const kept = Object.entries(headers).filter(
    (entry): entry is [string, string | string[]] =>
      entry[1] !== undefined && !entry[0].startsWith(":") && !hopByHop.has(entry[0]),
  );
  return Object.fromEntries(kept);
}

/** One request of a client and its reply, over HTTP/2 or HTTP/1.1. */
export class Exchange {
  readonly facts: RequestFacts;
  readonly headers: IncomingHttpHeaders;
  readonly url: string;
  /** Aborts when the client's stream has ended, however. */
  readonly gone: AbortSignal;
  readonly #request: IncomingMessage | Http2ServerRequest;
  readonly #response: ServerResponse | Http2ServerResponse;
  readonly #session: Http2Session | undefined;
  readonly #log: { -readonly [K in keyof LoggedRequest]: LoggedRequest[K] };

  constructor(
    request: IncomingMessage | Http2ServerRequest,
    response: ServerResponse | Http2ServerResponse,
  ) {
    this.#request = request;
    this.#response = response;
    // A stream that has ended does not know its session any more.
    this.#session = response instanceof Http2ServerResponse ? response.stream.session : undefined;
    this.headers = request.headers;
    this.url = request.url ?? "/";
    this.facts = factsOf(request);
    this.#log = { ...this.facts, status: undefined, upstreamStatus: undefined, failure: undefined };
    const gone = new AbortController();
    this.gone = gone.signal;
    response.once("close", () => gone.abort());
    // Whoever resets a stream, they or we: it is in `gone`, and no error of this process.
    for (const emitter of [request, response]) emitter.on("error", () => undefined);
  }

  get log(): LoggedRequest {
    return this.#log;
  }

  get isWrite(): boolean {
    return !["GET", "HEAD", "OPTIONS"].includes(this.facts.method);
  }

  /** The whole request body. Rejects when the client goes away in the middle of it. */
  async body(): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for await (const chunk of this.#request) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks);
  }

  /** Remembers what the API server said. */
  answeredUpstream(status: number): void {
    this.#log.upstreamStatus = status;
  }

  /** Sends the head of the reply at once. */
  start(status: number, headers: Readonly<Record<string, string | string[]>>): void {
    if (this.gone.aborted) return;
    const reply = this.#response as Reply;
    this.#response.statusCode = status;
    for (const [name, value] of Object.entries(headers)) reply.setHeader(name, value);
    reply.flushHeaders();
    this.#log.status = status;
  }

  /** Sends a part of the body; false when the client has enough for now. Nothing once it is gone. */
  write(data: Buffer | string): boolean {
    return this.gone.aborted || (this.#response as Reply).write(data);
  }

  /** Resolves when the client takes more, or is gone. */
  async drained(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#response.once("drain", resolve);
    this.#response.once("close", resolve);
    await promise;
    this.#response.off("drain", resolve);
    this.#response.off("close", resolve);
  }

  /** Ends the reply in good order. */
  end(data: Buffer | string = ""): void {
    if (!this.gone.aborted) (this.#response as Reply).end(data);
  }

  /** A complete reply. */
  reply(
    status: number,
    headers: Readonly<Record<string, string | string[]>>,
    body: Buffer | string,
  ): void {
    this.start(status, headers);
    this.end(body);
  }

  /** Ends the client's stream without an answer, or in the middle of one: RST_STREAM, or a closed connection over HTTP/1.1. */
  destroy(): void {
    if (this.gone.aborted) return;
    this.#log.status = this.#log.status ?? 0;
    if (this.#response instanceof Http2ServerResponse) {
      const { stream } = this.#response;
      stream.close(constants.NGHTTP2_INTERNAL_ERROR);
      stream.destroy();
    } else {
      this.#request.socket.destroy();
    }
  }

  /** Ends the client's stream as `destroy` does, because something broke. */
  fail(error: unknown): void {
    if (!this.gone.aborted) this.#log.failure = messageOf(error);
    this.destroy();
  }

  /** Resolves when the client has confirmed that it has the whole reply, is gone, or says nothing. */
  async delivered(): Promise<void> {
    if (!this.gone.aborted) await new Promise((resolve) => this.#response.once("close", resolve));
    await confirmed(this.#session);
  }
}

/** HTTP/2 frames arrive in order: whoever answers a ping has read all that was sent before it. */
function confirmed(session: Http2Session | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (session === undefined || session.destroyed) return resolve();
    const timer = setTimeout(resolve, confirmMs);
    session.ping(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

function factsOf(request: IncomingMessage | Http2ServerRequest): RequestFacts {
  const url = request.url ?? "/";
  const cut = url.indexOf("?");
  const query = cut < 0 ? "" : url.slice(cut + 1);
  const watch = new URLSearchParams(query).get("watch");
  return {
    method: request.method ?? "GET",
    path: cut < 0 ? url : url.slice(0, cut),
    query,
    userAgent: request.headers["user-agent"] ?? "",
    watch: watch === "true" || watch === "1",
  };
}
