import { CapitanError } from "../errors/index.ts";
import {
  buildManifest,
  checkDigest,
  contentLayer,
  digestOf,
  formatReference,
  manifestBytesMax,
  mediaTypes,
  pack,
  parseManifest,
  unpack,
  type ArtifactFiles,
  type Reference,
} from "../oci/index.ts";
import { asList, asMap, asString, parseJson, type JsonMap } from "../json/index.ts";
import { RegistryHttp, type RegistryAccess, type RegistryReply } from "./http.ts";
import type { ArtifactCache } from "./cache.ts";

export type { RegistryAccess } from "./http.ts";

/** A compressed layer larger than this is refused. */
const layerBytesMax = 32 * 1024 * 1024;
const listBytesMax = 8 * 1024 * 1024;
const pagesMax = 100;
const acceptManifest = Object.values(mediaTypes)
  .filter((type) => /manifest|index|list/.test(type))
  .join(", ");

export type PushedArtifact = {
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
};
type Signal = AbortSignal | undefined;

/** One registry repository: ORAS's verbs. Throws the Registry* and Artifact* codes. */
export class RegistryClient {
  readonly #http: RegistryHttp;
  readonly #ref: Reference;

  constructor(ref: Reference, access: RegistryAccess) {
    this.#http = new RegistryHttp(ref.host, access);
    this.#ref = ref;
  }

  /** Ends all connections. */
  close(): Promise<void> {
    return this.#http.close();
  }

  /** The digest that a tag has now. The one resolution: everything after goes by this digest. */
  async resolve(tag: string, signal?: Signal): Promise<string> {
    const { bytes } = await this.#manifest(tag, signal);
    return digestOf(bytes);
  }

  /** All tags, page by page. */
  async tags(signal?: Signal): Promise<readonly string[]> {
    const tags: string[] = [];
    let url: string | undefined = `/v2/${this.#ref.repository}/tags/list?n=1000`;
    for (let page = 0; url !== undefined && page < pagesMax; page++) {
      const reply: RegistryReply = await this.#http.send({
        method: "GET",
        url,
        scope: this.#scope("pull"),
        bytesMax: listBytesMax,
        signal,
      });
      if (reply.status !== 200) throw this.#notFound("", reply.status);
      tags.push(
        ...asList(jsonOf(reply, this.#ref.host)["tags"]).filter((t) => typeof t === "string"),
      );
      url = nextPage(reply);
    }
    return tags;
  }

