import { addReferrer, nextPage, parseReferrers, referrersTag } from "../distribution/index.ts";
import { CapitanError } from "../errors/index.ts";
import { asList, asMap, parseJson, type JsonMap } from "../json/index.ts";
import {
  buildManifest,
  checkDigest,
  describeDocument,
  digestOf,
  formatReference,
  manifestBytesMax,
  mediaTypes,
  pack,
  parseDocument,
  pullFiles,
  type ArtifactFiles,
  type BlobCache,
  type BlobSource,
  type Descriptor,
  type Found,
  type PullRequest,
  type Reference,
  type Signal,
  type Store,
  type Uploaded,
} from "../oci/index.ts";
import {
  headerOf,
  RegistryHttp,
  unreachable,
  type RegistryAccess,
  type RegistryReply,
} from "./http.ts";
import { uploadBlob } from "./upload.ts";

export type { RegistryAccess } from "./http.ts";

const listBytesMax = 8 * 1024 * 1024;
const pagesMax = 100;
const listedMax = 100_000;
const acceptManifest = Object.values(mediaTypes)
  .filter((type) => /manifest|index|list/.test(type))
  .join(", ");

export type PushedArtifact = {
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
};

/** What of an artifact is pulled: by default what Flux would take. */
export type PullChoice = Pick<PullRequest, "platform" | "layers">;

/** One registry repository: ORAS's verbs. Throws the Registry* and Artifact* codes. */
export class RegistryClient implements Store {
  readonly #http: RegistryHttp;
  readonly #ref: Reference;

  constructor(ref: Reference, access: RegistryAccess) {
    this.#http = new RegistryHttp(ref.host, ref.repository, access);
    this.#ref = ref;
  }

  /** `HOST/REPOSITORY`. */
  get name(): string {
    return `${this.#ref.host}/${this.#ref.repository}`;
  }

  get repository(): string {
    return this.#ref.repository;
  }

  get host(): string {
    return this.#ref.host;
  }

  /** Ends all connections. */
  close(): Promise<void> {
    return this.#http.close();
  }

