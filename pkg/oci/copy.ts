import { CapitanError } from "../errors/index.ts";
import type { Descriptor } from "./manifest.ts";
import { partsOf } from "./selection.ts";
import type { Found, Signal, Store } from "./store.ts";

/** How much one copy may bring over, so that a hostile registry cannot keep us busy for ever. */
const documentsMax = 2000;
const depthMax = 8;
const blobBytesMax = 4 * 1024 * 1024 * 1024;
const blobsAtOnce = 3;

export type CopyRequest = {
  /** Tag or digest of what is copied. */
  readonly what: string;
  /** The tag that it gets; only the digest when undefined. */
  readonly tag: string | undefined;
  /** Whether what refers to it, and to what it consists of, comes along. */
  readonly referrers: boolean;
  readonly signal?: Signal;
  /** Is told what is done, for people. */
  readonly report?: ((text: string) => void) | undefined;
};

/** What a copy did. */
export type Copied = {
  readonly digest: string;
  /** Manifests and indexes, referrers included. */
  readonly documents: number;
  readonly blobs: { present: number; mounted: number; uploaded: number };
};

type Copy = CopyRequest & {
  readonly from: Store;
  readonly to: Store;
  readonly done: Set<string>;
  readonly blobs: Copied["blobs"];
};

/**
 * Copies a manifest or index with everything that it consists of, byte for byte, so that the digest
 * stays. Parts come before what names them, the tag comes last: half a copy has no name.
 * Throws the Registry* and Artifact* codes.
 */
export async function copyArtifact(from: Store, to: Store, request: CopyRequest): Promise<Copied> {
  const blobs = { present: 0, mounted: 0, uploaded: 0 };
  const copy: Copy = { ...request, from, to, done: new Set(), blobs };
  const root = await from.find(request.what, request.signal);
  await copyDocument(root, 0, copy);
  if (request.tag !== undefined) await to.put(root.bytes, request.tag, request.signal);
  return { digest: root.digest, documents: copy.done.size, blobs };
}

async function copyDocument(found: Found, depth: number, copy: Copy): Promise<void> {
  const { from, to, signal, done } = copy;
  if (done.has(found.digest)) return;
  if (depth > depthMax || done.size >= documentsMax)
    throw new CapitanError(
      "ArtifactTooLarge",
      `${from.name}: more than ${documentsMax} manifests, or nested deeper than ${depthMax}`,
    );
  done.add(found.digest);
  const { documents, blobs } = partsOf(found.document);
  for (const part of documents)
    await copyDocument(await from.find(part.digest, signal), depth + 1, copy);
  for (let i = 0; i < blobs.length; i += blobsAtOnce)
    await Promise.all(blobs.slice(i, i + blobsAtOnce).map((blob) => copyBlob(blob, copy)));
  await to.put(found.bytes, found.digest, signal);
  copy.report?.(`copied ${found.digest}`);
  if (!copy.referrers) return;
  for (const referrer of await from.discover(found.digest, undefined, signal))
    await copyDocument(await from.find(referrer.digest, signal), depth + 1, copy);
}

async function copyBlob(blob: Descriptor, { from, to, blobs, signal }: Copy): Promise<void> {
  if (blob.size > blobBytesMax)
    throw new CapitanError(
      "ArtifactTooLarge",
      `${from.name}@${blob.digest}: ${blob.size} bytes, more than ${blobBytesMax}`,
    );
  const beside = from.host === to.host && from.repository !== to.repository;
  const mountFrom = beside ? from.repository : undefined;
  blobs[await to.upload(from.source(blob, signal), { mountFrom, signal })]++;
}
