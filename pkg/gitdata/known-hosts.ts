import { createHmac, timingSafeEqual } from "node:crypto";
import { CapitanError } from "../errors/index.ts";

/** What a known_hosts file says about one host. */
export type HostKeys = {
  readonly trusted: readonly Buffer[];
  readonly revoked: readonly Buffer[];
  /** The kinds of signature by which the trusted keys can be shown, so that the server shows one of these. RSA never with SHA-1. */
  readonly algorithms: readonly string[];
};

export type HostKeyVerdict = "trusted" | "revoked" | "changed" | "unknown";

type Line = {
  readonly marker: string;
  readonly hosts: string;
  readonly key: Buffer;
};

const signatures: Readonly<Record<string, readonly string[]>> = {
  "ssh-ed25519": ["ssh-ed25519"],
  "ecdsa-sha2-nistp256": ["ecdsa-sha2-nistp256"],
  "ecdsa-sha2-nistp384": ["ecdsa-sha2-nistp384"],
  "ecdsa-sha2-nistp521": ["ecdsa-sha2-nistp521"],
  "ssh-rsa": ["rsa-sha2-512", "rsa-sha2-256"],
};
const bytesMax = 256 * 1024;
const linesMax = 2_000;

/**
 * The keys of a host (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): plain and hashed names, patterns,
 * `!`, `[host]:port`, `@revoked`. Certificate authorities are passed over. Throws SecretInvalid.
 */
export function hostKeysOf(
  text: string,
  { host, port }: { readonly host: string; readonly port: number },
  what: string,
): HostKeys {
  if (text.length > bytesMax || text.split("\n").length > linesMax)
    throw new CapitanError("SecretInvalid", `${what}: known_hosts has more than ${linesMax} lines`);
  const name = nameOf({ host, port });
  const lines = text
    .split("\n")
    .flatMap((line, i) => parseLine(line, `${what}: known_hosts line ${i + 1}`));
  const own = lines.filter(({ hosts }) => matchesHosts(hosts, name));
  const keys = (marker: string) => own.filter((l) => l.marker === marker).map(({ key }) => key);
  const trusted = keys("");
  return { trusted, revoked: keys("@revoked"), algorithms: algorithmsOf(trusted) };
}

/** Lines for a host, in plain words: what another known_hosts needs of this one. */
export function formatHostKeys(
  { trusted }: HostKeys,
  location: { readonly host: string; readonly port: number },
): string {
  return trusted
    .map((key) => `${nameOf(location)} ${typeOf(key)} ${key.toString("base64")}\n`)
    .join("");
}

/** Whether this is the host that was met before. */
export function judgeHostKey({ trusted, revoked }: HostKeys, key: Buffer): HostKeyVerdict {
  if (revoked.some((other) => other.equals(key))) return "revoked";
  if (trusted.some((other) => other.equals(key))) return "trusted";
  return trusted.length > 0 ? "changed" : "unknown";
}

const nameOf = ({ host, port }: { readonly host: string; readonly port: number }) =>
  port === 22 ? host : `[${host}]:${port}`;

function algorithmsOf(keys: readonly Buffer[]): readonly string[] {
  const types = new Set(keys.map(typeOf));
  return [...types].flatMap((type) => signatures[type] ?? []);
}

function parseLine(line: string, what: string): readonly Line[] {
  const text = line.trim();
  if (text === "" || text.startsWith("#")) return [];
  const fields = text.split(/[ \t]+/);
  const marker = text.startsWith("@") ? (fields.shift() ?? "") : "";
  const [hosts = "", type = "", encoded = ""] = fields;
  const key = Buffer.from(encoded, "base64");
  if (type === "" || typeOf(key) !== type)
    throw new CapitanError("SecretInvalid", `${what} is not: host key-type key`);
  return [{ marker, hosts, key }];
}

/** A public key begins with the length and the name of its kind (RFC 4253 §6.6). */
function typeOf(key: Buffer): string {
  return key.length < 4 ? "" : key.toString("latin1", 4, 4 + key.readUInt32BE(0));
}

function matchesHosts(hosts: string, name: string): boolean {
  if (hosts.startsWith("|1|")) return matchesHash(hosts, name);
  const patterns = hosts.toLowerCase().split(",");
  if (patterns.some((p) => p.startsWith("!") && matchesPattern(p.slice(1), name))) return false;
  return patterns.some((p) => matchesPattern(p, name));
}

/** `|1|salt|HMAC-SHA1 of the name`. */
function matchesHash(hosts: string, name: string): boolean {
  const [, , salt = "", hash = ""] = hosts.split("|");
  const wanted = Buffer.from(hash, "base64");
  const found = createHmac("sha1", Buffer.from(salt, "base64")).update(name).digest();
  return wanted.length === found.length && timingSafeEqual(wanted, found);
}

/** `*` is any text and `?` any character. One pass with one place to go back to, so no pattern is slow. */
function matchesPattern(pattern: string, name: string): boolean {
  let [p, n, star, from] = [0, 0, -1, 0];
  while (n < name.length) {
    if (pattern[p] === "*") {
      star = p++;
      from = n;
    } else if (pattern[p] === "?" || pattern[p] === name[n]) {
      p++;
      n++;
    } else if (star >= 0) {
      p = star + 1;
      n = ++from;
    } else return false;
  }
  return /^\**$/.test(pattern.slice(p));
}