  /** The digest that a tag has now. The one resolution: everything after goes by this digest. */
  async resolve(tag: string, signal?: Signal): Promise<string> {
    return (await this.#get(tag, signal)).digest;
  }

  /** All tags, page by page. */
  async tags(signal?: Signal): Promise<readonly string[]> {
    const path = `/v2/${this.#ref.repository}/tags/list?n=1000`;
    const pages = this.#pages({ path, scope: this.#scope("pull") }, signal);
    return textsOf(await Array.fromAsync(pages), "tags", this.name);
  }

  /** All repositories of the registry, where it lists them; many do not. */
  async repositories(signal?: Signal): Promise<readonly string[]> {
    const list = { path: "/v2/_catalog?n=1000", scope: "registry:catalog:*" };
    const pages = await Array.fromAsync(this.#pages(list, signal));
    return textsOf(pages, "repositories", this.#ref.host);
  }

  /** The manifest or index with a tag or digest, checked against the digest. */
  async find(tagOrDigest: string, signal?: Signal): Promise<Found> {
    const found = await this.#get(tagOrDigest, signal);
    return { ...found, document: parseDocument(found.bytes, this.#what(tagOrDigest)) };
  }

  /** The files of the artifact with a digest: see `pullFiles`. */
  pull(
    digest: string,
    cache: BlobCache,
    signal?: Signal,
    choice: PullChoice = {},
  ): Promise<ArtifactFiles> {
    return pullFiles(this, cache, { ...choice, digest, signal });
  }

  /** Pushes files as one artifact in Flux's format and tags it. Blobs that are there are not sent again. */
  async push(
    files: ArtifactFiles,
    tag: string,
    annotations: Readonly<Record<string, string>>,
    signal?: Signal,
  ): Promise<PushedArtifact> {
    const layer = await pack(files);
    const { manifest, config } = buildManifest(layer, annotations);
    for (const blob of [config, layer]) await this.upload(sourceOf(blob), { signal });
    await this.put(manifest, tag, signal);
    return { repository: this.name, tag, digest: digestOf(manifest) };
  }

  /** Brings a blob into the repository. */
  upload(
    blob: BlobSource,
    { signal, mountFrom }: { signal?: Signal; mountFrom?: string | undefined } = {},
  ): Promise<Uploaded> {
    const { repository } = this.#ref;
    return uploadBlob(blob, { http: this.#http, repository, mountFrom, signal });
  }

  /** Stores a manifest or index, whose blobs must be there, by tag or digest. One with a subject is listed with it. */
  async put(bytes: Buffer, tagOrDigest: string, signal?: Signal): Promise<void> {
    const document = parseDocument(bytes, this.#what(tagOrDigest));
    const reply = await this.#http.send({
      method: "PUT",
      path: `/v2/${this.#ref.repository}/manifests/${tagOrDigest}`,
      headers: { "content-type": document.mediaType },
      body: bytes,
      scope: this.#scope("pull,push"),
      bytesMax: manifestBytesMax,
      signal,
    });
    if (reply.status !== 201) throw this.#refused("the manifest", reply);
    const stored = headerOf(reply, "docker-content-digest");
    if (stored !== undefined) checkDigest(bytes, stored, this.#what(tagOrDigest));
    // A registry with the referrers API says that it has taken note (distribution-spec "Pushing Manifests with Subject").
    if (document.subject !== undefined && reply.headers["oci-subject"] === undefined)
      await this.#listReferrer(document.subject.digest, describeDocument(bytes, document), signal);
  }

  /** Gives what has a tag or digest one more tag. Returns its digest. */
  async tag(tagOrDigest: string, tag: string, signal?: Signal): Promise<string> {
    const { bytes, digest } = await this.find(tagOrDigest, signal);
    await this.put(bytes, tag, signal);
    return digest;
  }

  /** What refers to a digest (signatures, SBOMs …): by the referrers API, or by the referrers tag where there is none. */
  async discover(
    digest: string,
    artifactType?: string,
    signal?: Signal,
  ): Promise<readonly Descriptor[]> {
    const path = `/v2/${this.#ref.repository}/referrers/${digest}`;
    const query =
      artifactType === undefined ? "" : `?artifactType=${encodeURIComponent(artifactType)}`;
    const list = { path: path + query, scope: this.#scope("pull"), accept: mediaTypes.index };
    const what = `${this.#what(digest)}: referrers`;
    const found: Descriptor[] = [];
    try {
      for await (const { body } of this.#pages(list, signal))
        found.push(...parseReferrers(body, artifactType, what));
      return found;
    } catch (error) {
      if (!(error instanceof CapitanError) || error.code !== "ArtifactNotFound") throw error;
    }
    const index = await this.#referrersIndex(digest, signal);
    return index === undefined ? [] : parseReferrers(index, artifactType, what);
  }

  /** A blob of this repository for uploading elsewhere, piece by piece. */
  source({ digest, size }: Descriptor, signal?: Signal): BlobSource {
    const open = async () => {
      const path = `/v2/${this.#ref.repository}/blobs/${digest}`;
      const scope = this.#scope("pull");
      const reply = await this.#http.stream({ path, scope, bytesMax: size, signal });
      if (reply.status === 200) return reply.body as AsyncIterable<Uint8Array>;
      await reply.body.dump();
      throw this.#notFound(digest, reply.status);
    };
    const what = this.#what(digest);
    async function* read(): AsyncIterable<Uint8Array> {
      const body = await open();
      try {
        yield* body;
      } catch (error) {
        throw unreachable(what, error);
      }
    }
    return { digest, size, read };
  }

  async #get(tagOrDigest: string, signal: Signal): Promise<{ bytes: Buffer; digest: string }> {
    const reply = await this.#http.send({
      method: "GET",
      path: `/v2/${this.#ref.repository}/manifests/${tagOrDigest}`,
      accept: acceptManifest,
      scope: this.#scope("pull"),
      bytesMax: manifestBytesMax,
      signal,
    });
    if (reply.status !== 200) throw this.#notFound(tagOrDigest, reply.status);
    const what = this.#what(tagOrDigest);
    const promised = headerOf(reply, "docker-content-digest");
    if (promised !== undefined) checkDigest(reply.body, promised, what);
    if (tagOrDigest.includes(":")) checkDigest(reply.body, tagOrDigest, what);
    return { bytes: reply.body, digest: digestOf(reply.body) };
  }

  /** A blob in memory, as long as the descriptor says; its digest is not checked. */
  async blob({ digest, size }: Descriptor, signal?: Signal): Promise<Buffer> {
    const path = `/v2/${this.#ref.repository}/blobs/${digest}`;
    const scope = this.#scope("pull");
    // One byte more than promised is enough to know that the promise is broken.
    const reply = await this.#http.send({ method: "GET", path, scope, bytesMax: size + 1, signal });
    if (reply.status !== 200) throw this.#notFound(digest, reply.status);
    if (reply.body.length !== size)
      throw new CapitanError(
        "ArtifactCorrupt",
        `${this.#ref.host}${path}: ${reply.body.length} bytes, the manifest says ${size}`,
      );
    return reply.body;
  }

  /** A list, page by page. Throws ArtifactTooLarge when it has no end. */
  async *#pages(
    { path, ...how }: { path: string; scope: string; accept?: string },
    signal: Signal,
  ): AsyncIterable<RegistryReply> {
    let next: string | undefined = path;
    for (let page = 0; next !== undefined; page++) {
      if (page >= pagesMax)
        throw new CapitanError(
          "ArtifactTooLarge",
          `${this.name}: a list of more than ${pagesMax} pages`,
        );
      const reply: RegistryReply = await this.#http.send({
        ...how,
        method: "GET",
        path: next,
        bytesMax: listBytesMax,
        signal,
      });
      if (reply.status !== 200) throw this.#notFound("", reply.status);
      yield reply;
      next = nextPage(headerOf(reply, "link"), reply.url);
    }
  }

  async #referrersIndex(digest: string, signal: Signal): Promise<Buffer | undefined> {
    try {
      return (await this.#get(referrersTag(digest), signal)).bytes;
    } catch (error) {
      if (error instanceof CapitanError && error.code === "ArtifactNotFound") return undefined;
      throw error;
    }
  }

  /** Where the registry has no referrers API, the list of referrers is kept by who pushes one (distribution-spec "Referrers Tag Schema"). */
  async #listReferrer(subject: string, referrer: Descriptor, signal: Signal): Promise<void> {
    const held = await this.#referrersIndex(subject, signal);
    const index = addReferrer(held, referrer, `${this.#what(subject)}: referrers`);
    if (index !== undefined) await this.put(index, referrersTag(subject), signal);
  }

  #scope(actions: string): string {
    return `repository:${this.#ref.repository}:${actions}`;
  }

  /** The object that a message is about. */
  #what(tagOrDigest: string): string {
    const { host, repository } = this.#ref;
    return formatReference({
      host,
      repository,
      ...(tagOrDigest.includes(":") ? { digest: tagOrDigest } : { tag: tagOrDigest }),
    });
  }

