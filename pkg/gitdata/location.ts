import { CapitanError } from "../errors/index.ts";
import { isLoopback } from "../oci/index.ts";

/** Where a repository is. */
export type GitLocation = {
  readonly scheme: "https" | "http" | "ssh";
  /** In lower case; IPv6 addresses without brackets. */
  readonly host: string;
  readonly port: number;
  /** Whom to log in as; only SSH URLs carry it. */
  readonly user: string;
  /** Begins with a slash. As written for HTTP, decoded for SSH, where it becomes an argument. */
  readonly path: string;
};

const ports = { https: 443, http: 80, ssh: 22 } as const;
const urlLengthMax = 1024;
const pattern =
  /^(https?|ssh):\/\/(?:([^@/]*)@)?([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?((?:\/[A-Za-z0-9._~+%@=,-]+)+)\/?$/;
const scpLike = /^([A-Za-z0-9._-]+@)?([A-Za-z0-9.-]+):(?!\/\/|:)\/?([A-Za-z0-9._~/-]+)$/;

/**
 * Reads `https://HOST/PATH` or `ssh://[USER@]HOST[:PORT]/PATH`. Nothing else is ever dialled: no
 * helper programs, no files, no options. `http://` needs `insecure: true`, or loopback. Throws
 * RefInvalid, without a login that the URL may carry.
 */
export function parseGitUrl(url: string, insecure: boolean | undefined): GitLocation {
  const [, scheme = "", user, host = "", port, path = ""] = shortMatch(pattern, url);
  if (!isScheme(scheme)) throw refused(url, hintFor(url));
  if (scheme === "http" && !(insecure ?? isLoopback(host)))
    throw refused(url, "plain http needs insecure: true");
  const decoded = checkedPath(path, url);
  return {
    scheme,
    host: host.toLowerCase().replaceAll(/[[\]]/g, ""),
    port: portOf(scheme, port, url),
    user: userOf(scheme, user, url),
    path: scheme === "ssh" ? decoded : path,
  };
}

function shortMatch(shape: RegExp, url: string): readonly (string | undefined)[] {
  return url.length <= urlLengthMax ? (shape.exec(url) ?? []) : [];
}

const isScheme = (text: string): text is GitLocation["scheme"] => Object.hasOwn(ports, text);

function portOf(scheme: GitLocation["scheme"], port: string | undefined, url: string): number {
  const number = port === undefined ? ports[scheme] : Number(port);
  if (number >= 1 && number <= 65_535) return number;
  throw refused(url, "the port is not between 1 and 65535");
}

/** The URL again, as messages show it and HTTP asks for it. */
export function formatGitUrl({ scheme, host, port, user, path }: GitLocation): string {
  const name = host.includes(":") ? `[${host}]` : host;
  const at = scheme === "ssh" ? `${user}@` : "";
  return `${scheme}://${at}${name}${port === ports[scheme] ? "" : `:${port}`}${path}`;
}

/** Whether two URLs are of the same repository; by HTTPS and by SSH it is the same one. */
export function isSameRepository(one: GitLocation, other: GitLocation): boolean {
  const isSameDoor = one.scheme !== other.scheme || one.port === other.port;
  return isSameDoor && one.host === other.host && plainPath(one) === plainPath(other);
}

const plainPath = ({ path }: GitLocation) => path.replace(/\.git$/, "");

function userOf(scheme: GitLocation["scheme"], user: string | undefined, url: string): string {
  if (scheme !== "ssh" && user !== undefined)
    throw refused(url, "a login in the URL is seen by everybody; put it into the Secret");
  const name = user ?? "git";
  if (!/^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(name))
    throw refused(url, "before the @ there may be the name of a user only");
  return name;
}

function checkedPath(path: string, url: string): string {
  const decoded = decode(path);
  const segments = decoded?.split("/") ?? [".."];
  const broken =
    decoded === undefined ||
    path.toLowerCase().includes("%2f") ||
    Array.from(decoded).some((c) => c < " " || c === "\\" || c === "\u007f");
  if (broken || segments.includes("..") || segments.includes("."))
    throw refused(url, "the path is not a plain one");
  return decoded;
}

function decode(path: string): string | undefined {
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}

function hintFor(url: string): string {
  const [, user = "git@", host, path] = shortMatch(scpLike, url);
  if (host !== undefined && path !== undefined) return `write it as ssh://${user}${host}/${path}`;
  return "it is not https://HOST[:PORT]/PATH or ssh://[USER@]HOST[:PORT]/PATH";
}

function refused(url: string, why: string): CapitanError {
  return new CapitanError("RefInvalid", `Git URL ${JSON.stringify(shown(url))}: ${why}`);
}

/** A URL that may carry a login, without it. */
function shown(url: string): string {
  const at = url.lastIndexOf("@");
  const start = url.indexOf("://");
  const hidesLogin = start >= 0 && at > start;
  return (hidesLogin ? `${url.slice(0, start + 3)}…${url.slice(at)}` : url).slice(0, 200);
}
