import { CapitanError } from "../errors/index.ts";
import { parseReference, selectVersion, type ArtifactFiles } from "../oci/index.ts";
import type { Layer } from "../api/index.ts";
import { Kept } from "./kept.ts";
import type { Reader, Repositories, RepositoryAccess, RepositoryPort, Secrets } from "./ports.ts";
import { dockerSecret, existingSecret, nameOfSecret, secretText } from "./secrets.ts";

/** Bytes of artifacts that are kept in memory; one of Flux is about 300 kB. */
export const heldBytesMax = 64 * 1024 * 1024;

/** What files weigh. */
export const bytesOf = (files: ArtifactFiles): number =>
  [...files.values()].reduce((sum, { content }) => sum + content.length, 0);

export type Access = {
  readonly url: string;
  readonly insecure?: boolean | undefined;
  readonly secretRef?: { readonly name: string } | undefined;
  readonly certSecretRef?: { readonly name: string } | undefined;
};

export type Reference =
  | { readonly digest: string }
  | { readonly semver: string }
  | { readonly tag: string };
type LayerRef = NonNullable<Layer["oci"]>["ref"];

/** The reference that a layer says, the tag latest when it says none. */
export function refOf({ digest, semver, tag = "latest" }: NonNullable<LayerRef> = {}): Reference {
  if (digest !== undefined) return { digest };
  return semver === undefined ? { tag } : { semver };
}

/** A name of an artifact's bytes for one reader: who may not pull it shall not find it here. */
export const keyOfArtifact = (
  { namespace, as }: Reader,
  { url, secretRef, digest }: Access & { readonly digest: string },
): string => JSON.stringify([namespace, as, url, secretRef?.name, digest]);

/** Artifacts of OCI registries: references become digests, digests become files. */
export class Artifacts {
  readonly #secrets: Secrets;
  readonly #repositories: Repositories;
  readonly #held = new Kept<ArtifactFiles>(heldBytesMax, bytesOf);

  constructor(secrets: Secrets, repositories: Repositories) {
    this.#secrets = secrets;
    this.#repositories = repositories;
  }

  /** The one resolution of a moving reference: everything later goes by the digest. */
  async locate(
    reader: Reader,
    access: Access,
    ref: Reference,
    signal: AbortSignal,
  ): Promise<{ digest: string; revision: string }> {
    if ("digest" in ref) return { digest: ref.digest, revision: ref.digest };
    return this.#withRepository(reader, access, signal, async (repository) => {
      const tag = "tag" in ref ? ref.tag : selectVersion(await repository.tags(signal), ref.semver);
      if (tag === undefined)
        throw new CapitanError(
          "VersionNotFound",
          `${access.url} has no tag in the range ${JSON.stringify("semver" in ref ? ref.semver : "")}`,
        );
      const digest = await repository.resolve(tag, signal);
      return { digest, revision: `${tag}@${digest}` };
    });
  }

  /** The files of an artifact at a digest; who asks at once shares one pull. */
  files(
    reader: Reader,
    source: Access & { readonly digest: string },
    signal: AbortSignal,
  ): Promise<ArtifactFiles> {
    return this.#held.of(keyOfArtifact(reader, source), () =>
      this.#withRepository(reader, source, signal, (repository) =>
        repository.pull(source.digest, signal),
      ),
    );
  }

  async #withRepository<T>(
    reader: Reader,
    access: Access,
    signal: AbortSignal,
    work: (repository: RepositoryPort) => Promise<T>,
  ): Promise<T> {
    const repository = this.#repositories(
      parseReference(access.url),
      await this.#accessOf(reader, access, signal),
    );
    try {
      return await work(repository);
    } finally {
      await repository.close();
    }
  }

  async #accessOf(
    reader: Reader,
    { insecure, secretRef, certSecretRef }: Access,
    signal: AbortSignal,
  ): Promise<RepositoryAccess> {
    const login =
      secretRef === undefined
        ? undefined
        : await dockerSecret(this.#secrets, reader, secretRef.name, signal);
    const cert =
      certSecretRef === undefined
        ? undefined
        : await existingSecret(this.#secrets, reader, certSecretRef.name, signal);
    const ca = cert === undefined ? undefined : secretText(cert, "ca.crt");
    const dockerConfig =
      login === undefined
        ? undefined
        : { text: secretText(login, ".dockerconfigjson"), what: nameOfSecret(login) };
    return { as: reader.as, insecure, ca, dockerConfig };
  }
}
