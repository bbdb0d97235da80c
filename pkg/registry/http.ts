import { setTimeout as delay } from "node:timers/promises";
import { Agent, request, type Dispatcher } from "undici";
import { retryDelayMs, type DockerConfig } from "../distribution/index.ts";
import { CapitanError, messageOf } from "../errors/index.ts";
import { isLoopback } from "../oci/index.ts";
import { RegistryAuth, type TokenRequest } from "./auth.ts";

/** How to reach a registry. */
export type RegistryAccess = {
  /** Plain HTTP. When not said: on loopback without a CA, as Flux and docker do. */
  readonly insecure?: boolean | undefined;
  /** PEM bundle; the system's roots when undefined. */
  readonly ca?: string | undefined;
  readonly login?: DockerConfig | undefined;
};

export type RegistryRequest = {
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "PATCH" | "DELETE";
  /** Path below the host. */
  readonly path: string;
  readonly accept?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  /** `repository:NAME:pull` or `:pull,push`; several with a space between. */
  readonly scope: string;
  /** Bodies longer than this are cut off and refused. */
  readonly bytesMax: number;
  readonly signal?: AbortSignal | undefined;
};

export type RegistryReply = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
  readonly url: URL;
};

type Body = Dispatcher.ResponseData["body"];

/** A reply whose body has not been read. */
type OpenReply = Omit<RegistryReply, "body"> & { readonly body: Body };

const redirectsMax = 5;
const tokenBytesMax = 1024 * 1024;
/** What is read of the body of a refusal. */
const refusalBytesMax = 64 * 1024;
const timeoutMs = 60_000;
const idleMs = 20_000;
/** Large bodies get more time: at least this rate is expected. */
const bytesPerMsMin = 64;
const retriesMs = 30_000;

type Sent = Pick<RegistryRequest, "method" | "headers" | "accept" | "body" | "signal"> & {
  readonly url: URL;
  readonly authorization: string | undefined;
  readonly timeoutMs: number;
};

/**
 * HTTP to one registry: authentication, redirects, retries, limits. Credentials and content go to
 * that host only, credentials besides to its token server.
 */
export class RegistryHttp {
  readonly host: string;
  readonly #origin: URL;
  readonly #insecure: boolean;
  readonly #auth: RegistryAuth;
  readonly #agent: Agent;

  constructor(host: string, repository: string, access: RegistryAccess) {
    // The name that people write is not the name of the server.
    this.host = /^(?:index\.)?docker\.io$/.test(host) ? "registry-1.docker.io" : host;
    this.#insecure = access.insecure ?? (isLoopback(host) && access.ca === undefined);
    this.#origin = new URL(`${this.#insecure ? "http" : "https"}://${this.host}`);
    const { login } = access;
    this.#auth = new RegistryAuth({ host: this.host, repository, insecure: this.#insecure, login });
    const ca = access.ca === undefined ? {} : { ca: access.ca };
    // On HTTP/2 a request that is aborted early can block its connection (docs/adr/0003-decisions.md).
    this.#agent = new Agent({ allowH2: false, connect: { timeout: 10_000, ...ca } });
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  /**
   * One request, authenticated when the registry asks, repeated for as long as it says that it will
   * be back soon. Throws RegistryUnreachable, RegistryDenied, ArtifactTooLarge; other statuses are returned.
   */
  async send(req: RegistryRequest): Promise<RegistryReply> {
    const { body, ...reply } = await this.#patiently(req);
    return { ...reply, body: await this.#read(body, reply, req) };
  }

  /** A GET whose body is read by the caller, who counts the bytes. */
  stream(req: Omit<RegistryRequest, "method">): Promise<OpenReply> {
    return this.#patiently({ ...req, method: "GET" }, timeoutMs + req.bytesMax / bytesPerMsMin);
  }

  async #patiently(req: RegistryRequest, limitMs = timeoutMs): Promise<OpenReply> {
    const started = performance.now();
    for (let attempt = 1; ; attempt++) {
      const reply = await this.#authenticated(req, limitMs);
      const refusal = { status: reply.status, retryAfter: headerOf(reply, "retry-after"), attempt };
      const waitMs = retryDelayMs(refusal, Date.now(), Math.random());
      const spentMs = performance.now() - started;
      if (waitMs === undefined || spentMs + waitMs > retriesMs) return this.#checked(reply, req);
      discard(reply);
      await this.#wait(waitMs, req);
    }
  }

  async #wait(ms: number, { method, signal }: RegistryRequest): Promise<void> {
    try {
      await delay(ms, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      throw new CapitanError("RegistryUnreachable", `${method} ${this.host}: aborted`, {
        cause: error,
      });
    }
  }

  async #authenticated(req: RegistryRequest, limitMs: number): Promise<OpenReply> {
    const first = await this.#follow(req, limitMs);
    // Only the registry may ask who we are, not where it redirects to.
    if (first.status !== 401 || first.url.origin !== this.#origin.origin) return first;
    discard(first);
    const header = first.headers["www-authenticate"] ?? [];
    const fetch = (asked: TokenRequest) => this.#askToken(asked, req);
    await this.#auth.answer(Array.isArray(header) ? header : [header], req.scope, fetch);
    return this.#follow(req, limitMs);
  }

  #checked(reply: OpenReply, { method, path }: RegistryRequest): OpenReply {
    const { status } = reply;
    const refused = status === 401 || status === 403;
    if (!refused && status !== 429 && status < 500) return reply;
    discard(reply);
    const what = `${method} ${this.host}${path.split("?")[0] ?? ""}: HTTP ${status}`;
    if (refused) {
      const how = this.#auth.hasLogin()
        ? "the configured credentials were not accepted"
        : "no credentials for this host are configured";
      throw new CapitanError("RegistryDenied", `${what}; ${how}`);
    }
    const again = headerOf(reply, "retry-after")?.slice(0, 40);
    const when = again === undefined ? "" : `; it says to come back after ${JSON.stringify(again)}`;
    throw new CapitanError("RegistryUnreachable", `${what}${when}`);
  }

