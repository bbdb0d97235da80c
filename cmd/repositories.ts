import { join } from "node:path";
import type {
  GitAccess,
  GitRepositories,
  GitWriters,
  Repositories,
} from "../pkg/controllers/index.ts";
import { parseDockerConfig } from "../pkg/distribution/index.ts";
import type { GitLocation } from "../pkg/gitdata/index.ts";
import { sha256Hex } from "../pkg/json/index.ts";
import { GitRepository, PackCache } from "../pkg/git/index.ts";
import { ArtifactCache, RegistryClient } from "../pkg/registry/index.ts";

export type RepositoriesOptions = {
  readonly cacheDir: string;
  /** Told when the cache cannot be written; it is only a cache. */
  readonly failed?: (error: unknown) => void;
  /** Sees each question to a registry. */
  readonly counted?: <T>(operation: string, work: Promise<T>) => Promise<T>;
};

/** OCI and Git repositories with one cache on disk. */
export function openRepositories({
  cacheDir,
  failed = () => undefined,
  counted = (_, work) => work,
}: RepositoriesOptions): {
  readonly repositories: Repositories;
  readonly gitRepositories: GitRepositories;
  readonly gitWriters: GitWriters;
} {
  const blobs = new Map<string | undefined, ArtifactCache>();
  // Bytes are found by their digest: whoever may not pull them must not find them by knowing it.
  const blobsOf = (user: string | undefined) => {
    const dir = user === undefined ? cacheDir : join(cacheDir, sha256Hex(user));
    const held = blobs.get(user) ?? new ArtifactCache(dir, failed);
    blobs.set(user, held);
    return held;
  };
  const packs = new PackCache(cacheDir, failed);
  const git = (location: GitLocation, { as, ...access }: GitAccess) => {
    const namespace = as ?? access.namespace;
    return new GitRepository(location, { ...access, namespace, cache: packs });
  };
  return {
    gitRepositories: git,
    gitWriters: git,
    repositories: (reference, { as, insecure, ca, dockerConfig }) => {
      const login =
        dockerConfig === undefined
          ? undefined
          : parseDockerConfig(dockerConfig.text, dockerConfig.what);
      const registry = new RegistryClient(reference, { insecure, ca, login });
      return {
        resolve: (tag, signal) => counted("resolve", registry.resolve(tag, signal)),
        tags: (signal) => counted("tags", registry.tags(signal)),
        pull: (digest, signal) => counted("pull", registry.pull(digest, blobsOf(as), signal)),
        close: () => registry.close(),
      };
    },
  };
}
