import { createHash } from "node:crypto";
import type { Readable } from "node:stream";
import ssh2 from "ssh2";
import { CapitanError, messageOf } from "../errors/index.ts";
import {
  cleanText,
  encodePacket,
  formatGitUrl,
  hostKeysOf,
  judgeHostKey,
  PacketReader,
  type GitLocation,
  type HostKeys,
  type SshCredentials,
} from "../gitdata/index.ts";
import {
  connectMs,
  idleMs,
  type GitReply,
  type GitRequest,
  type GitService,
  type GitTransport,
} from "./transport.ts";

type Client = InstanceType<typeof ssh2.Client>;
type Channel = ssh2.ClientChannel;
type Opened = { readonly channel: Channel; readonly packets: PacketReader };

/** How GitHub, GitLab and Gitea call a key that may not do this. */
const denied = /read.only|denied|not allowed|permission|forbidden/i;
/** What the server may write on its error channel before we stop to listen. */
const saidBytesMax = 4 * 1024;

/**
 * Git over SSH: one connection, one channel, one command, `git-upload-pack` or `git-receive-pack`, to a server whose host
 * key is in known_hosts. The greeting and what follows go over the same channel.
 */
export class SshTransport implements GitTransport {
  readonly #location: GitLocation;
  readonly #url: string;
  readonly #credentials: SshCredentials;
  readonly #hostKeys: HostKeys;
  readonly #client: Client = new ssh2.Client();
  readonly #service: GitService;
  #opened: Opened | undefined;
  #said = "";
  #broken: string | undefined;

