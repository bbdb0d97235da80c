import type { ArtifactFiles } from "../oci/index.ts";
import { Artifacts, refOf } from "./artifacts.ts";
import { GitSources } from "./git-sources.ts";
import type { GitRepositories, Reader, Repositories, Secrets } from "./ports.ts";
import { pinnedVersions, type Origin } from "./rotation-readers.ts";

type Files = ReadonlyMap<string, Buffer>;

/** The files of revisions, as whoever reads for a Fleet gets them. */
export class PulledFiles {
  readonly #artifacts: Artifacts;
  readonly #git: GitSources;

  constructor({
    secrets,
    repositories,
    gitRepositories,
  }: {
    readonly secrets: Secrets;
    readonly repositories: Repositories;
    readonly gitRepositories: GitRepositories;
  }) {
    this.#artifacts = new Artifacts(secrets, repositories);
    this.#git = new GitSources(secrets, gitRepositories);
  }

  /** The digest or commit that is to be pulled now. */
  async versionOf(of: Reader, origin: Origin, signal: AbortSignal): Promise<string> {
    const [pinned] = pinnedVersions(origin);
    if (pinned !== undefined) return pinned;
    if (origin.git !== undefined) return (await this.#git.resolve(of, origin.git, signal)).commit;
    const { ref, ...access } = origin.oci ?? { url: "" };
    return (await this.#artifacts.locate(of, access, refOf(ref), signal)).digest;
  }

  /** The files of a digest or commit; the same ones as long as they are held. */
  async files(
    of: Reader,
    { git, oci }: Origin,
    version: string,
    signal: AbortSignal,
  ): Promise<Files> {
    if (git !== undefined) {
      const { ref: { branch } = {}, ...address } = git;
      const at = { ...address, ref: branch === undefined ? {} : { branch }, commit: version };
      return bytesOf(await this.#git.files(of, at, "./", signal));
    }
    const source = { ...(oci ?? { url: "" }), digest: version };
    return bytesOf(await this.#artifacts.files(of, source, signal));
  }
}

const seen = new WeakMap<ArtifactFiles, Files>();

/** All bytes of an artifact or a commit, by path; for the same files the same map. */
export function bytesOf(files: ArtifactFiles): Files {
  const held =
    seen.get(files) ??
    new Map(Array.from(files, ([path, { content }]) => [path, content] as const));
  seen.set(files, held);
  return held;
}
