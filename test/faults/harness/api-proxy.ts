import { randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import {
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import {
  kubeconfigOf,
  newAuthority,
  type Authority,
  type Identity as Certificate,
} from "../../../hack/lab/pki.ts";
import { endToEnd, Exchange, type LoggedRequest } from "./exchange.ts";
import { Fault } from "./fault.ts";
import { rulesFor, statusBody, type ActiveRule, type Match, type RequestFacts } from "./rules.ts";
import { Upstream, type Identity } from "./upstream.ts";
import { WatchRelay } from "./watch-relay.ts";
import { WriteCut, type CutOptions } from "./write-cut.ts";

export type ApiProxyOptions = {
  /** Text of the kubeconfig by which the proxy reaches the API server, as admin. */
  readonly kubeconfig: string;
  /** See `ApiProxy.requireToken`. */
  readonly requireToken?: string;
  /** Requests that are forwarded without being counted, logged or seen by rules; a cut takes them too. */
  readonly ignore?: (request: RequestFacts) => boolean;
};

const json = { "content-type": "application/json" };

/**
 * A proxy in front of one kube-apiserver, HTTP/2 and HTTP/1.1 over TLS, that does to requests, replies
 * and watches what its rules say. It asks the API server as admin; a client's own Authorization header
 * is forwarded instead, unless it is the proxy's own token or the required one.
 */
export class ApiProxy {
  readonly #server: Http2SecureServer;
  readonly #authority: Authority;
  readonly #client: Certificate;
  readonly #token = `proxy-${randomBytes(8).toString("hex")}`;
  readonly #ignore: (request: RequestFacts) => boolean;
  readonly #sockets = new Set<Socket>();
  readonly #rules: ActiveRule[] = [];
  readonly #watches = new Set<WatchRelay>();
  readonly #log: LoggedRequest[] = [];
  readonly #failures: unknown[] = [];
  readonly #former: Upstream[] = [];
  #upstream: Upstream;
  #required: string | undefined;
  #writes = 0;
  #armed: WriteCut | undefined;
  #isCut = false;

  private constructor(
    server: Http2SecureServer,
    pki: { readonly authority: Authority; readonly client: Certificate },
    options: ApiProxyOptions,
  ) {
    this.#server = server;
    this.#authority = pki.authority;
    this.#client = pki.client;
    this.#upstream = new Upstream(options.kubeconfig);
    this.#required = options.requireToken;
    this.#ignore = options.ignore ?? (() => false);
    server.on("connection", (socket: Socket) => this.#accept(socket));
    server.on("request", (request, response) => void this.#serve(request, response));
    // What clients do to their connections is no error of this process.
    for (const event of ["sessionError", "tlsClientError", "clientError"])
      server.on(event, () => undefined);
  }

  /** Listens on a free port of 127.0.0.1, with a CA of its own. */
  static async start(options: ApiProxyOptions): Promise<ApiProxy> {
    const authority = await newAuthority("capitan-faults");
    const hosts = ["127.0.0.1", "localhost"];
    const serving = await authority.issue({ subject: "CN=proxy", use: "server", hosts });
    const client = await authority.issue({ subject: "CN=client", use: "client" });
    const server = createSecureServer({
      ...serving,
      allowHTTP1: true,
      requestCert: true,
      rejectUnauthorized: false,
    });
    const proxy = new ApiProxy(server, { authority, client }, options);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("error", reject).listen(0, "127.0.0.1", resolve);
    await promise;
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** https://127.0.0.1:PORT */
  get url(): string {
    return `https://127.0.0.1:${this.port}`;
  }

  /** The certificate of the CA that has signed the proxy's, in PEM. */
  get ca(): string {
    return this.#authority.cert;
  }

  /**
   * A kubeconfig that points here: with the token that is required, else the proxy's own. `token` for
   * another, which is forwarded; `certificate` for a client certificate, which is as good as the admin's.
   */
  kubeconfig(as: { readonly token?: string; readonly certificate?: boolean } = {}): string {
    const user =
      as.certificate === true
        ? { identity: this.#client }
        : { token: as.token ?? this.#required ?? this.#token };
    return kubeconfigOf(this.url, this.ca, user);
  }

  /** From now on only this bearer token is let in, as admin; everything else gets 401. Undefined lets all in again. Open watches stay. */
  requireToken(token: string | undefined): void {
    this.#required = token;
  }

  /** From now on another API server is asked, for instance a stale one. Open watches stay until `cutWatches`. */
  retarget(kubeconfig: string): void {
    this.#former.push(this.#upstream);
    this.#upstream = new Upstream(kubeconfig);
  }

  /** Requests in the order of arrival, those that are still open included. */
  get requests(): readonly LoggedRequest[] {
    return this.#log;
  }

  /** How many requests other than GET, HEAD and OPTIONS have been forwarded. */
  get writes(): number {
    return this.#writes;
  }

  /** How many watches are open. */
  get watches(): number {
    return this.#watches.size;
  }

  /** Whether the link is cut. */
  get isCut(): boolean {
    return this.#isCut;
  }

  /** Begins a rule: `proxy.on({ method: "PATCH", n: 2 }).loseReply()`. */
  on(match: Match = {}): Fault {
    return new Fault(
      match,
      (rule) => this.#add(rule),
      () => this.#watches,
    );
  }

  /** Ends all rules. */
  clear(): void {
    for (const rule of this.#rules.splice(0)) rule.remove();
  }

  /** Ends open watches: by a reset, or `orderly` as an API server does when their time is up. Says how many. */
  cutWatches(how: "reset" | "orderly" = "reset"): number {
    const open = [...this.#watches];
    for (const { exchange } of open) {
      if (how === "reset") exchange.destroy();
      else exchange.end();
    }
    return open.length;
  }

  /**
   * Lets exactly so many writes through, then cuts the link: connections are closed, every later
   * request and every watch with them, until `restore`. Resolves when the link is cut. A write that
   * comes while the last ones are still being answered is refused already; reads are not.
   * Throws when a cut is pending already.
   */
  async cutAfterWrites(writes: number, options: CutOptions = {}): Promise<void> {
    if (this.#armed !== undefined) throw new Error("the link is cut, or will be: restore first");
    const cut = new WriteCut(writes, options);
    this.#armed = cut;
    await cut.due;
    if (this.#armed !== cut) return;
    this.#isCut = true;
    this.#disconnect();
  }

  /** Ends a cut, or calls it off before it happens. Clients have to connect anew. */
  restore(): void {
    this.#armed = undefined;
    this.#isCut = false;
  }

  /** Closes everything. Throws what a rewriting function of a rule has thrown. */
  async close(): Promise<void> {
    this.clear();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#disconnect();
    for (const upstream of [...this.#former, this.#upstream]) upstream.close();
    await closed;
    if (this.#failures.length > 0)
      throw new AggregateError(this.#failures, `a rule has thrown: ${String(this.#failures[0])}`);
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => undefined);
    socket.once("close", () => this.#sockets.delete(socket));
    if (this.#isCut) socket.destroy();
  }

  #disconnect(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #add(rule: ActiveRule): void {
    this.#rules.push(rule);
    if (rule.effect.kind !== "event" && rule.effect.kind !== "poison") return;
    for (const watch of this.#watches) if (rule.take(watch.exchange.facts)) watch.attach(rule);
  }

  async #serve(
    request: IncomingMessage | Http2ServerRequest,
    response: ServerResponse | Http2ServerResponse,
  ): Promise<void> {
    const exchange = new Exchange(request, response);
    try {
      await this.#handle(exchange);
    } catch (error) {
      // Whatever broke, the API server or the client: nobody got a complete reply.
      exchange.fail(error);
    }
  }

  async #handle(exchange: Exchange): Promise<void> {
    const body = await exchange.body();
    const ignored = this.#ignore(exchange.facts);
    if (!ignored) this.#log.push(exchange.log);
    if (this.#isCut) return exchange.destroy();
    const identity = this.#identityOf(exchange);
    if (identity === undefined) return exchange.reply(401, json, statusBody(401, {}));
    const rules = ignored ? [] : rulesFor(this.#rules, exchange.facts);
    if (!(await this.#mayPass(exchange, rules))) return;
    if (ignored || !exchange.isWrite) return this.#forward({ exchange, body, identity, rules });
    await this.#write({ exchange, body, identity, rules });
  }

  #identityOf({ headers }: Exchange): Identity | undefined {
    const { authorization } = headers;
    if (this.#required !== undefined)
      return authorization === `Bearer ${this.#required}` ? "admin" : undefined;
    const own = authorization === undefined || authorization === `Bearer ${this.#token}`;
    return own ? "admin" : { authorization };
  }

  /** Does what rules do before a request is forwarded; false when it shall not be. */
  async #mayPass(exchange: Exchange, rules: readonly ActiveRule[]): Promise<boolean> {
    let late = false;
    for (const { effect } of rules) {
      if (effect.kind === "pause") {
        await effect.gate.wait(exchange.gone);
        late ||= effect.gate.late;
      } else if (effect.kind === "cutBefore") {
        exchange.destroy();
        return false;
      } else if (effect.kind === "status") {
        const { code, answer } = effect;
        const headers = { ...json, ...answer.headers };
        exchange.reply(code, headers, answer.body ?? statusBody(code, answer));
        return false;
      }
    }
    if (this.#isCut) exchange.destroy();
    return !this.#isCut && (late || !exchange.gone.aborted);
  }

  async #write(work: Work): Promise<void> {
    const { exchange } = work;
    const cut = this.#armed;
    const admission = cut?.admit(exchange.facts) ?? "pass";
    if (admission === "refuse") return exchange.destroy();
    this.#writes += 1;
    try {
      if (admission === "lose") await this.#forwardUnanswered(work);
      else await this.#forward(work);
      if (admission === "counted") await exchange.delivered();
    } finally {
      if (admission === "counted" || admission === "lose") cut?.settled();
    }
  }

  /** Asks the API server and withholds its reply, whether the client waits for it or not. */
  async #forwardUnanswered({ exchange, body, identity }: Work): Promise<void> {
    const reply = await this.#upstream.ask(exchange, body, identity, undefined);
    for await (const _ of reply) continue;
    exchange.answeredUpstream(reply.statusCode ?? 0);
    exchange.destroy();
  }

  async #forward(work: Work): Promise<void> {
    const { exchange, body, identity, rules } = work;
    if (rules.some(({ effect }) => effect.kind === "loseReply"))
      return this.#forwardUnanswered(work);
    // A write is seen through: the API server would do it, too, whoever still listens.
    const stop = exchange.isWrite ? undefined : exchange.gone;
    const reply = await this.#upstream.ask(exchange, body, identity, stop);
    const status = reply.statusCode ?? 0;
    exchange.answeredUpstream(status);
    const headers = endToEnd(reply.headers);
    const isJson = reply.headers["content-type"]?.startsWith("application/json") === true;
    if (exchange.facts.watch && status === 200 && isJson) {
      exchange.start(status, headers);
      return this.#relay(exchange, reply, rules);
    }
    const rewrites = rules.flatMap(({ effect }) => (effect.kind === "body" ? [effect] : []));
    if (rewrites.length === 0) return pipe(exchange, reply, headers);
    delete headers["content-length"];
    const text = Buffer.concat((await reply.toArray()) as Buffer[]).toString("utf8");
    const changed = this.#trying(() => rewrites.reduce((b, r) => r.rewrite(b, status), text));
    exchange.reply(status, headers, changed);
  }

  async #relay(
    exchange: Exchange,
    reply: IncomingMessage,
    rules: readonly ActiveRule[],
  ): Promise<void> {
    const relay = new WatchRelay(exchange, (work) => this.#trying(work));
    this.#watches.add(relay);
    try {
      for (const rule of rules) relay.attach(rule);
      await relay.forward(reply);
    } finally {
      this.#watches.delete(relay);
    }
  }

  /** Keeps what a function of a test throws for `close`. */
  #trying<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      this.#failures.push(error);
      throw error;
    }
  }
}

type Work = {
  readonly exchange: Exchange;
  readonly body: Buffer;
  readonly identity: Identity;
  readonly rules: readonly ActiveRule[];
};

async function pipe(
  exchange: Exchange,
  reply: IncomingMessage,
  headers: Readonly<Record<string, string | string[]>>,
): Promise<void> {
  exchange.start(reply.statusCode ?? 0, headers);
  for await (const chunk of reply) {
    if (!exchange.write(chunk as Buffer)) await exchange.drained();
  }
  exchange.end();
}
