import { CapitanError } from "../errors/index.ts";
import { asMap, asString, parseJson, type JsonMap } from "../json/index.ts";

export type Login = { readonly username: string; readonly password: string };

/** Logins by registry host, from a docker config. */
export type DockerConfig = ReadonlyMap<string, Login>;

/** Reads `.dockerconfigjson`. `what` names the Secret. Throws SecretInvalid, without content. */
export function parseDockerConfig(text: string, what: string): DockerConfig {
  const auths = asMap(parse(text, what)["auths"]);
  return new Map(
    Object.entries(auths).map(([host, entry]) => [hostOf(host), loginOf(asMap(entry), what)]),
  );
}

function parse(text: string, what: string): JsonMap {
  try {
    return asMap(parseJson(text));
  } catch {
    throw new CapitanError("SecretInvalid", `${what}: .dockerconfigjson is not JSON`);
  }
}

function hostOf(key: string): string {
  const host = key.replace(/^https?:\/\//, "").split("/")[0] ?? "";
  return host === "index.docker.io" ? "docker.io" : host;
}

function loginOf(entry: JsonMap, what: string): Login {
  const auth = asString(entry["auth"]);
  if (auth === undefined || auth === "") {
    const username = asString(entry["username"]);
    const password = asString(entry["password"]);
    if (username === undefined || password === undefined)
      throw new CapitanError(
        "SecretInvalid",
        `${what}: an entry has neither auth nor username and password`,
      );
    return { username, password };
  }
  const text = Buffer.from(auth, "base64").toString("utf8");
  const colon = text.indexOf(":");
  if (colon < 0)
    throw new CapitanError(
      "SecretInvalid",
      `${what}: an entry's auth is not user:password in base64`,
    );
  return { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** The login for a registry host, if the config has one. */
export function credentialsFor(config: DockerConfig | undefined, host: string): Login | undefined {
  return config?.get(host === "registry-1.docker.io" ? "docker.io" : host);
}
