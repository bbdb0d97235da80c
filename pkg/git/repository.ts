import { CapitanError, isCapitanError } from "../errors/index.ts";
import {
  formatGitUrl,
  pickRef,
  pinnedBy,
  wantedOf,
  type GitLocation,
  type GitRef,
  type RefUpdate,
  type Resolved,
  type ServerRef,
} from "../gitdata/index.ts";
import { filesOf, readPack, type GitObjects } from "../gitobjects/index.ts";
import type { ArtifactFiles } from "../oci/index.ts";
import type { PackCache } from "./cache.ts";
import { converse, type Conversation, type Peer } from "./conversation.ts";
import {
  publish,
  tipOf,
  type Base,
  type Published,
  type PublishRequest,
  type Tip,
} from "./publish.ts";
import type { GitAccess } from "./transport.ts";

/** How far back a commit is looked for when a server gives out none by its hash. */
const historyDepthMax = 50;
const resolveMs = 60_000;
const fetchMs = 180_000;
/** All attempts together. */
const publishMs = 600_000;

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

/** One Git repository. No program is run and nothing is checked out. */
export class GitRepository {
  readonly #peer: Peer;
  readonly #options: GitRepositoryOptions;
  readonly #url: string;

  constructor(location: GitLocation, options: GitRepositoryOptions) {
    this.#peer = { ...options, location };
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
    const { commit, revision } = pickRef(
      wanted,
      await this.#list(wanted.prefix, limited(signal, resolveMs)),
      this.#url,
    );
    return { commit, revision };
  }

  /**
   * The files of a commit below a directory: from the cache, or from the server, every object checked
   * against its hash. Throws the Git* and Artifact* codes.
   */
  async fetch({ commit, path, ref }: FetchRequest, signal?: AbortSignal): Promise<ArtifactFiles> {
    const objects = await this.#objects(commit, ref, limited(signal, fetchMs));
    return filesOf(objects, { commit, path }, `${this.#url}@${commit}`);
  }

  /**
   * The tip of a branch with all of its regular files; links and submodules are left out. It is `known`
   * itself when the branch is still there. Undefined when the repository has nothing or no such branch.
   * Throws RefInvalid, the Git* and Artifact* codes.
   */
  async tip(branch: string, signal: AbortSignal, known?: Tip): Promise<Tip | undefined> {
    const until = limited(signal, fetchMs);
    const head = await this.#head(branch, until);
    if (head === undefined) return undefined;
    if (head === known?.commit) return known;
    const objects = await this.#objects(head, { branch }, until);
    return tipOf({ head, parent: { oid: head, objects } }, this.#url);
  }

  /** One commit on top of a branch, pushed: see `publish`. Throws RefInvalid too. */
  publish(request: PublishRequest, signal: AbortSignal): Promise<Published | undefined> {
    const until = limited(signal, publishMs);
    const remote = {
      url: this.#url,
      base: (branch: string, from: string | undefined) => this.#base(branch, from, until),
      history: (commit: string, have: string | undefined) => this.#history(commit, have, until),
      push: (update: RefUpdate, pack: Buffer) =>
        converse(this.#peer, "git-receive-pack", until, async (conversation) => {
          const refs = await conversation.list(update.ref);
          const head = refs.find(({ name }) => name === update.ref)?.oid;
          return head === update.from
            ? conversation.push(update, pack)
            : { kind: "moved" as const };
        }),
    };
    return publish(remote, request, until);
  }

  async #base(branch: string, from: string | undefined, until: AbortSignal): Promise<Base> {
    const head = await this.#head(branch, until);
    const start = head ?? (from === undefined ? undefined : await this.#head(from, until));
    if (start === undefined) return { head, parent: undefined };
    const ref = { branch: head === undefined ? from : branch };
    return { head, parent: { oid: start, objects: await this.#objects(start, ref, until) } };
  }

  async #head(branch: string, until: AbortSignal): Promise<string | undefined> {
    const { prefix } = wantedOf({ branch });
    return (await this.#list(prefix, until)).find(({ name }) => name === prefix)?.oid;
  }

  async #history(commit: string, have: string | undefined, until: AbortSignal) {
    const want = { oid: commit, ...(have === undefined ? { depth: historyDepthMax } : { have }) };
    const pack = await this.#read(until, (conversation) => conversation.fetch(want));
    return readPack(pack, `${this.#url}@${commit}`);
  }

  /** All objects of a commit. */
  async #objects(commit: string, ref: GitRef, until: AbortSignal): Promise<GitObjects> {
    const { cache, namespace } = this.#options;
    const key = `${namespace} ${this.#url} ${commit}`;
    const what = `${this.#url}@${commit}`;
    const held = await cache.get(key);
    const kept = held === undefined ? undefined : readOrForget(held, commit, what);
    if (kept !== undefined) return kept;
    const pack = await this.#pull(commit, ref, until);
    const objects = readPack(pack, what);
    if (!objects.has(commit))
      throw new CapitanError("GitNotFound", `${what}: the server gave out another commit`);
    await cache.put(key, pack);
    return objects;
  }

  /** By its hash; where that is refused, with what the reference leads to. */
  async #pull(commit: string, ref: GitRef, until: AbortSignal): Promise<Buffer> {
    try {
      return await this.#read(until, (conversation) => {
        if (!conversation.offers(commit)) throw this.#notGivenOut(commit);
        return conversation.fetch({ oid: commit, depth: 1 });
      });
    } catch (error) {
      if (!isCapitanError(error) || error.code !== "GitNotFound") throw error;
    }
    return this.#read(until, async (conversation) => {
      const wanted = wantedOf(ref);
      const refs = await conversation.list(wanted.prefix);
      const { ref: found, commit: tip } = pickRef(wanted, refs, this.#url);
      const depth = tip === commit ? 1 : historyDepthMax;
      return conversation.fetch({ oid: found.oid, depth });
    });
  }

  #list(prefix: string, until: AbortSignal): Promise<readonly ServerRef[]> {
    return this.#read(until, (conversation) => conversation.list(prefix));
  }

  #read<T>(until: AbortSignal, work: (conversation: Conversation) => Promise<T>): Promise<T> {
    return converse(this.#peer, "git-upload-pack", until, work);
  }

  #notGivenOut(commit: string): CapitanError {
    return new CapitanError("GitNotFound", `${this.#url}: ${commit} is not given out by its hash`);
  }
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
