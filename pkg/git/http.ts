import { Agent, request, type Dispatcher } from "undici";
import { CapitanError, messageOf } from "../errors/index.ts";
import { cleanText, formatGitUrl, type GitLocation } from "../gitdata/index.ts";
import {
  connectMs,
  hooksMs,
  idleMs,
  type GitAccess,
  type GitReply,
  type GitRequest,
  type GitService,
  type GitTransport,
} from "./transport.ts";

const redirectsMax = 5;
const refusalBytesMax = 64 * 1024;

type Response = Dispatcher.ResponseData;

/** Git's smart HTTP (gitprotocol-http), to one repository. Credentials go to its own origin only. */
export class HttpTransport implements GitTransport {
  readonly #origin: string;
  readonly #url: string;
  readonly #access: GitAccess;
  readonly #agent: Agent;
  readonly #service: GitService;
  readonly #greeting: string;
  /** Where the server's redirects have led to: what is asked later is asked there. */
  #base: string;

  constructor(location: GitLocation, access: GitAccess, service: GitService = "git-upload-pack") {
    this.#service = service;
    this.#greeting = `/info/refs?service=${service}`;
    this.#url = formatGitUrl(location);
    this.#origin = new URL(this.#url).origin;
    this.#base = this.#url;
    this.#access = access;
    const { ca } = access.credentials;
    // On HTTP/2 a request that is aborted early can block its connection (docs/adr/0003-decisions.md).
    this.#agent = new Agent({
      allowH2: false,
      connect: { timeout: connectMs, ...(ca === undefined ? {} : { ca }) },
    });
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async request(asked: GitRequest): Promise<GitReply> {
    const path = this.#pathOf(asked.url);
    const reply =
      path === this.#greeting
        ? await this.#greet(asked)
        : await this.#once(asked, this.#base + path);
    const { response, url } = reply;
    this.#check(response, url);
    return {
      url: asked.url,
      method: asked.method ?? "GET",
      statusCode: response.statusCode,
      statusMessage: response.statusText,
      headers: textHeaders(response),
      body: chunksOf(response, this.#url),
    };
  }

  #pathOf(url: string): string {
    const path = url.startsWith(this.#url) ? url.slice(this.#url.length) : "";
    if (path === this.#greeting || path === `/${this.#service}`) return path;
    throw new CapitanError("InternalError", `${this.#url}: not a request for ${this.#service}`);
  }

  /** Only the greeting is followed to where the server sends us. */
  async #greet(asked: GitRequest): Promise<{ response: Response; url: string }> {
    for (let hops = 0; hops <= redirectsMax; hops++) {
      const reply = await this.#once(asked, this.#base + this.#greeting);
      if (!isRedirect(reply.response)) return reply;
      this.#base = this.#redirected(reply.response, reply.url);
      discard(reply.response);
    }
    throw this.#unreachable(`it redirects more than ${redirectsMax} times`);
  }

  /** The repository that a redirect leads to: by the same request, and never from TLS to none. */
  #redirected({ headers }: Response, from: string): string {
    const { location } = headers;
    const next = typeof location === "string" ? URL.parse(location, from) : null;
    if (next === null || !next.href.endsWith(this.#greeting))
      throw this.#unreachable("it redirects to something that is no Git repository");
    const isPlain = next.protocol === "http:" && this.#origin.startsWith("http:");
    if ((next.protocol !== "https:" && !isPlain) || next.username !== "" || next.password !== "")
      throw this.#unreachable(`it redirects to ${next.protocol}//${next.host}, which is refused`);
    return next.href.slice(0, -this.#greeting.length);
  }

  async #once(asked: GitRequest, url: string): Promise<{ response: Response; url: string }> {
    const { method = "GET", headers, body, signal } = asked;
    const { authorization } = this.#access.credentials;
    const idle = this.#service === "git-receive-pack" ? hooksMs : idleMs;
    const isOwn = new URL(url).origin === this.#origin;
    try {
      const response = await request(url, {
        dispatcher: this.#agent,
        method: method === "POST" ? "POST" : "GET",
        headers: {
          "user-agent": "git/capitan",
          ...headers,
          ...(isOwn && authorization !== undefined ? { authorization } : {}),
        },
        body: body === undefined ? null : Buffer.concat(await Array.fromAsync(body)),
        headersTimeout: idle,
        bodyTimeout: idle,
        ...(signal === undefined ? {} : { signal }),
      });
      return { response, url };
    } catch (error) {
      throw this.#unreachable(cleanText(messageOf(error)), error);
    }
  }

  #check(response: Response, url: string): void {
    const { statusCode: status } = response;
    const isGit = textHeaders(response)["content-type"]?.startsWith(
      `application/x-${this.#service}-`,
    );
    if (status === 200 && isGit === true) return;
    discard(response);
    if (status === 401 || status === 403) throw this.#denied(status, url);
    if (status === 404)
      throw new CapitanError("GitNotFound", `${this.#url}: HTTP 404, there is no such repository`);
    const said = status === 200 ? "the answer is not one of Git's smart HTTP" : `HTTP ${status}`;
    throw this.#unreachable(said);
  }

  #denied(status: number, url: string): CapitanError {
    const has = this.#access.credentials.authorization !== undefined;
    const elsewhere = new URL(url).origin === this.#origin ? "" : `, at ${new URL(url).host}`;
    const how = !has
      ? "no credentials are configured"
      : elsewhere === ""
        ? "the configured credentials were not accepted"
        : "our credentials are not sent to another host";
    const what = this.#service === "git-receive-pack" ? "; for writing" : "";
    return new CapitanError("GitDenied", `${this.#url}: HTTP ${status}${elsewhere}${what}; ${how}`);
  }

  #unreachable(why: string, cause?: unknown): CapitanError {
    return new CapitanError("GitUnreachable", `${this.#url}: ${why}`, { cause });
  }
}

const isRedirect = ({ statusCode }: Response) => statusCode >= 300 && statusCode < 400;

/** Lets go of a body that nobody reads. */
function discard({ body }: Response): void {
  body.dump({ limit: refusalBytesMax }).catch(() => undefined);
}

function textHeaders({ headers }: Response): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter(
      (entry): entry is [string, string] => typeof entry[1] === "string",
    ),
  );
}

async function* chunksOf({ body }: Response, what: string): AsyncGenerator<Uint8Array, void> {
  try {
    yield* body as AsyncIterable<Uint8Array>;
  } catch (error) {
    const message = `${what}: ${cleanText(messageOf(error))}`;
    throw new CapitanError("GitUnreachable", message, { cause: error });
  }
}
