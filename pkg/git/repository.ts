import { CapitanError, isCapitanError } from "../errors/index.ts";
import {
  fetchRequest,
  filesOf,
  formatGitUrl,
  listRequest,
  packBytesMax,
  PacketReader,
  pickRef,
  pinnedBy,
  readAdvertisement,
  readList,
  readPack,
  receivePack,
  wantedOf,
  type Advertisement,
  type GitLocation,
  type GitRef,
  type Resolved,
  type ServerRef,
  type Want,
} from "../gitdata/index.ts";
import type { ArtifactFiles } from "../oci/index.ts";
import type { PackCache } from "./cache.ts";
import { HttpTransport } from "./http.ts";
import { SshTransport } from "./ssh.ts";
import { service, type GitAccess, type GitTransport } from "./transport.ts";

/** A list of references, and what may come besides a pack. */
const talkBytesMax = 16 * 1024 * 1024;
/** How far back a commit is looked for when a server gives out none by its hash. */
const historyDepthMax = 50;
const resolveMs = 60_000;
const fetchMs = 180_000;

export type GitRepositoryOptions = GitAccess & {
  readonly cache: PackCache;
  /** Who asks, a namespace or a user: packs are not shared between them. */
  readonly namespace: string;
  /** The Secret, for messages. */
  readonly secret: string;
};

/** What to fetch. `ref` is where the commit was found, for servers that give out none by its hash. */
export type FetchRequest = {
  readonly commit: string;
  readonly path: string;
  readonly ref: GitRef;
};

type Greeted = { readonly transport: GitTransport; readonly advertisement: Advertisement };

/** One Git repository, for reading. No program is run and nothing is checked out. */
export class GitRepository {
  readonly #location: GitLocation;
  readonly #options: GitRepositoryOptions;
  readonly #url: string;

  constructor(location: GitLocation, options: GitRepositoryOptions) {
    this.#location = location;
    this.#options = options;
    this.#url = formatGitUrl(location);
  }