  /** Throws SecretInvalid, HostKeyRefused when no key of the host is known. `what` names the Secret. */
  constructor(
    location: GitLocation,
    credentials: SshCredentials,
    what: string,
    service: GitService = "git-upload-pack",
  ) {
    this.#service = service;
    this.#location = location;
    this.#url = formatGitUrl(location);
    this.#credentials = credentials;
    this.#hostKeys = hostKeysOf(credentials.knownHosts, location, what);
    if (this.#hostKeys.trusted.length === 0)
      throw new CapitanError("HostKeyRefused", `${this.#url}: known_hosts has no key of this host`);
    if (credentials.identity === undefined) return;
    const [key] = [ssh2.utils.parseKey(credentials.identity, credentials.passphrase)].flat();
    if (key === undefined || key instanceof Error || !key.isPrivateKey())
      throw new CapitanError(
        "SecretInvalid",
        `${what}: identity is not a private key that can be read; the passphrase, if it has one, belongs into password`,
      );
  }

  close(): Promise<void> {
    this.#client.destroy();
    return Promise.resolve();
  }

  async request(asked: GitRequest): Promise<GitReply> {
    const { url, headers, body = [], signal } = asked;
    const isGreeting = url.endsWith(`/info/refs?service=${this.#service}`);
    if (isGreeting) this.#opened = await this.#open(headers?.["git-protocol"], signal);
    const opened = this.#opened;
    if (opened === undefined)
      throw new CapitanError("InternalError", `${this.#url}: asked before it was greeted`);
    for await (const piece of body) opened.channel.write(piece);
    return {
      url,
      method: isGreeting ? "GET" : "POST",
      statusCode: 200,
      statusMessage: "OK",
      headers: { "content-type": contentType(this.#service, isGreeting) },
      body: isGreeting ? this.#greeting(opened.packets) : allOf(opened.packets),
    };
  }

  /** As HTTP has it: the name of the service, then what the server says up to the first flush. */
  async *#greeting(packets: PacketReader): AsyncGenerator<Uint8Array, void> {
    yield encodePacket({ kind: "data", data: Buffer.from(`# service=${this.#service}\n`) });
    yield encodePacket({ kind: "flush" });
    for (let some = false; ; some = true) {
      const packet = await packets.next();
      if (packet === undefined) throw this.#refusedBy(some);
      yield encodePacket(packet);
      if (packet.kind === "flush") return;
    }
  }

  #refusedBy(some: boolean): CapitanError {
    const said = cleanText(this.#said);
    const why = said === "" ? "the server ended without an answer" : `the server says: ${said}`;
    const code = some ? "GitUnreachable" : denied.test(said) ? "GitDenied" : "GitNotFound";
    return new CapitanError(code, `${this.#url}: ${why}`);
  }

  async #open(protocol: string | undefined, signal: AbortSignal | undefined): Promise<Opened> {
    await this.#connect(signal);
    const env = protocol === undefined ? {} : { GIT_PROTOCOL: protocol };
    const command = `${this.#service} ${quoted(this.#location.path)}`;
    const channel = await new Promise<Channel>((resolve, reject) => {
      const failed = (error: unknown) => reject(this.#unreachable(messageOf(error)));
      this.#client.once("close", () => failed(this.#broken ?? "the connection ended"));
      try {
        this.#client.exec(command, { env }, (error, opened) =>
          error === undefined ? resolve(opened) : failed(error),
        );
      } catch (error) {
        failed(error);
      }
    });
    channel.stderr.on("data", (data: Buffer) => {
      if (this.#said.length < saidBytesMax) this.#said += data.toString("utf8");
    });
    return { channel, packets: new PacketReader(this.#read(channel), this.#url) };
  }

  async #connect(signal: AbortSignal | undefined): Promise<void> {
    const { host, port, user } = this.#location;
    const { identity, passphrase, agent } = this.#credentials;
    const client = this.#client;
    let refusal: CapitanError | undefined;
    if (signal?.aborted === true) throw this.#unreachable("aborted");
    const abort = () => {
      this.#broken = "aborted, or not done in time";
      client.destroy();
    };
    signal?.addEventListener("abort", abort, { once: true });
    await new Promise<void>((resolve, reject) => {
      client.once("ready", resolve);
      client.once("close", () =>
        reject(refusal ?? this.#unreachable(this.#broken ?? "the connection ended")),
      );
      client.on("error", (error) => {
        this.#broken ??= messageOf(error);
        reject(refusal ?? this.#failure(error));
      });
      client.connect({
        host,
        port,
        username: user,
        ...(identity === undefined ? {} : { privateKey: identity }),
        ...(agent === undefined ? {} : { agent }),
        ...(passphrase === undefined ? {} : { passphrase }),
        algorithms: { serverHostKey: this.#hostKeys.algorithms as ssh2.ServerHostKeyAlgorithm[] },
        hostVerifier: (key: Buffer) => (refusal = this.#refusalOf(key)) === undefined,
        readyTimeout: connectMs,
        keepaliveInterval: idleMs / 2,
        keepaliveCountMax: 2,
        authHandler: [
          ...(agent === undefined ? [] : (["agent"] as const)),
          ...(identity === undefined ? [] : (["publickey"] as const)),
        ],
      });
    });
  }

  #refusalOf(key: Buffer): CapitanError | undefined {
    const verdict = judgeHostKey(this.#hostKeys, key);
    if (verdict === "trusted") return undefined;
    const print = createHash("sha256").update(key).digest("base64").replace(/=+$/, "");
    const why =
      verdict === "revoked" ? "is revoked in known_hosts" : "is not the one in known_hosts";
    const message = `${this.#url}: the host key SHA256:${print} ${why}`;
    return new CapitanError("HostKeyRefused", message);
  }

  #failure(error: Error & { level?: string }): CapitanError {
    if (error.level === "client-authentication")
      return new CapitanError("GitDenied", `${this.#url}: the deploy key was not accepted`);
    if (error.level === "handshake" && /no matching host key/i.test(error.message)) {
      const message = `${this.#url}: the server has no host key of a kind that is in known_hosts`;
      return new CapitanError("HostKeyRefused", message);
    }
    return this.#unreachable(messageOf(error), error);
  }

  /** What the server writes. A connection that broke ends like one that was closed: the difference is told here. */
  async *#read(channel: Readable): AsyncGenerator<Uint8Array, void> {
    try {
      yield* channel as AsyncIterable<Uint8Array>;
    } catch (error) {
      throw this.#unreachable(messageOf(error), error);
    }
    if (this.#broken !== undefined) throw this.#unreachable(this.#broken);
  }

  #unreachable(why: string, cause?: unknown): CapitanError {
    const message = `${this.#url}: ${cleanText(why)}`;
    return new CapitanError("GitUnreachable", message, { cause });
  }
}

async function* allOf(packets: PacketReader): AsyncGenerator<Uint8Array, void> {
  for (let packet = await packets.next(); packet !== undefined; packet = await packets.next())
    yield encodePacket(packet);
}

const contentType = (service: GitService, isGreeting: boolean) =>
  `application/x-${service}-${isGreeting ? "advertisement" : "result"}`;

/** One word for the server's shell, whatever is in it. */
function quoted(path: string): string {
  const own = path.startsWith("/~") ? path.slice(1) : path;
  return `'${own.replaceAll("'", String.raw`'\''`)}'`;
}
