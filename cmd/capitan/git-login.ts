import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Options } from "yargs";
import { CapitanError, isCapitanError, messageOf } from "../../pkg/errors/index.ts";
import {
  formatGitUrl,
  parseGitSecret,
  type GitCredentials,
  type GitLocation,
} from "../../pkg/gitdata/index.ts";
import { runProgram } from "./git-program.ts";

/** Options of every command that talks to a Git server. */
export const loginOptions = {
  "ssh-key": {
    type: "string",
    describe:
      "Your private key for ssh; when not set your agent (SSH_AUTH_SOCK) and ~/.ssh/id_ed25519, id_ecdsa, id_rsa",
  },
  "known-hosts": {
    type: "string",
    describe: "Keys of SSH servers; ~/.ssh/known_hosts when not set",
  },
  "ca-file": {
    type: "string",
    describe: "PEM file of the Git server's CA; GIT_SSL_CAINFO when not set",
  },
} as const satisfies Record<string, Options>;

export type LoginArguments = {
  readonly "ssh-key"?: string | undefined;
  readonly "known-hosts"?: string | undefined;
  readonly "ca-file"?: string | undefined;
  /** The repository, when the person has named it. */
  readonly repo?: string | undefined;
};

/** How a person shows a Git server who they are. `what` says where that is from, for messages. */
export type GitLogin = {
  readonly credentials: GitCredentials;
  readonly what: string;
  /** Runs `work`, and tells the credential helper whether what it gave was good. */
  readonly using: <T>(work: () => Promise<T>) => Promise<T>;
};

const usualKeys = ["id_ed25519", "id_ecdsa", "id_rsa"];
const systemKnownHosts = "/etc/ssh/ssh_known_hosts";

/**
 * A token from the environment, the person's credential helper, or their SSH key or agent. Throws
 * FileInvalid, SecretInvalid, GitDenied when there is no SSH key at all.
 */
export async function gitLogin(location: GitLocation, args: LoginArguments): Promise<GitLogin> {
  return location.scheme === "ssh" ? sshLogin(location, args) : httpLogin(location, args);
}

async function httpLogin(location: GitLocation, args: LoginArguments): Promise<GitLogin> {
  const held = await caOf(args);
  const ca = held === undefined ? {} : { "ca.crt": held };
  const token = ownToken(location, args);
  if (token !== undefined) {
    const username = process.env["CAPITAN_GIT_USERNAME"] ?? "git";
    return fixed(location, { ...ca, username, password: token }, "CAPITAN_GIT_TOKEN");
  }
  const helped = await askHelper("fill", describe(location));
  const [username, password] = ["username", "password"].map((key) => helped?.get(key));
  if (helped === undefined || username === undefined || password === undefined)
    return fixed(
      location,
      ca,
      "CAPITAN_GIT_TOKEN (with CAPITAN_GIT_HOST or --repo) and your credential helper",
    );
  const login = fixed(location, { ...ca, username, password }, "your credential helper");
  return { ...login, using: (work) => reported(work, helped) };
}

/**
 * The token in the environment, for a host that the person has named: who writes `.capitan.yaml` names
 * another one, and would get it.
 */
function ownToken({ host }: GitLocation, { repo }: LoginArguments): string | undefined {
  const token = process.env["CAPITAN_GIT_TOKEN"] ?? "";
  const only = process.env["CAPITAN_GIT_HOST"];
  const isMeant = only === undefined ? repo !== undefined : only.toLowerCase() === host;
  return token === "" || !isMeant ? undefined : token;
}

/** The CA that the server's certificate is to be of, in PEM. */
export async function caOf(args: LoginArguments): Promise<string | undefined> {
  const file = args["ca-file"] ?? process.env["GIT_SSL_CAINFO"];
  return file === undefined ? undefined : readNamed(file, "the CA");
}

