import { Agent, request } from "undici";
import { CapitanError, messageOf } from "../errors/index.ts";
import {
  credentialsFor,
  isLoopback,
  mayReceiveCredentials,
  parseChallenge,
  type Challenge,
  type DockerConfig,
  type Login,
} from "../oci/index.ts";
import { asMap, asNumber, asString, parseJson } from "../json/index.ts";

/** How to reach a registry. */
export type RegistryAccess = {
  /** Plain HTTP. When not said: on loopback without a CA, as Flux and docker do. */
  readonly insecure?: boolean | undefined;
  /** PEM bundle; the system's roots when undefined. */
  readonly ca?: string | undefined;
  readonly login?: DockerConfig | undefined;
};

export type RegistryRequest = {
  readonly method: "GET" | "HEAD" | "PUT" | "POST";
  /** Path below the host, or a full URL that the registry gave us. */
  readonly url: string;
  readonly accept?: string;
  readonly contentType?: string;
  readonly body?: Buffer;
  /** `repository:NAME:pull` or `:pull,push`. */
  readonly scope: string;
  /** Bodies longer than this are cut off and refused. */
  readonly bytesMax: number;
  readonly signal?: AbortSignal | undefined;
};

export type RegistryReply = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
};

const redirectsMax = 5;
const tokenBytesMax = 1024 * 1024;
const tokenLifeDefaultS = 60;
const timeoutMs = 60_000;
const idleMs = 20_000;

type Token = { readonly value: string; readonly untilMs: number };

/** HTTP to one registry host: authentication, redirects, limits. Credentials go to that host and its token server only. */
export class RegistryHttp {
  readonly #host: string;
  readonly #access: RegistryAccess;
  readonly #insecure: boolean;
  readonly #agent: Agent;
  readonly #tokens = new Map<string, Token>();
  #basic = false;

  constructor(host: string, access: RegistryAccess) {
    this.#host = host;
    this.#access = access;
    this.#insecure = access.insecure ?? (isLoopback(host) && access.ca === undefined);
    const ca = access.ca === undefined ? {} : { ca: access.ca };
    this.#agent = new Agent({ connect: { timeout: 10_000, ...ca } });
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  /** One request, authenticated when the registry asks. Throws RegistryUnreachable, RegistryDenied, ArtifactTooLarge; other statuses are returned. */
  async send(req: RegistryRequest): Promise<RegistryReply> {
    const first = await this.#follow(req);
    if (first.status !== 401) return this.#checked(first, req);
    const header = first.headers["www-authenticate"];
    const challenges = (Array.isArray(header) ? header : [header ?? ""])
      .map(parseChallenge)
      .filter((c) => c !== undefined);
    await this.#answer(challenges, req);
    return this.#checked(await this.#follow(req), req);
  }

  #checked(reply: RegistryReply, req: RegistryRequest): RegistryReply {
    const what = `${req.method} ${this.#host}${pathOf(req.url)}`;
    if (reply.status === 401 || reply.status === 403) {
      const how =
        this.#login() === undefined
          ? "no credentials for this host are configured"
          : "the configured credentials were not accepted";
      throw new CapitanError("RegistryDenied", `${what}: HTTP ${reply.status}; ${how}`);
    }
    if (reply.status === 429 || reply.status >= 500)
      throw new CapitanError("RegistryUnreachable", `${what}: HTTP ${reply.status}`);
    return reply;
  }