  #notFound(what: string, status: number): CapitanError {
    const shown = what === "" ? "" : what.includes(":") ? `@${what}` : `:${what}`;
    return new CapitanError("ArtifactNotFound", `${this.name}${shown}: HTTP ${status}`);
  }

  #refused(what: string, { status }: RegistryReply): CapitanError {
    return new CapitanError(
      "RegistryUnreachable",
      `${this.name}: the registry did not take ${what}: HTTP ${status}`,
    );
  }
}

const sourceOf = (bytes: Buffer): BlobSource => ({
  digest: digestOf(bytes),
  size: bytes.length,
  async *read() {
    yield bytes;
  },
});

/** The texts that pages of a list hold under one key. */
function textsOf(pages: readonly RegistryReply[], key: string, what: string): readonly string[] {
  const all = pages.flatMap((page) =>
    asList(jsonOf(page, what)[key]).filter((text) => typeof text === "string"),
  );
  if (all.length > listedMax)
    throw new CapitanError("ArtifactTooLarge", `${what}: more than ${listedMax} ${key}`);
  return all;
}

function jsonOf({ body }: RegistryReply, what: string): JsonMap {
  try {
    return asMap(parseJson(body.toString("utf8")));
  } catch (error) {
    throw new CapitanError("RegistryUnreachable", `${what} did not answer with JSON`, {
      cause: error,
    });
  }
}
