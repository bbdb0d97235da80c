import type { RevisionLayer } from "../api/index.ts";
import { Artifacts, refOf } from "./artifacts.ts";
import { GitSources } from "./git-sources.ts";
import type { GitRepositories, Reader, Repositories, Secrets } from "./ports.ts";
import { bytesByPath } from "./rotation-files.ts";

type Sync = NonNullable<NonNullable<RevisionLayer["flux"]>["sync"]>;
/** Where files are pulled from: what a layer's source and a cluster's own Flux have in common. */
export type Origin = Pick<Sync, "oci" | "git">;

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

/** The digest or commit that a source names. */
export const pinnedVersions = ({ oci, git }: Origin): readonly string[] =>
  [oci?.ref?.digest, git?.ref?.commit].filter((version) => version !== undefined);

/** The digest or commit in what Flux calls a revision: `stable@sha256:…`, `main@sha1:…`. */
export function versionIn(applied: string | undefined): string | undefined {
  const digest = /(sha256:[a-f0-9]{64})$/.exec(applied ?? "")?.[1];
  return digest ?? /sha1:([a-f0-9]{40})$/.exec(applied ?? "")?.[1];
}

/** What people move so that clusters get another revision. */
export function sourceName({ oci, git }: Origin): string {
  if (git !== undefined) return [git.url, git.ref?.branch ?? []].flat().join(" ");
  if (oci === undefined) return "";
  const { url, ref, revision } = oci;
  // Pinned, it says what the digest was resolved from: stable@sha256:….
  return `${url}:${ref?.tag ?? revision?.split("@")[0] ?? "latest"}`;
}