  /** Asks a token server, whose redirects are not followed. */
  async #askToken({ url, form, authorization }: TokenRequest, { signal }: RegistryRequest) {
    const posted =
      form === undefined
        ? { method: "GET" as const }
        : {
            method: "POST" as const,
            body: Buffer.from(form.toString()),
            headers: { "content-type": "application/x-www-form-urlencoded" },
          };
    const reply = await this.#once({ ...posted, url, authorization, signal, timeoutMs });
    return {
      status: reply.status,
      body: await this.#read(reply.body, reply, { bytesMax: tokenBytesMax }),
    };
  }

  /** Follows redirects of reads: only to http(s), never from TLS to none, and without credentials to another host. */
  async #follow(req: RegistryRequest, limitMs: number): Promise<OpenReply> {
    let url = urlOf(req.path, this.#origin, this.host);
    for (let hops = 0; hops <= redirectsMax; hops++) {
      const own = url.origin === this.#origin.origin;
      const authorization = own ? this.#auth.authorization(req.scope) : undefined;
      const reply = await this.#once({ ...req, url, authorization, timeoutMs: limitMs });
      const location = redirectOf(req, reply);
      if (location === undefined) return reply;
      discard(reply);
      url = this.#redirected(location, url);
    }
    throw new CapitanError(
      "RegistryUnreachable",
      `${this.host} redirects more than ${redirectsMax} times`,
    );
  }

  #redirected(location: string, from: URL): URL {
    const next = urlOf(location, from, this.host);
    if (next.protocol !== "https:" && !(this.#insecure && next.protocol === "http:"))
      throw new CapitanError(
        "RegistryUnreachable",
        `${this.host} redirects to ${next.protocol}//${next.host}, which is refused`,
      );
    return next;
  }

  async #once(sent: Sent): Promise<OpenReply> {
    const { url, body, signal } = sent;
    const limitMs = sent.timeoutMs + (body?.length ?? 0) / bytesPerMsMin;
    const deadline = AbortSignal.timeout(Math.ceil(limitMs));
    try {
      const response = await request(url, {
        dispatcher: this.#agent,
        method: sent.method,
        headers: {
          "user-agent": "capitan",
          ...(sent.accept === undefined ? {} : { accept: sent.accept }),
          ...sent.headers,
          ...(sent.authorization === undefined ? {} : { authorization: sent.authorization }),
        },
        body: body ?? null,
        headersTimeout: idleMs,
        bodyTimeout: idleMs,
        signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]),
      });
      return { status: response.statusCode, headers: response.headers, body: response.body, url };
    } catch (error) {
      throw unreachable(`${sent.method} ${url.host}${url.pathname}`, error);
    }
  }

  /** The body, whole. A refusal's is text for people: its beginning will do. */
  async #read(
    body: Body,
    { status, url }: { readonly status: number; readonly url: URL },
    { bytesMax }: { readonly bytesMax: number },
  ): Promise<Buffer> {
    const what = `${url.host}${url.pathname}`;
    const chunks: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const chunk of body as AsyncIterable<Buffer>) {
        chunks.push(chunk);
        bytes += chunk.length;
        if (status >= 300 && bytes > refusalBytesMax) break;
        if (status < 300 && bytes > bytesMax)
          throw new CapitanError("ArtifactTooLarge", `${what}: more than ${bytesMax} bytes`);
      }
    } catch (error) {
      throw error instanceof CapitanError ? error : unreachable(what, error);
    }
    return Buffer.concat(chunks);
  }
}

/** One header, when it is there once. */
export function headerOf(
  { headers }: Pick<RegistryReply, "headers">,
  name: string,
): string | undefined {
  const value = headers[name];
  return typeof value === "string" ? value : undefined;
}

/** The error of a connection that did not do what it should. */
export function unreachable(what: string, error: unknown): CapitanError {
  return new CapitanError("RegistryUnreachable", `${what}: ${messageOf(error)}`, { cause: error });
}

/** Where a read is sent on to. Writes are not sent on. */
function redirectOf({ method }: RegistryRequest, reply: OpenReply): string | undefined {
  const isRead = method === "GET" || method === "HEAD";
  const isRedirect = reply.status >= 300 && reply.status < 400;
  return isRead && isRedirect ? headerOf(reply, "location") : undefined;
}

/** Lets go of a body that nobody reads; what it still has to say is of no interest. */
function discard({ body }: OpenReply): void {
  body.dump({ limit: refusalBytesMax }).catch(() => undefined);
}

/** A URL that the registry gave us. */
function urlOf(text: string, base: URL, host: string): URL {
  const url = URL.parse(text, base.toString());
  if (url === null) throw new CapitanError("RegistryUnreachable", `${host} names a broken URL`);
  return url;
}
