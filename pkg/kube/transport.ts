import { Agent, request, type Dispatcher } from "undici";
import { CapitanError, messageOf } from "../errors/index.ts";
import { ApiError, apiErrorOf, saysNotFound } from "./api-error.ts";
import type { ConnectionConfig } from "../kubeconfig/index.ts";

const connectTimeoutMs = 10_000;
/** No byte for this long ends a call. */
const idleTimeoutMs = 30_000;
/** No call but a watch lasts longer. */
const totalTimeoutMs = 60_000;
const bodyBytesMax = 64 * 1024 * 1024;
const triesMax = 4;

export type Call = {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly accept?: string;
  readonly contentType?: string;
  readonly body?: string;
  /** That the object does not exist (404) is a reply like another, not an error. */
  readonly mayBeMissing?: boolean;
  /** The user to act as. */
  readonly as?: string | undefined;
  readonly signal?: AbortSignal | undefined;
};

export type Reply = { readonly status: number; readonly body: string };

/**
 * One API server over HTTP/2. `connections` stays unset: with one, every request hangs behind a
 * draining session after GOAWAY as long as a watch is open on it.
 */
export class Transport {
  readonly #agent: Agent;
  readonly #config: ConnectionConfig;
  readonly #closing = new AbortController();
  readonly #options: { readonly userAgent: string; readonly mayWrite: () => boolean };

  constructor(
    config: ConnectionConfig,
    options: { readonly userAgent: string; readonly mayWrite: () => boolean },
  ) {
    this.#config = config;
    this.#options = options;
    const { certificate } = config.credentials;
    this.#agent = new Agent({
      allowH2: true,
      keepAliveTimeout: 60_000,
      connect: {
        timeout: connectTimeoutMs,
        rejectUnauthorized: true,
        ...(config.ca === undefined ? {} : { ca: config.ca }),
        ...(config.serverName === undefined ? {} : { servername: config.serverName }),
        ...(certificate === undefined ? {} : { cert: certificate.cert, key: certificate.key }),
      },
    });
  }

  /** Ends all connections; calls in flight fail. What a frozen peer still owes us times out behind our back. */
  close(): Promise<void> {
    this.#closing.abort();
    // Not `destroy`: under an open HTTP/2 stream it raises an error that nobody can catch.
    this.#agent.close().catch(() => undefined);
    return Promise.resolve();
  }

  /** A call with a complete reply. 429 and lost connections are retried a few times. Throws ApiError. */
  async call(call: Call): Promise<Reply> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#once(call);
      } catch (error) {
        const waitMs = attempt < triesMax ? retryDelayMs(error, attempt) : undefined;
        if (waitMs === undefined) throw error;
        await delay(waitMs, call.signal);
      }
    }
  }

  async #once(call: Call): Promise<Reply> {
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(tooLate()), totalTimeoutMs);
    try {
      return await this.#within(call, this.#signalFor(call, deadline.signal));
    } finally {
      clearTimeout(timer);
    }
  }

  async #within(call: Call, signal: AbortSignal): Promise<Reply> {
    const response = await this.#send(call, signal, idleTimeoutMs);
    const body = await readBody(response.body, `${call.method} ${call.path}`);
    const { statusCode: status } = response;
    const isMissing = status === 404 && call.mayBeMissing === true && saysNotFound(body);
    if (status < 300 || isMissing) return { status, body };
    const retryAfter = response.headers["retry-after"];
    throw apiErrorOf(call, status, {
      body,
      retryAfter: Array.isArray(retryAfter) ? retryAfter[0] : retryAfter,
    });
  }

  /** A reply whose body is read as it comes: a watch. Fails after `idleMs` without a byte. */
  async stream(call: Call, idleMs: number): Promise<AsyncIterable<Buffer>> {
    const response = await this.#send(call, this.#signalFor(call), idleMs);
    const what = `${call.method} ${call.path}`;
    if (response.statusCode < 300) return chunksOf(response.body, what);
    const body = await readBody(response.body, what);
    throw apiErrorOf(call, response.statusCode, { body, retryAfter: undefined });
  }

  #signalFor({ signal }: Call, deadline?: AbortSignal): AbortSignal {
    return AbortSignal.any([this.#closing.signal, signal, deadline].filter((s) => s !== undefined));
  }

  /**
   * The response, or a rejection as soon as the signal aborts. undici never sees the signal: a
   * request that it aborts before the headers have come leaves its HTTP/2 stream open for good, and
   * some dozens of those make every later request on the connection hang. So the headers are
   * awaited behind our back and the body is destroyed then.
   */
  async #send(call: Call, signal: AbortSignal, idleMs: number): Promise<Dispatcher.ResponseData> {
    if (signal.aborted) throw abortedError(call, signal);
    const pending = this.#request(call, idleMs);
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const onAbort = () => reject(abortedError(call, signal));
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      const response = await Promise.race([pending, aborted]);
      const destroy = () => response.body.destroy(abortedError(call, signal));
      signal.addEventListener("abort", destroy, { once: true });
      response.body.once("close", () => signal.removeEventListener("abort", destroy));
      return response;
    } catch (error) {
      pending.then(discard, () => undefined);
      throw error instanceof ApiError
        ? error
        : connectionError(`${call.method} ${call.path}`, error);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  async #request(call: Call, idleMs: number): Promise<Dispatcher.ResponseData> {
    const query = Object.entries(call.query ?? {}).filter(
      (e): e is [string, string] => e[1] !== undefined,
    );
    const search = query.length === 0 ? "" : `?${new URLSearchParams(query).toString()}`;
    const authorization = await this.#config.credentials.authorization?.();
    if (call.method !== "GET" && !this.#options.mayWrite()) {
      const what = `${call.method} ${call.path}`;
      throw new ApiError(what, "not sent: the Lease is lost", { status: 0, reason: "LeaseLost" });
    }
    return request(`${this.#config.server}${call.path}${search}`, {
      dispatcher: this.#agent,
      method: call.method,
      headers: { ...headersOf(call, authorization), "user-agent": this.#options.userAgent },
      body: call.body ?? null,
      headersTimeout: idleTimeoutMs,
      bodyTimeout: idleMs,
    });
  }
}