  async #answer(challenges: readonly Challenge[], req: RegistryRequest): Promise<void> {
    const bearer = challenges.find((c) => c.scheme === "bearer");
    if (bearer !== undefined) this.#tokens.set(req.scope, await this.#fetchToken(bearer, req));
    else if (challenges.some((c) => c.scheme === "basic")) this.#basic = true;
  }

  async #fetchToken(
    challenge: Extract<Challenge, { scheme: "bearer" }>,
    req: RegistryRequest,
  ): Promise<Token> {
    const url = this.#tokenUrl(challenge, req.scope);
    const login = this.#login();
    const trusted = mayReceiveCredentials(url, this.#host, this.#insecure);
    const authorization = login !== undefined && trusted ? basicOf(login) : undefined;
    const get: RegistryRequest = { ...req, method: "GET", bytesMax: tokenBytesMax };
    const reply = await this.#once(url, get, authorization, false);
    if (reply.status !== 200) {
      const withheld =
        authorization === undefined && login !== undefined
          ? " (our credentials are not sent there: it is not below the registry's domain)"
          : "";
      const what = `the token server ${url.host} of ${this.#host}`;
      throw new CapitanError("RegistryDenied", `${what} answered HTTP ${reply.status}${withheld}`);
    }
    return tokenOf(reply.body, this.#host);
  }

  #tokenUrl({ realm, service }: { realm: URL; service: string }, scope: string): URL {
    if (realm.protocol !== "https:" && !this.#insecure) {
      const what = `${this.#host} names a token server without TLS: ${realm.host}`;
      throw new CapitanError("RegistryDenied", what);
    }
    const url = new URL(realm);
    if (service !== "") url.searchParams.set("service", service);
    url.searchParams.set("scope", scope);
    return url;
  }

  #login(): Login | undefined {
    return credentialsFor(this.#access.login, this.#host);
  }

  #authorization(scope: string): string | undefined {
    const token = this.#tokens.get(scope);
    if (token !== undefined && token.untilMs > performance.now()) return `Bearer ${token.value}`;
    const login = this.#login();
    return this.#basic && login !== undefined ? basicOf(login) : undefined;
  }

  /** Follows redirects of reads; only to http(s), never from TLS to none, and without credentials to another host. */
  async #follow(req: RegistryRequest): Promise<RegistryReply> {
    const origin = `${this.#insecure ? "http" : "https"}://${this.#host}`;
    let url = urlOf(req.url, origin, this.#host);
    for (let hops = 0; hops <= redirectsMax; hops++) {
      const own = url.origin === new URL(origin).origin;
      const reply = await this.#once(
        url,
        req,
        own ? this.#authorization(req.scope) : undefined,
        own,
      );
      const location = reply.headers["location"];
      if (reply.status < 300 || reply.status >= 400 || typeof location !== "string") return reply;
      const next = urlOf(location, url, this.#host);
      if (next.protocol !== "https:" && !(this.#insecure && next.protocol === "http:"))
        throw new CapitanError(
          "RegistryUnreachable",
          `${this.#host} redirects to ${next.protocol}//${next.host}, which is refused`,
        );
      url = next;
    }
    throw new CapitanError(
      "RegistryUnreachable",
      `${this.#host} redirects more than ${redirectsMax} times`,
    );
  }

  async #once(
    url: URL,
    req: RegistryRequest,
    authorization: string | undefined,
    withBody: boolean,
  ): Promise<RegistryReply> {
    const deadline = AbortSignal.timeout(timeoutMs);
    try {
      const response = await request(url, {
        dispatcher: this.#agent,
        method: req.method,
        headers: {
          "user-agent": "capitan",
          ...(req.accept === undefined ? {} : { accept: req.accept }),
          ...(withBody && req.contentType !== undefined ? { "content-type": req.contentType } : {}),
          ...(authorization === undefined ? {} : { authorization }),
        },
        body: withBody ? (req.body ?? null) : null,
        headersTimeout: idleMs,
        bodyTimeout: idleMs,
        signal: req.signal === undefined ? deadline : AbortSignal.any([req.signal, deadline]),
      });
      return {
        status: response.statusCode,
        headers: response.headers,
        body: await readLimited(response.body, req.bytesMax, `${url.host}${url.pathname}`),
      };
    } catch (error) {
      if (error instanceof CapitanError) throw error;
      throw new CapitanError(
        "RegistryUnreachable",
        `${req.method} ${url.host}${url.pathname}: ${messageOf(error)}`,
        { cause: error },
      );
    }
  }
}

/** Reads the token server's reply (distribution-spec token authentication). */
function tokenOf(body: Buffer, host: string): Token {
  try {
    const parsed = asMap(parseJson(body.toString("utf8")));
    const value = asString(parsed["token"]) ?? asString(parsed["access_token"]) ?? "";
    const lifeS = asNumber(parsed["expires_in"]) ?? tokenLifeDefaultS;
    return { value, untilMs: performance.now() + (lifeS - 10) * 1000 };
  } catch (error) {
    const message = `the token server of ${host} did not answer with JSON`;
    throw new CapitanError("RegistryDenied", message, { cause: error });
  }
}

/** A URL that the registry gave us. */
function urlOf(text: string, base: string | URL, host: string): URL {
  const url = URL.parse(text, base.toString());
  if (url === null) throw new CapitanError("RegistryUnreachable", `${host} names a broken URL`);
  return url;
}

const basicOf = ({ username, password }: Login) =>
  `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;

const pathOf = (url: string) => (url.startsWith("/") ? url.split("?")[0] : "");

async function readLimited(
  body: AsyncIterable<Buffer>,
  bytesMax: number,
  what: string,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > bytesMax)
      throw new CapitanError("ArtifactTooLarge", `${what}: more than ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
