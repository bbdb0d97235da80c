import {
  credentialsFor,
  mayReceiveCredentials,
  parseChallenge,
  type Challenge,
  type DockerConfig,
  type Login,
} from "../distribution/index.ts";
import { CapitanError } from "../errors/index.ts";
import { asMap, asNumber, asString, parseJson } from "../json/index.ts";

const tokenLifeDefaultS = 60;

type Token = { readonly value: string; readonly untilMs: number };

/** One request to a token server: a GET, or a POST when there is a form. Redirects are not followed. */
export type TokenRequest = {
  readonly url: URL;
  readonly form: URLSearchParams | undefined;
  readonly authorization: string | undefined;
};

type Fetch = (request: TokenRequest) => Promise<{ readonly status: number; readonly body: Buffer }>;

export type RegistryIdentity = {
  readonly host: string;
  readonly repository: string;
  readonly insecure: boolean;
  readonly login: DockerConfig | undefined;
};

/** What we show a registry to be let in: a password, or tokens by scope that its token server gave us. */
export class RegistryAuth {
  readonly #identity: RegistryIdentity;
  readonly #tokens = new Map<string, Token>();
  #basic = false;

  constructor(identity: RegistryIdentity) {
    this.#identity = identity;
  }

  /** The value of `Authorization` for a scope, if the registry has asked for one. */
  authorization(scope: string): string | undefined {
    const token = this.#tokens.get(scope);
    if (token !== undefined && token.untilMs > performance.now()) return `Bearer ${token.value}`;
    const login = this.#login();
    return this.#basic && login !== undefined ? basicOf(login) : undefined;
  }

  /** Whether there is something to show at all. */
  hasLogin(): boolean {
    return this.#login() !== undefined;
  }

  /** Does what the registry asks for in `WWW-Authenticate`. Throws RegistryDenied. */
  async answer(headers: readonly string[], scope: string, fetch: Fetch): Promise<void> {
    const challenges = headers.map(parseChallenge).filter((c) => c !== undefined);
    const bearer = challenges.find((c) => c.scheme === "bearer");
    if (bearer !== undefined) this.#tokens.set(scope, await this.#token(bearer, scope, fetch));
    else if (challenges.some((c) => c.scheme === "basic")) this.#basic = true;
  }

  async #token(
    { realm, service }: Extract<Challenge, { scheme: "bearer" }>,
    scope: string,
    fetch: Fetch,
  ): Promise<Token> {
    const { host, insecure } = this.#identity;
    if (realm.protocol !== "https:" && !(insecure && realm.protocol === "http:"))
      throw new CapitanError(
        "RegistryDenied",
        `${host} names a token server without TLS: ${realm.host}`,
      );
    const login = this.#login();
    const trusted = mayReceiveCredentials(realm, host, insecure);
    const reply = await fetch(
      tokenRequest({ realm, service, scopes: scope.split(" ") }, trusted ? login : undefined),
    );
    if (reply.status === 200) return tokenOf(reply.body, host);
    const withheld =
      login !== undefined && !trusted
        ? " (our credentials are not sent there: it is not below the registry's domain)"
        : "";
    throw new CapitanError(
      "RegistryDenied",
      `the token server ${realm.host} of ${host} answered HTTP ${reply.status}${withheld}`,
    );
  }

  #login(): Login | undefined {
    const { login, host, repository } = this.#identity;
    return credentialsFor(login, host, repository);
  }
}

type Asked = { readonly realm: URL; readonly service: string; readonly scopes: readonly string[] };

/** Distribution-spec token authentication; with an identity token its OAuth2 form. */
function tokenRequest({ realm, service, scopes }: Asked, login: Login | undefined): TokenRequest {
  if (login !== undefined && "identityToken" in login) {
    const form = new URLSearchParams({
      grant_type: "refresh_token",
      service,
      client_id: "capitan",
      scope: scopes.join(" "),
      refresh_token: login.identityToken,
    });
    return { url: realm, form, authorization: undefined };
  }
  const url = new URL(realm);
  if (service !== "") url.searchParams.set("service", service);
  for (const scope of scopes) url.searchParams.append("scope", scope);
  return { url, form: undefined, authorization: login === undefined ? undefined : basicOf(login) };
}

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

function basicOf(login: Login): string | undefined {
  if ("identityToken" in login) return undefined;
  return `Basic ${Buffer.from(`${login.username}:${login.password}`).toString("base64")}`;
}
