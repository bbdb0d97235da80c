import type { GitCredentials } from "../gitdata/index.ts";

/** A request for one half of Git's conversation, in the shape of isomorphic-git's `http` plugins. */
export type GitRequest = {
  /** `<base>/info/refs?service=<service>` or `<base>/<service>`. */
  readonly url: string;
  readonly method?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly body?: AsyncIterable<Uint8Array> | Iterable<Uint8Array> | undefined;
  readonly signal?: AbortSignal | undefined;
};

export type GitReply = {
  readonly url: string;
  readonly method: string;
  readonly statusCode: number;
  readonly statusMessage: string;
  readonly headers: Record<string, string>;
  readonly body: AsyncIterableIterator<Uint8Array>;
};

/**
 * One conversation with the Git service of a repository: its greeting, then what is asked. A new one
 * for each operation; whoever opens it closes it. Throws GitUnreachable, GitDenied, GitNotFound, HostKeyRefused.
 */
export type GitTransport = {
  request(request: GitRequest): Promise<GitReply>;
  close(): Promise<void>;
};

/** How a repository may be reached. */
export type GitAccess = {
  readonly credentials: GitCredentials;
  /** Plain HTTP is meant; redirects may then lead to plain HTTP too. */
  readonly insecure: boolean | undefined;
};

/** Reading, and writing. Nothing else is asked for. */
export type GitService = "git-upload-pack" | "git-receive-pack";

/** Nothing at all is heard for so long. */
export const idleMs = 20_000;
/** As long may a server's hooks think about a push. */
export const hooksMs = 120_000;
export const connectMs = 10_000;
