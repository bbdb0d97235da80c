import type { IncomingMessage } from "node:http";
import { Agent, request } from "node:https";
import { parseWorkloadKubeconfig, type ConnectionConfig } from "../../../pkg/kubeconfig/index.ts";
import { endToEnd, type Exchange } from "./exchange.ts";

/** As whom the API server is asked: the admin of the kubeconfig, or the bearer of a header. */
export type Identity = { readonly authorization: string } | "admin";

const keepAliveMs = 30_000;

/** The API server behind a proxy. Over HTTP/1.1, where to give a request up is to close a connection. */
export class Upstream {
  readonly #config: ConnectionConfig;
  readonly #admin: Agent;
  /** Without the client certificate, which an API server believes before any token. */
  readonly #bearer: Agent;

  /** `kubeconfig` is its text, with everything inline. Throws KubeconfigInvalid or KubeconfigRefused. */
  constructor(kubeconfig: string) {
    this.#config = parseWorkloadKubeconfig(kubeconfig, "the proxy's upstream");
    const { ca, serverName, credentials } = this.#config;
    const options = {
      keepAlive: true,
      timeout: keepAliveMs,
      ...(ca === undefined ? {} : { ca }),
      ...(serverName === undefined ? {} : { servername: serverName }),
    };
    this.#bearer = new Agent(options);
    this.#admin = new Agent({ ...options, ...credentials.certificate });
  }

  /**
   * Asks the API server; the reply's head. Rejects when there is none, or when `stop` aborts first;
   * it ends the body too.
   */
  async ask(
    { facts, url, headers }: Exchange,
    body: Buffer,
    identity: Identity,
    stop: AbortSignal | undefined,
  ): Promise<IncomingMessage> {
    const kept = endToEnd(headers);
    for (const ours of ["accept-encoding", "content-length", "host", "authorization"])
      delete kept[ours];
    const authorization = await this.#authorizationOf(identity);
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const outgoing = request(`${this.#config.server}${url}`, {
      method: facts.method,
      agent: identity === "admin" ? this.#admin : this.#bearer,
      headers: {
        ...kept,
        ...(authorization === undefined ? {} : { authorization }),
        ...(body.length === 0 ? {} : { "content-length": body.length }),
      },
      ...(stop === undefined ? {} : { signal: stop }),
    });
    outgoing.once("response", resolve);
    outgoing.on("error", reject);
    outgoing.end(body);
    return promise;
  }

  /** Ends all connections. */
  close(): void {
    this.#admin.destroy();
    this.#bearer.destroy();
  }

  async #authorizationOf(identity: Identity): Promise<string | undefined> {
    if (identity !== "admin") return identity.authorization;
    return this.#config.credentials.authorization?.();
  }
}
