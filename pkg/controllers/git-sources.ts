import { parseGitSecret, parseGitUrl, type GitRef, type Resolved } from "../gitdata/index.ts";
import type { ArtifactFiles } from "../oci/index.ts";
import { bytesOf, heldBytesMax } from "./artifacts.ts";
import { Kept } from "./kept.ts";
import type { GitPort, GitRepositories, Reader, Secrets } from "./ports.ts";
import { existingSecret, nameOfSecret } from "./secrets.ts";

/** A repository as a Fleet names it. */
export type GitAddress = {
  readonly url: string;
  readonly ref?: GitRef | undefined;
  readonly insecure?: boolean | undefined;
  readonly secretRef?: { readonly name: string } | undefined;
};

/** A name of the files of a commit for one reader: who may not fetch them shall not find them here. */
export const keyOfGit = (
  reader: Reader,
  { url, commit, secretRef }: GitAddress & { readonly commit: string },
  path: string,
): string => JSON.stringify([reader.namespace, reader.as, url, secretRef?.name, commit, path]);

/** Git repositories that Fleets name, with the Secrets beside the Fleets. */
export class GitSources {
  readonly #secrets: Secrets;
  readonly #repositories: GitRepositories;
  readonly #held = new Kept<ArtifactFiles>(heldBytesMax, bytesOf);

  constructor(secrets: Secrets, repositories: GitRepositories) {
    this.#secrets = secrets;
    this.#repositories = repositories;
  }

  /** The one resolution of a moving reference: everything later goes by the commit. Throws CapitanError. */
  async resolve(reader: Reader, git: GitAddress, signal: AbortSignal): Promise<Resolved> {
    const repository = await this.#open(reader, git, signal);
    return repository.resolve(git.ref ?? {}, signal);
  }

  /** The files of a commit below a directory; who asks at once shares one fetch. Throws CapitanError. */
  files(
    reader: Reader,
    git: GitAddress & { readonly commit: string },
    path: string,
    signal: AbortSignal,
  ): Promise<ArtifactFiles> {
    return this.#held.of(keyOfGit(reader, git, path), () => this.#fetch(reader, git, path, signal));
  }

  async #fetch(
    reader: Reader,
    git: GitAddress & { readonly commit: string },
    path: string,
    signal: AbortSignal,
  ): Promise<ArtifactFiles> {
    const repository = await this.#open(reader, git, signal);
    return repository.fetch({ commit: git.commit, path, ref: git.ref ?? {} }, signal);
  }

  async #open(
    reader: Reader,
    { url, insecure, secretRef }: GitAddress,
    signal: AbortSignal,
  ): Promise<GitPort> {
    const location = parseGitUrl(url, insecure);
    if (secretRef === undefined)
      return this.#repositories(location, { ...reader, insecure, credentials: {}, secret: "" });
    const found = await existingSecret(this.#secrets, reader, secretRef.name, signal);
    const secret = nameOfSecret(found);
    const credentials = parseGitSecret(found["data"], location, secret);
    return this.#repositories(location, { ...reader, insecure, credentials, secret });
  }
}
