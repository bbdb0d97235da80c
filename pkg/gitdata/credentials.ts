import { CapitanError } from "../errors/index.ts";
import { asMap, asString } from "../json/index.ts";
import type { GitLocation } from "./location.ts";

/** How we show who we are, and know who answers. */
export type GitCredentials = {
  /** The CA of the server's certificate, in PEM. */
  readonly ca?: string | undefined;
  /** The value of `Authorization`. */
  readonly authorization?: string | undefined;
  readonly ssh?: SshCredentials | undefined;
};

/** A deploy key or a person's own, and the keys of the hosts that it may be shown to. */
export type SshCredentials = {
  /** A private key; a person may have an agent in its place, or both. */
  readonly identity: string | undefined;
  /** The socket of an SSH agent. No Secret names one. */
  readonly agent?: string | undefined;
  readonly passphrase: string | undefined;
  readonly knownHosts: string;
};

const pem = /^-----BEGIN ([A-Z ]*PRIVATE KEY)-----\n([^-]*)-----END /;
const identityLengthMax = 32 * 1024;
/** ssh-keygen's own number is 16. */
const roundsMax = 256;

/**
 * Reads `data` of a Secret in Flux's form for a GitRepository: for https `username` and `password`
 * or `bearerToken`, and `ca.crt` (or `caFile`); for ssh `identity` and `known_hosts`, and `password`
 * when the identity has a passphrase. `what` names the Secret. Throws SecretInvalid, without content.
 */
export function parseGitSecret(
  data: unknown,
  { scheme }: Pick<GitLocation, "scheme">,
  what: string,
): GitCredentials {
  const values = new Map(
    Object.entries(asMap(data)).map(([key, value]) => [
      key,
      Buffer.from(asString(value) ?? "", "base64").toString("utf8"),
    ]),
  );
  if (scheme === "ssh") return { ssh: sshOf(values, what) };
  const ca = values.get("ca.crt") ?? values.get("caFile");
  const authorization = authorizationOf(values, what);
  if (ca === undefined && authorization === undefined)
    throw invalid(what, "for https it needs username and password, bearerToken, or ca.crt");
  if (ca !== undefined && !ca.includes("-----BEGIN CERTIFICATE-----"))
    throw invalid(what, "ca.crt is not a certificate in PEM");
  return { ca, authorization };
}

type Values = ReadonlyMap<string, string>;

function sshOf(values: Values, what: string): SshCredentials {
  const [identity, knownHosts] = [values.get("identity"), values.get("known_hosts")];
  if (identity === undefined || knownHosts === undefined)
    throw invalid(what, "for ssh it needs identity and known_hosts");
  checkIdentity(identity, what);
  return { identity, passphrase: values.get("password"), knownHosts };
}

/**
 * A key of OpenSSH says itself how much work its passphrase takes (PROTOCOL.key: name, cipher, "bcrypt",
 * salt and rounds), and all else stands still meanwhile.
 */
function checkIdentity(identity: string, what: string): void {
  const [, kind = "", body = ""] = pem.exec(identity.trim()) ?? [];
  if (kind === "" || identity.length > identityLengthMax)
    throw invalid(what, "identity is not a private key in OpenSSH's or PEM form");
  if (!kind.startsWith("OPENSSH ")) return;
  const key = Buffer.from(body, "base64");
  let offset = "openssh-key-v1\0".length;
  const texts = [0, 1, 2].map(() => {
    const length = key.length < offset + 4 ? 0 : key.readUInt32BE(offset);
    const text = key.subarray(offset + 4, offset + 4 + length);
    offset += 4 + length;
    return text;
  });
  const options = texts[2] ?? Buffer.alloc(0);
  if (options.length >= 4 && options.readUInt32BE(options.length - 4) > roundsMax)
    throw invalid(what, `the passphrase of identity takes more than ${roundsMax} rounds`);
}

function authorizationOf(values: Values, what: string): string | undefined {
  const login = [values.get("username"), values.get("password")] as const;
  const token = values.get("bearerToken");
  const isLogin = login.some((value) => value !== undefined);
  if (token !== undefined && isLogin)
    throw invalid(what, "it has both bearerToken and username or password");
  if (token !== undefined) return bearer(token, what);
  return isLogin ? basic(login, what) : undefined;
}

function bearer(token: string, what: string): string {
  if (!/^[\x21-\x7e]+$/.test(token))
    throw invalid(what, "bearerToken has a space or a line break, perhaps at its end");
  return `Bearer ${token}`;
}

function basic(
  [username, password]: readonly [string | undefined, string | undefined],
  what: string,
): string {
  if (username === undefined || password === undefined)
    throw invalid(what, "username and password belong together");
  const login = `${username}:${password}`;
  if (/\p{Cc}/u.test(login) || username.includes(":"))
    throw invalid(
      what,
      "username or password has a line break, perhaps at its end, or username a colon",
    );
  return `Basic ${Buffer.from(login).toString("base64")}`;
}

const invalid = (what: string, why: string) => new CapitanError("SecretInvalid", `${what}: ${why}`);
