import { gunzipSync, gzipSync } from "node:zlib";
import { packTar, unpackTar, type ParsedTarEntryWithData } from "modern-tar";
import { CapitanError, messageOf } from "../errors/index.ts";

/** Limits on what an artifact may unpack to. Flux's own default for the size is 100 MiB. */
export const unpackedBytesMax = 64 * 1024 * 1024;
export const entriesMax = 10_000;
const pathBytesMax = 512;
/** Manifests compress to about a tenth; a bomb to a thousandth. Checked above this many bytes. */
const ratioMax = 200;
const ratioFloorBytes = 1024 * 1024;

export type ArtifactFile = { readonly content: Buffer; readonly executable?: boolean };

/** The regular files of an artifact by their path, which is relative, clean and unique. */
export type ArtifactFiles = ReadonlyMap<string, ArtifactFile>;

/**
 * Unpacks a tar+gzip layer in memory. Nothing is written to disk. Links, devices, absolute names,
 * names with `..` and double entries are refused, not skipped.
 * Throws ArtifactCorrupt, ArtifactTooLarge, ArtifactUnsafe.
 */
export async function unpack(layer: Uint8Array, what: string): Promise<ArtifactFiles> {
  const entries = await readTar(gunzip(layer, what), what);
  if (entries.length > entriesMax)
    throw new CapitanError("ArtifactTooLarge", `${what}: more than ${entriesMax} entries`);
  const files = new Map<string, ArtifactFile>();
  const folded = new Set<string>();
  for (const { header, data } of entries) {
    const path = safePath(header.name, what);
    if (header.type === "directory") continue;
    if (header.type !== "file")
      throw unsafe(
        what,
        `${JSON.stringify(path)} is a ${header.type ?? "special file"}, not a regular file`,
      );
    const key = path.normalize("NFC").toLowerCase();
    if (path === "" || folded.has(key)) throw unsafe(what, `${JSON.stringify(path)} appears twice`);
    folded.add(key);
    files.set(path, {
      content: Buffer.from(data ?? []),
      executable: ((header.mode ?? 0) & 0o100) !== 0,
    });
  }
  return files;
}

function gunzip(layer: Uint8Array, what: string): Buffer {
  const ratioBytes = Math.max(layer.length * ratioMax, ratioFloorBytes);
  const maxOutputLength = Math.min(unpackedBytesMax, ratioBytes);
  try {
    return gunzipSync(layer, { maxOutputLength });
  } catch (error) {
    if ((error as { code?: string }).code === "ERR_BUFFER_TOO_LARGE") {
      throw new CapitanError(
        "ArtifactTooLarge",
        `${what}: unpacks to more than ${maxOutputLength} bytes`,
      );
    }
    throw new CapitanError("ArtifactCorrupt", `${what}: not a gzip archive (${messageOf(error)})`);
  }
}

async function readTar(archive: Buffer, what: string): Promise<readonly ParsedTarEntryWithData[]> {
  try {
    return await unpackTar(new Uint8Array(archive), { strict: true });
  } catch (error) {
    throw new CapitanError("ArtifactCorrupt", `${what}: not a tar archive (${messageOf(error)})`);
  }
}

/** The path without `./` and trailing slashes; "" is the root. Throws ArtifactUnsafe when it leaves the root. */
export function safePath(name: string, what: string): string {
  const shown = JSON.stringify(name.slice(0, 100));
  if (name.length > pathBytesMax || hasControl(name))
    throw unsafe(what, `${shown} is not a usable name`);
  if (name.startsWith("/")) throw unsafe(what, `${shown} is an absolute name`);
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw unsafe(what, `${shown} leaves the artifact's root`);
  return parts.join("/");
}

/**
 * The files below a directory of an artifact, by their path from there. Throws ArtifactNotFound, the
 * same when the path leads out of it and when nothing is there.
 */
export function filesBelow(files: ArtifactFiles, path: string, what: string): ArtifactFiles {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  const prefix = parts.map((part) => `${part}/`).join("");
  if (prefix === "" && !path.startsWith("/")) return files;
  const found = [...files].filter(([name]) => name.startsWith(prefix));
  if (found.length === 0 || path.startsWith("/") || parts.includes("..")) {
    const shown = JSON.stringify(path.slice(0, 200));
    throw new CapitanError("ArtifactNotFound", `${what} has no directory ${shown}`);
  }
  return new Map(found.map(([name, file]) => [name.slice(prefix.length), file]));
}

/** Control characters, and the backslash that some systems take for a slash. */
const hasControl = (name: string) =>
  Array.from(name).some((c) => c < " " || c === "\\" || c === "\u007f");

const unsafe = (what: string, message: string) =>
  new CapitanError("ArtifactUnsafe", `${what}: ${message}`);

/**
 * Packs files as Flux does: USTAR, a first entry ".", names in order, no owner, no times. The same
 * files always give the same bytes on one machine; compressors differ between Flux and Node, so only
 * the uncompressed content is comparable across them.
 */
export async function pack(files: ArtifactFiles): Promise<Buffer> {
  const common = { uid: 0, gid: 0, uname: "", gname: "", mtime: new Date(0) };
  const directories = new Set([...files.keys()].flatMap(parentsOf));
  const names = [...directories, ...files.keys()].sort();
  const entries = names.map((name) => {
    const file = files.get(name);
    if (file === undefined)
      return { header: { ...common, name, type: "directory" as const, size: 0, mode: 0o755 } };
    const mode = file.executable === true ? 0o755 : 0o644;
    return {
      header: { ...common, name, type: "file" as const, size: file.content.length, mode },
      body: new Uint8Array(file.content),
    };
  });
  const archive = await packTar([
    { header: { ...common, name: ".", type: "directory", size: 0, mode: 0o755 } },
    ...entries,
  ]);
  const layer = gzipSync(archive);
  layer[9] = 255; // the header's OS byte: "unknown", as Go writes it, whatever this machine is
  return layer;
}

function parentsOf(path: string): readonly string[] {
  const parts = path.split("/").slice(0, -1);
  return parts.map((_, i) => parts.slice(0, i + 1).join("/"));
}
