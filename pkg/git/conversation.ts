import { CapitanError } from "../errors/index.ts";
import {
  fetchRequest,
  formatGitUrl,
  listRequest,
  PacketReader,
  pushRequest,
  readAdvertisement,
  readList,
  readPushReport,
  type Advertisement,
  type GitLocation,
  type PushReport,
  type RefUpdate,
  type ServerRef,
  type Want,
} from "../gitdata/index.ts";
import { packBytesMax, receivePack } from "../gitobjects/index.ts";
import { HttpTransport } from "./http.ts";
import { SshTransport } from "./ssh.ts";
import type { GitAccess, GitService, GitTransport } from "./transport.ts";

/** A list of references, and what may come besides a pack. */
const talkBytesMax = 16 * 1024 * 1024;

export type Peer = GitAccess & {
  readonly location: GitLocation;
  /** The Secret, or whatever else the credentials are from, for messages. */
  readonly secret: string;
};

/** A conversation with one service of a repository, ended whatever happens. Throws as GitTransport, and ArtifactCorrupt. */
export async function converse<T>(
  peer: Peer,
  service: GitService,
  until: AbortSignal,
  work: (conversation: Conversation) => Promise<T>,
): Promise<T> {
  const transport = transportTo(peer, service);
  const url = formatGitUrl(peer.location);
  try {
    const reply = await transport.request({
      url: `${url}/info/refs?service=${service}`,
      // There is no second version of writing.
      headers: service === "git-upload-pack" ? { "git-protocol": "version=2" } : {},
      signal: until,
    });
    const advertisement = await readAdvertisement(packetsOf(reply.body, url), url);
    return await work(new Conversation({ transport, service, url, until }, advertisement));
  } finally {
    await transport.close();
  }
}

function transportTo(peer: Peer, service: GitService): GitTransport {
  const { location, credentials, secret } = peer;
  if (location.scheme !== "ssh") return new HttpTransport(location, peer, service);
  if (credentials.ssh !== undefined)
    return new SshTransport(location, credentials.ssh, secret, service);
  throw new CapitanError(
    "GitDenied",
    `${formatGitUrl(location)}: ssh needs a Secret with identity and known_hosts`,
  );
}

type Line = {
  readonly transport: GitTransport;
  readonly service: GitService;
  readonly url: string;
  readonly until: AbortSignal;
};

/** What can be asked once the server has greeted us. */
export class Conversation {
  readonly advertisement: Advertisement;
  readonly #line: Line;

  constructor(line: Line, advertisement: Advertisement) {
    this.#line = line;
    this.advertisement = advertisement;
  }

  /** The references that begin so; of a server of version 1 all of them. */
  async list(prefix: string): Promise<readonly ServerRef[]> {
    if (this.advertisement.version === 1) return this.advertisement.refs;
    const body = await this.#post(listRequest(this.advertisement, prefix));
    return readList(packetsOf(body, this.#line.url), this.#line.url);
  }

  /** A pack of what is wanted. */
  async fetch(want: Want): Promise<Buffer> {
    const { url } = this.#line;
    const body = await this.#post(fetchRequest(this.advertisement, want));
    return receivePack(packetsOf(body, url, packBytesMax + talkBytesMax), url);
  }

  /** Pushes one commit. When it throws, nobody knows what came of it. */
  async push(update: RefUpdate, pack: Buffer): Promise<PushReport> {
    const { url } = this.#line;
    const body = await this.#post(pushRequest(this.advertisement, update, pack, url));
    return readPushReport(this.advertisement, packetsOf(body, url), url);
  }

  /** Whether the server gives out this commit when it is asked for by its hash. */
  offers(commit: string): boolean {
    const { version, capabilities, refs } = this.advertisement;
    return (
      version === 2 ||
      capabilities.has("allow-reachable-sha1-in-want") ||
      refs.some(({ oid }) => oid === commit)
    );
  }

  async #post(request: Buffer): Promise<AsyncIterable<Uint8Array>> {
    const { transport, service, url, until } = this.#line;
    const reply = await transport.request({
      url: `${url}/${service}`,
      method: "POST",
      headers: {
        "content-type": `application/x-${service}-request`,
        accept: `application/x-${service}-result`,
        ...(this.advertisement.version === 2 ? { "git-protocol": "version=2" } : {}),
      },
      body: [request],
      signal: until,
    });
    return reply.body;
  }
}

const packetsOf = (body: AsyncIterable<Uint8Array>, url: string, bytesMax = talkBytesMax) =>
  new PacketReader(counted(body, bytesMax, url), url);

/** The body, cut off with ArtifactTooLarge where it is too long. */
async function* counted(body: AsyncIterable<Uint8Array>, bytesMax: number, what: string) {
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > bytesMax)
      throw new CapitanError(
        "ArtifactTooLarge",
        `${what}: an answer of more than ${bytesMax} bytes`,
      );
    yield chunk;
  }
}