  /**
   * What a reference means now, without fetching anything. A commit means itself and nobody is
   * asked. Throws RefInvalid, VersionNotFound, SecretInvalid and the Git* codes.
   */
  async resolve(ref: GitRef, signal?: AbortSignal): Promise<Resolved> {
    const pinned = pinnedBy(ref);
    if (pinned !== undefined) return pinned;
    const wanted = wantedOf(ref);
    return this.#converse(limited(signal, resolveMs), async (greeted, until) => {
      const refs = await this.#list(greeted, wanted.prefix, until);
      const { commit, revision } = pickRef(wanted, refs, this.#url);
      return { commit, revision };
    });
  }

  /**
   * The files of a commit below a directory: from the cache, or from the server, every object checked
   * against its hash. Throws the Git* and Artifact* codes.
   */
  async fetch({ commit, path, ref }: FetchRequest, signal?: AbortSignal): Promise<ArtifactFiles> {
    const { cache, namespace } = this.#options;
    const key = `${namespace} ${this.#url} ${commit}`;
    const what = `${this.#url}@${commit}`;
    const held = await cache.get(key);
    const kept = held === undefined ? undefined : readOrForget(held, commit, what);
    if (kept !== undefined) return filesOf(kept, { commit, path }, what);
    const pack = await this.#pull(commit, ref, limited(signal, fetchMs));
    const objects = readPack(pack, what);
    if (!objects.has(commit))
      throw new CapitanError("GitNotFound", `${what}: the server gave out another commit`);
    await cache.put(key, pack);
    return filesOf(objects, { commit, path }, what);
  }

  /** By its hash; where that is refused, with what the reference leads to. */
  async #pull(commit: string, ref: GitRef, until: AbortSignal): Promise<Buffer> {
    try {
      return await this.#converse(until, (greeted) => {
        const isOffered = greeted.advertisement.version === 2 || offers(greeted, commit);
        if (!isOffered) throw this.#notGivenOut(commit);
        return this.#ask(greeted, { oid: commit, depth: 1 }, until);
      });
    } catch (error) {
      if (!isCapitanError(error) || error.code !== "GitNotFound") throw error;
    }
    return this.#converse(until, async (greeted) => {
      const wanted = wantedOf(ref);
      const refs = await this.#list(greeted, wanted.prefix, until);
      const { ref: found, commit: tip } = pickRef(wanted, refs, this.#url);
      const want = { oid: found.oid, depth: tip === commit ? 1 : historyDepthMax };
      return this.#ask(greeted, want, until);
    });
  }

  /** A conversation of its own, ended whatever happens. */
  async #converse<T>(
    until: AbortSignal,
    work: (greeted: Greeted, until: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const transport = this.#transport();
    try {
      const reply = await transport.request({
        url: `${this.#url}/info/refs?service=${service}`,
        headers: { "git-protocol": "version=2" },
        signal: until,
      });
      const advertisement = await readAdvertisement(this.#packets(reply.body), this.#url);
      return await work({ transport, advertisement }, until);
    } finally {
      await transport.close();
    }
  }

  #transport(): GitTransport {
    const { credentials, secret } = this.#options;
    if (this.#location.scheme !== "ssh") return new HttpTransport(this.#location, this.#options);
    if (credentials.ssh !== undefined)
      return new SshTransport(this.#location, credentials.ssh, secret);
    throw new CapitanError(
      "GitDenied",
      `${this.#url}: ssh needs a Secret with identity and known_hosts`,
    );
  }

  async #list(
    { transport, advertisement }: Greeted,
    prefix: string,
    until: AbortSignal,
  ): Promise<readonly ServerRef[]> {
    if (advertisement.version === 1) return advertisement.refs;
    const body = await this.#post(transport, 2, listRequest(advertisement, prefix), until);
    return readList(this.#packets(body), this.#url);
  }

  async #ask({ transport, advertisement }: Greeted, want: Want, until: AbortSignal) {
    const request = fetchRequest(advertisement, want);
    const body = await this.#post(transport, advertisement.version, request, until);
    return receivePack(this.#packets(body, packBytesMax + talkBytesMax), this.#url);
  }

  async #post(transport: GitTransport, version: 1 | 2, request: Buffer, signal: AbortSignal) {
    const reply = await transport.request({
      url: `${this.#url}/${service}`,
      method: "POST",
      headers: {
        "content-type": `application/x-${service}-request`,
        accept: `application/x-${service}-result`,
        ...(version === 2 ? { "git-protocol": "version=2" } : {}),
      },
      body: [request],
      signal,
    });
    return reply.body;
  }

  #packets(body: AsyncIterable<Uint8Array>, bytesMax = talkBytesMax): PacketReader {
    return new PacketReader(counted(body, bytesMax, this.#url), this.#url);
  }

  #notGivenOut(commit: string): CapitanError {
    return new CapitanError("GitNotFound", `${this.#url}: ${commit} is not given out by its hash`);
  }
}

/** Whether a server of version 1 gives out this commit when it is asked for by its hash. */
function offers({ advertisement }: Greeted, commit: string): boolean {
  const { capabilities, refs } = advertisement;
  return (
    capabilities.has("allow-reachable-sha1-in-want") ||
    capabilities.has("allow-any-sha1-in-want") ||
    refs.some(({ oid }) => oid === commit)
  );
}

/** What a pack holds, when it holds the commit and is whole. */
function readOrForget(pack: Buffer, commit: string, what: string) {
  try {
    const objects = readPack(pack, what);
    return objects.has(commit) ? objects : undefined;
  } catch (error) {
    if (isCapitanError(error)) return undefined;
    throw error;
  }
}

/** No operation takes longer than this, whatever the server does. */
function limited(signal: AbortSignal | undefined, ms: number): AbortSignal {
  const deadline = AbortSignal.timeout(ms);
  return signal === undefined ? deadline : AbortSignal.any([signal, deadline]);
}

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