  /**
   * The files of the artifact with this digest: from the cache, or pulled, checked against the
   * digests before anything is unpacked, and cached.
   */
  async pull(digest: string, cache: ArtifactCache, signal?: Signal): Promise<ArtifactFiles> {
    const what = formatReference({ ...this.#ref, tag: undefined, digest });
    const manifestBytes = (await cache.get(digest)) ?? (await this.#manifest(digest, signal)).bytes;
    checkDigest(manifestBytes, digest, what);
    const layer = contentLayer(parseManifest(manifestBytes, what));
    if (layer === undefined) throw new CapitanError("ArtifactCorrupt", `${what}: no layer`);
    if (layer.size > layerBytesMax)
      throw new CapitanError(
        "ArtifactTooLarge",
        `${what}: the layer has ${layer.size} bytes, more than ${layerBytesMax}`,
      );
    const bytes =
      (await cache.get(layer.digest)) ?? (await this.#blob(layer.digest, layer.size, signal));
    checkDigest(bytes, layer.digest, what);
    const files = await unpack(bytes, what);
    await cache.put(layer.digest, bytes);
    await cache.put(digest, manifestBytes);
    return files;
  }

  /** Pushes files as one artifact in Flux's format and tags it. Blobs that are there are not sent again. */
  async push(
    files: ArtifactFiles,
    tag: string,
    annotations: Readonly<Record<string, string>>,
  ): Promise<PushedArtifact> {
    const layer = await pack(files);
    const { manifest, config } = buildManifest(layer, annotations);
    await this.#upload(config);
    await this.#upload(layer);
    const url = `/v2/${this.#ref.repository}/manifests/${tag}`;
    const reply = await this.#http.send({
      method: "PUT",
      url,
      contentType: mediaTypes.manifest,
      body: manifest,
      scope: this.#scope("pull,push"),
      bytesMax: manifestBytesMax,
    });
    if (reply.status !== 201) throw this.#refused("the manifest", reply);
    return {
      repository: `${this.#ref.host}/${this.#ref.repository}`,
      tag,
      digest: digestOf(manifest),
    };
  }

  async #upload(blob: Buffer): Promise<void> {
    const digest = digestOf(blob);
    const scope = this.#scope("pull,push");
    const root = `/v2/${this.#ref.repository}/blobs`;
    const head = await this.#http.send({
      method: "HEAD",
      url: `${root}/${digest}`,
      scope,
      bytesMax: 0,
    });
    if (head.status === 200) return;
    const start = await this.#http.send({
      method: "POST",
      url: `${root}/uploads/`,
      scope,
      bytesMax: manifestBytesMax,
    });
    const { location } = start.headers;
    if (start.status !== 202 || typeof location !== "string")
      throw this.#refused("an upload", start);
    const separator = location.includes("?") ? "&" : "?";
    const url = `${location}${separator}digest=${encodeURIComponent(digest)}`;
    const reply = await this.#http.send({
      method: "PUT",
      url,
      contentType: "application/octet-stream",
      body: blob,
      scope,
      bytesMax: manifestBytesMax,
    });
    if (reply.status !== 201) throw this.#refused("a blob", reply);
  }

  async #manifest(tagOrDigest: string, signal: Signal): Promise<{ readonly bytes: Buffer }> {
    const url = `/v2/${this.#ref.repository}/manifests/${tagOrDigest}`;
    const reply = await this.#http.send({
      method: "GET",
      url,
      accept: acceptManifest,
      scope: this.#scope("pull"),
      bytesMax: manifestBytesMax,
      signal,
    });
    if (reply.status !== 200) throw this.#notFound(tagOrDigest, reply.status);
    const promised = asString(reply.headers["docker-content-digest"]);
    if (promised !== undefined)
      checkDigest(reply.body, promised, `${this.#ref.host}/${this.#ref.repository}:${tagOrDigest}`);
    return { bytes: reply.body };
  }

  async #blob(digest: string, size: number, signal: Signal): Promise<Buffer> {
    const url = `/v2/${this.#ref.repository}/blobs/${digest}`;
    // One byte more than promised is enough to know that the promise is broken.
    const reply = await this.#http.send({
      method: "GET",
      url,
      scope: this.#scope("pull"),
      bytesMax: size + 1,
      signal,
    });
    if (reply.status !== 200) throw this.#notFound(digest, reply.status);
    if (reply.body.length !== size)
      throw new CapitanError(
        "ArtifactCorrupt",
        `${this.#ref.host}${url}: ${reply.body.length} bytes, the manifest says ${size}`,
      );
    return reply.body;
  }

  #scope(actions: string): string {
    return `repository:${this.#ref.repository}:${actions}`;
  }

  #notFound(what: string, status: number): CapitanError {
    const shown = what === "" ? "" : what.includes(":") ? `@${what}` : `:${what}`;
    return new CapitanError(
      "ArtifactNotFound",
      `${this.#ref.host}/${this.#ref.repository}${shown}: HTTP ${status}`,
    );
  }

  #refused(what: string, { status }: RegistryReply): CapitanError {
    return new CapitanError(
      "RegistryUnreachable",
      `${this.#ref.host}/${this.#ref.repository}: the registry did not take ${what}: HTTP ${status}`,
    );
  }
}

function jsonOf({ body }: RegistryReply, host: string): JsonMap {
  try {
    return asMap(parseJson(body.toString("utf8")));
  } catch (error) {
    throw new CapitanError("RegistryUnreachable", `${host} did not answer with JSON`, {
      cause: error,
    });
  }
}

/** RFC 5988 `Link: <…>; rel="next"`, as tag lists use it. */
function nextPage({ headers }: RegistryReply): string | undefined {
  const { link } = headers;
  return typeof link === "string" ? /<([^>]+)>\s*;\s*rel="?next"?/.exec(link)?.[1] : undefined;
}
