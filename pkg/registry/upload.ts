import { createHash } from "node:crypto";
import {
  checkBlob,
  chunkBytesOf,
  commitPath,
  contentRange,
  cutBlob,
  ownPath,
  receivedBytes,
} from "../distribution/index.ts";
import { CapitanError } from "../errors/index.ts";
import type { BlobSource, Uploaded } from "../oci/index.ts";
import { headerOf, type RegistryHttp, type RegistryReply, type RegistryRequest } from "./http.ts";

const replyBytesMax = 64 * 1024;
/** How often a registry may take less of a piece than it was sent. */
const resumesMax = 5;

export type UploadTarget = {
  readonly http: RegistryHttp;
  readonly repository: string;
  /** A repository of the same registry that has the blob already. */
  readonly mountFrom?: string | undefined;
  readonly signal?: AbortSignal | undefined;
};

/**
 * Brings a blob into a repository: not at all when it is there, by a mount from another repository,
 * in one request, or in pieces when it is large. The bytes are checked against the digest before the
 * registry is told to keep them. Throws ArtifactCorrupt and the Registry* codes.
 */
export async function uploadBlob(blob: BlobSource, target: UploadTarget): Promise<Uploaded> {
  const root = `/v2/${target.repository}/blobs`;
  const head = await send(target, { method: "HEAD", path: `${root}/${blob.digest}` });
  if (head.status === 200) return "present";
  const from = target.mountFrom;
  const mount =
    from === undefined
      ? ""
      : `?mount=${encodeURIComponent(blob.digest)}&from=${encodeURIComponent(from)}`;
  const start = await send(target, { method: "POST", path: `${root}/uploads/${mount}` });
  if (start.status === 201 && from !== undefined) return "mounted";
  if (start.status !== 202) throw refused(target, "an upload", start);
  const chunkBytes = chunkBytesOf(headerOf(start, "oci-chunk-min-length"), target.http.host);
  const location = ownPath(headerOf(start, "location"), start.url);
  if (blob.size <= chunkBytes) await inOne(blob, location, target);
  else await inPieces(blob, { location, chunkBytes }, target);
  return "uploaded";
}

async function inOne(blob: BlobSource, location: string, target: UploadTarget): Promise<void> {
  const body = Buffer.concat(await Array.fromAsync(cutBlob(blob, blob.size)));
  checkBlob(blob, createHash("sha256").update(body).digest("hex"), body.length);
  await commit(commitPath(location, blob.digest), body, target);
}

async function inPieces(
  blob: BlobSource,
  { location, chunkBytes }: { readonly location: string; readonly chunkBytes: number },
  target: UploadTarget,
): Promise<void> {
  const hash = createHash("sha256");
  let next = { path: location, offset: 0 };
  for await (const piece of cutBlob(blob, chunkBytes)) {
    hash.update(piece);
    next = await sendPiece(piece, next, target);
  }
  try {
    checkBlob(blob, hash.digest("hex"), next.offset);
  } catch (error) {
    await send(target, { method: "DELETE", path: next.path });
    throw error;
  }
  await commit(commitPath(next.path, blob.digest), Buffer.alloc(0), target);
}

type Progress = { readonly path: string; readonly offset: number };

/** Sends one piece, and what the registry did not take of it again. */
async function sendPiece(piece: Buffer, from: Progress, target: UploadTarget): Promise<Progress> {
  const end = from.offset + piece.length;
  let at = from;
  for (let resumes = 0; at.offset < end; resumes++) {
    const body = piece.subarray(at.offset - from.offset);
    const headers = { ...octets, "content-range": contentRange(at.offset, body.length) };
    const sent = await send(target, { method: "PATCH", path: at.path, body, headers });
    // Out of step, for instance because a reply was lost: it is asked where it is.
    const isLost = sent.status === 416;
    const reply = isLost ? await send(target, { method: "GET", path: at.path }) : sent;
    const received = receivedBytes(headerOf(reply, "range"), isLost ? at.offset : end, end);
    if (reply.status >= 300 || received < from.offset || resumes > resumesMax)
      throw refused(target, "a piece of a blob", sent);
    const location = headerOf(reply, "location");
    at = {
      path: location === undefined ? at.path : ownPath(location, reply.url),
      offset: received,
    };
  }
  return at;
}

const octets = { "content-type": "application/octet-stream" };

async function commit(path: string, body: Buffer, target: UploadTarget): Promise<void> {
  const reply = await send(target, { method: "PUT", path, body, headers: octets });
  if (reply.status !== 201) throw refused(target, "a blob", reply);
}

function send(
  { http, repository, mountFrom, signal }: UploadTarget,
  req: Pick<RegistryRequest, "method" | "path" | "body" | "headers">,
): Promise<RegistryReply> {
  const also = mountFrom === undefined ? "" : ` repository:${mountFrom}:pull`;
  const scope = `repository:${repository}:pull,push${also}`;
  return http.send({ ...req, scope, bytesMax: replyBytesMax, signal });
}

const refused = ({ http, repository }: UploadTarget, what: string, { status }: RegistryReply) =>
  new CapitanError(
    "RegistryUnreachable",
    `${http.host}/${repository}: the registry did not take ${what}: HTTP ${status}`,
  );