function headersOf({ accept = "application/json", contentType, as }: Call, authorization?: string) {
  return {
    accept,
    ...(contentType === undefined ? {} : { "content-type": contentType }),
    ...(authorization === undefined ? {} : { authorization }),
    // Without groups: the API server adds those that every ServiceAccount has.
    ...(as === undefined ? {} : { "impersonate-user": as }),
  };
}

/** The body as it comes; what breaks it is an ApiError like everything else here. */
async function* chunksOf(body: AsyncIterable<Buffer>, what: string): AsyncGenerator<Buffer> {
  try {
    yield* body;
  } catch (error) {
    throw error instanceof ApiError ? error : connectionError(what, error);
  }
}

/** Nobody wants this response any more. */
function discard({ body }: Dispatcher.ResponseData): void {
  body.on("error", () => undefined);
  body.destroy();
}

/** What `AbortSignal.timeout` would abort with. That one would be kept, with what it ends, until the time is over. */
function tooLate(): DOMException {
  return new DOMException(`no complete answer within ${totalTimeoutMs / 1000} s`, "TimeoutError");
}

function abortedError({ method, path }: Call, { reason }: AbortSignal): ApiError {
  const isLate = reason instanceof DOMException && reason.name === "TimeoutError";
  return new ApiError(`${method} ${path}`, isLate ? reason.message : "aborted", {
    status: 0,
    reason: isLate ? "Timeout" : "AbortError",
  });
}

async function readBody(body: AsyncIterable<Buffer>, what: string): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body) {
      bytes += chunk.length;
      if (bytes > bodyBytesMax)
        throw new CapitanError("Unreachable", `${what}: the reply exceeds ${bodyBytesMax} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    throw error instanceof CapitanError ? error : connectionError(what, error);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function connectionError(what: string, error: unknown): ApiError {
  return new ApiError(what, messageOf(error), {
    status: 0,
    reason: errorCode(error),
    cause: error,
  });
}

function errorCode(error: unknown): string {
  const { code, name, cause } = error as { code?: unknown; name?: unknown; cause?: unknown };
  if (typeof code === "string") return code;
  return cause === undefined ? String(name) : errorCode(cause);
}

/** A connection that broke under us: GOAWAY, reset, closed while idle. Safe to repeat: every call of ours is idempotent. */
const broken = new Set([
  "UND_ERR_SOCKET",
  "ECONNRESET",
  "EPIPE",
  "ERR_HTTP2_STREAM_ERROR",
  "ERR_HTTP2_GOAWAY_SESSION",
  "ERR_HTTP2_STREAM_CANCEL",
  "ERR_HTTP2_INVALID_SESSION",
]);

function retryDelayMs(error: unknown, attempt: number): number | undefined {
  if (!(error instanceof ApiError)) return undefined;
  if (error.status === 429) return error.retryAfterMs ?? 250 * 2 ** attempt;
  // A server that says when it is back is not lost.
  if (error.status === 503 && error.retryAfterMs !== undefined) return error.retryAfterMs;
  return error.status === 0 && attempt === 1 && broken.has(error.reason) ? 20 : undefined;
}

function delay(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(done, ms);
    const abort = () => {
      clearTimeout(timer);
      reject(new ApiError("request", "aborted", { status: 0, reason: "AbortError" }));
    };
    function done() {
      signal?.removeEventListener("abort", abort);
      resolve();
    }
    signal?.addEventListener("abort", abort, { once: true });
  });
}
