import type { Descriptor, Document } from "./manifest.ts";

/** A manifest or index, checked against its digest. */
export type Found = {
  readonly bytes: Buffer;
  readonly digest: string;
  readonly document: Document;
};

/** Bytes to upload, and what they are said to be. They may be read more than once. */
export type BlobSource = {
  readonly digest: string;
  readonly size: number;
  readonly read: () => AsyncIterable<Uint8Array>;
};

/** How a blob came to be where it is. */
export type Uploaded = "present" | "mounted" | "uploaded";

export type Signal = AbortSignal | undefined;

/** A place that artifacts are pulled from and pushed to: one repository of a registry. */
export type Store = {
  /** `HOST/REPOSITORY`, for messages. */
  readonly name: string;
  readonly host: string;
  readonly repository: string;
  /** Throws ArtifactNotFound. */
  find(tagOrDigest: string, signal: Signal): Promise<Found>;
  /** A blob in memory. */
  blob(blob: Descriptor, signal: Signal): Promise<Buffer>;
  /** A blob, piece by piece. */
  source(blob: Descriptor, signal: Signal): BlobSource;
  upload(
    blob: BlobSource,
    how: { readonly signal?: Signal; readonly mountFrom?: string | undefined },
  ): Promise<Uploaded>;
  /** Stores a manifest or index, whose parts must be there. */
  put(bytes: Buffer, tagOrDigest: string, signal: Signal): Promise<void>;
  /** What refers to a digest. */
  discover(
    digest: string,
    artifactType: string | undefined,
    signal: Signal,
  ): Promise<readonly Descriptor[]>;
};

/** Blobs by digest, checked when they are read. */
export type BlobCache = {
  get(digest: string): Promise<Buffer | undefined>;
  put(digest: string, bytes: Uint8Array): Promise<void>;
};
