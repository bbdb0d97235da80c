import { Artifacts, refOf } from "./artifacts.ts";
import { GitSources } from "./git-sources.ts";
import type { GitRepositories, Reader, Repositories, Secrets } from "./ports.ts";
import { bytesByPath } from "./rotation-files.ts";
import { pinnedVersions, type Origin } from "./rotation-readers.ts";

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

  /** The files of a digest or commit. */
  async files(
    of: Reader,
    { git, oci }: Origin,
    version: string,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, Buffer>> {
    if (git !== undefined) {
      const { ref: { branch } = {}, ...address } = git;
      const at = { ...address, ref: branch === undefined ? {} : { branch }, commit: version };
      return bytesByPath(await this.#git.files(of, at, "./", signal));
    }
    const source = { ...(oci ?? { url: "" }), digest: version };
    return bytesByPath(await this.#artifacts.files(of, source, signal));
  }
}