/** The same credentials, whatever becomes of them. */
function fixed(
  location: GitLocation,
  values: Readonly<Record<string, string>>,
  what: string,
): GitLogin {
  const data = Object.entries(values).map(([key, value]) => [
    key,
    Buffer.from(value).toString("base64"),
  ]);
  const credentials =
    data.length === 0 ? {} : parseGitSecret(Object.fromEntries(data), location, what);
  return { credentials, what, using: (work) => work() };
}

/** git-credential's own format. */
function describe({ scheme, host, port, path }: GitLocation): ReadonlyMap<string, string> {
  const { host: name } = new URL(formatGitUrl({ scheme, host, port, path, user: "" }));
  return new Map([
    ["protocol", scheme],
    ["host", name],
    ["path", path.slice(1)],
  ]);
}

async function reported<T>(
  work: () => Promise<T>,
  helped: ReadonlyMap<string, string>,
): Promise<T> {
  try {
    const result = await work();
    await askHelper("approve", helped);
    return result;
  } catch (error) {
    if (isCapitanError(error) && error.code === "GitDenied") await askHelper("reject", helped);
    throw error;
  }
}

/** What it prints is never shown. */
async function askHelper(
  verb: "fill" | "approve" | "reject",
  about: ReadonlyMap<string, string>,
): Promise<ReadonlyMap<string, string> | undefined> {
  const input = `${Array.from(about, ([key, value]) => `${key}=${value}\n`).join("")}\n`;
  const ran = await runProgram("git", ["credential", verb], { input });
  if (ran?.code !== 0) return undefined;
  const pairs = ran.stdout.split("\n").filter((line) => line.includes("="));
  return new Map(pairs.map((line) => [line.replace(/=.*/s, ""), line.replace(/^[^=]*=/, "")]));
}

async function sshLogin(location: GitLocation, args: LoginArguments): Promise<GitLogin> {
  const knownHosts = await knownHostsOf(args);
  const own = args["ssh-key"];
  const agent = own === undefined ? process.env["SSH_AUTH_SOCK"] : undefined;
  const identity = own === undefined ? await usualKey() : await readNamed(own, "--ssh-key");
  const passphrase = process.env["CAPITAN_SSH_PASSPHRASE"];
  const what = own ?? "your SSH key or agent";
  if (identity === undefined && agent === undefined)
    throw new CapitanError(
      "GitDenied",
      `${formatGitUrl(location)}: there is no agent, no ~/.ssh/id_ed25519, and no --ssh-key`,
    );
  return {
    credentials: { ssh: { identity, passphrase, knownHosts, agent } },
    what,
    using: (work) => work(),
  };
}

/** What is known of SSH servers here. */
export async function knownHostsOf(args: LoginArguments): Promise<string> {
  const named = args["known-hosts"];
  if (named !== undefined) return readNamed(named, "--known-hosts");
  const files = [join(homedir(), ".ssh", "known_hosts"), systemKnownHosts];
  const texts = await Promise.all(files.map((file) => readFile(file, "utf8").catch(() => "")));
  return texts.join("\n");
}

/** The first key that is there and that opens without a passphrase, or with the one we have. */
async function usualKey(): Promise<string | undefined> {
  for (const name of usualKeys) {
    const text = await readFile(join(homedir(), ".ssh", name), "utf8").catch(() => undefined);
    const isOpen = process.env["CAPITAN_SSH_PASSPHRASE"] !== undefined || !isLocked(text ?? "");
    if (text !== undefined && isOpen) return text;
  }
  return undefined;
}

/** Whether a private key has a passphrase: OpenSSH's own form names the cipher first (PROTOCOL.key). */
export function isLocked(identity: string): boolean {
  if (!identity.includes("BEGIN OPENSSH PRIVATE KEY")) return identity.includes("ENCRYPTED");
  const body = Buffer.from(identity.replaceAll(/-----[^-]+-----|\s/g, ""), "base64");
  const magic = "openssh-key-v1\0".length;
  return body.toString("latin1", magic + 4, magic + 8) !== "none";
}

async function readNamed(file: string, what: string): Promise<string> {
  return readFile(file, "utf8").catch((error: unknown) => {
    throw new CapitanError("FileInvalid", `${what}: ${messageOf(error)}`);
  });
}
