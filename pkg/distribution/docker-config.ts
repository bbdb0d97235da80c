import { CapitanError } from "../errors/index.ts";
import { asMap, asString, parseJson, type JsonMap } from "../json/index.ts";

/** A password, or a token that the token server changes into short-lived ones. */
export type Login =
  | { readonly username: string; readonly password: string }
  | { readonly identityToken: string };

/** Logins by registry host, or by host and the beginning of the repository's path. */
export type DockerConfig = ReadonlyMap<string, Login>;

/** A person's own docker config: it may name programs that know the logins. */
export type PersonalDockerConfig = {
  readonly logins: DockerConfig;
  readonly credsStore: string | undefined;
  readonly credHelpers: ReadonlyMap<string, string>;
};

/** A program that knows a login, and what to ask it for. */
export type Helper = { readonly program: string; readonly server: string };

/**
 * Reads `.dockerconfigjson` of a Secret, which is a tenant's input: one that names programs to run
 * is refused. `what` names the Secret. Throws SecretInvalid, without content.
 */
export function parseDockerConfig(text: string, what: string): DockerConfig {
  const config = parse(text, what);
  if (config["credsStore"] !== undefined || config["credHelpers"] !== undefined)
    throw invalid(
      what,
      "credsStore and credHelpers name programs, which are not run for a Secret; write the login into auths",
    );
  const logins = Object.entries(asMap(config["auths"])).map(([key, entry]) => {
    const login = loginOf(asMap(entry), what);
    if (login === undefined)
      throw invalid(what, "an entry has neither auth nor username and password nor identitytoken");
    return [keyOf(key), login] as const;
  });
  return new Map(logins);
}

/** Reads a person's own `config.json`, for the CLI only. Throws SecretInvalid, without content. */
export function parsePersonalDockerConfig(text: string, what: string): PersonalDockerConfig {
  const config = parse(text, what);
  const logins = new Map<string, Login>();
  for (const [key, entry] of Object.entries(asMap(config["auths"]))) {
    // docker leaves an empty entry where a helper keeps the login.
    const login = loginOf(asMap(entry), what);
    if (login !== undefined) logins.set(keyOf(key), login);
  }
  const helpers = Object.entries(asMap(config["credHelpers"])).flatMap(([key, name]) =>
    typeof name === "string" ? [[keyOf(key), name] as const] : [],
  );
  const credsStore = asString(config["credsStore"]);
  return { logins, credsStore, credHelpers: new Map(helpers) };
}

/** The helper that knows the login for a host, if there is one. Throws SecretInvalid when its name is a path. */
export function helperFor(config: PersonalDockerConfig, host: string): Helper | undefined {
  const key = keyOf(host);
  const name = config.credHelpers.get(key) ?? config.credsStore;
  if (name === undefined || name === "") return undefined;
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name))
    throw invalid("docker's config.json", `${JSON.stringify(name)} is not the name of a helper`);
  const server = key === "docker.io" ? "https://index.docker.io/v1/" : key;
  return { program: `docker-credential-${name}`, server };
}

/** What a helper prints for `get`: a login, or undefined when it has none. Throws SecretInvalid, without content. */
export function parseHelperReply(text: string, what: string): Login | undefined {
  const reply = parse(text, what);
  const [username, secret] = [asString(reply["Username"]), asString(reply["Secret"])];
  if (username === undefined || secret === undefined || secret === "") return undefined;
  return username === "<token>" ? { identityToken: secret } : { username, password: secret };
}

/** The config with one more login, for all of a host. */
export function withLogin(config: DockerConfig, host: string, login: Login): DockerConfig {
  return new Map([...config, [keyOf(host), login]]);
}

/** The login for a repository, if the config has one: the key with the longest path wins. */
export function credentialsFor(
  config: DockerConfig | undefined,
  host: string,
  repository: string,
): Login | undefined {
  const parts = [keyOf(host), ...repository.split("/")];
  const keys = parts.map((_, i) => parts.slice(0, parts.length - i).join("/"));
  const key = keys.find((candidate) => config?.has(candidate) === true);
  return key === undefined ? undefined : config?.get(key);
}

function parse(text: string, what: string): JsonMap {
  try {
    return asMap(parseJson(text));
  } catch {
    throw invalid(what, "is not JSON");
  }
}

/** `https://index.docker.io/v1/` and the like as the host, `host/team` as it is. */
function keyOf(key: string): string {
  const [host = "", ...path] = key
    .replace(/^https?:\/\//, "")
    .replace(/\/+$/, "")
    .split("/");
  const name = /^(?:index|registry-1)\.docker\.io$/.test(host) ? "docker.io" : host;
  return /^v[12]$/.test(path[0] ?? "") ? name : [name, ...path].join("/");
}

function loginOf(entry: JsonMap, what: string): Login | undefined {
  const identityToken = asString(entry["identitytoken"]);
  if (identityToken !== undefined && identityToken !== "") return { identityToken };
  const auth = asString(entry["auth"]);
  if (auth === undefined || auth === "") {
    const [username, password] = [asString(entry["username"]), asString(entry["password"])];
    return username === undefined || password === undefined ? undefined : { username, password };
  }
  const text = Buffer.from(auth, "base64").toString("utf8");
  const colon = text.indexOf(":");
  if (colon < 0) throw invalid(what, "an entry's auth is not user:password in base64");
  return { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

const invalid = (what: string, message: string) =>
  new CapitanError("SecretInvalid", `${what}: ${message}`);
