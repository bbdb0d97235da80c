import { CapitanError } from "../errors/index.ts";
import {
  entriesMax,
  safePath,
  unpackedBytesMax,
  type ArtifactFile,
  type ArtifactFiles,
} from "../oci/index.ts";
import type { GitObjects, ObjectType } from "./pack.ts";

/** One line of a directory. `bytes` is its name as it is stored, which need not be UTF-8. */
export type TreeEntry = {
  readonly mode: string;
  readonly name: string;
  readonly bytes: Buffer;
  readonly oid: string;
};

export const directory = "40000";
export const regular = new Set(["100644", "100755"]);
const hashBytes = 20;
/** Characters that HFS+ passes over when it compares names (git's `is_hfs_dotgit`). */
const ignored = /[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]/g;

/** `others` are links and submodules: what is to be applied must have none, what is to be written to may. */
type Whereabouts = {
  readonly commit: string;
  readonly path: string;
  readonly others?: "refused" | "left out";
};

/**
 * The files of a commit below a directory, by their path from there. Links, submodules, and names
 * that are unsafe on any system are refused, not skipped, as in OCI artifacts. Throws GitNotFound, the
 * same when a path leads out of the repository and when nothing is there; ArtifactUnsafe,
 * ArtifactTooLarge, ArtifactCorrupt.
 */
export function filesOf(
  objects: GitObjects,
  { commit, path, others = "refused" }: Whereabouts,
  what: string,
): ArtifactFiles {
  const walk: Walk = { objects, what, others, files: new Map(), entries: 0, bytes: 0 };
  gather(treeAt(objects, commit, path, what), "", walk);
  return walk.files;
}

type Walk = {
  readonly objects: GitObjects;
  readonly what: string;
  readonly others: "refused" | "left out";
  readonly files: Map<string, ArtifactFile>;
  /** What was met and how large it was, each time that it was met: one tree may be in many places. */
  entries: number;
  bytes: number;
};

function gather(oid: string, prefix: string, walk: Walk): void {
  for (const { mode, name, oid: child } of checkedEntries(oid, prefix, walk)) {
    const path = safePath(`${prefix}${name}`, walk.what);
    if (++walk.entries > entriesMax)
      throw tooLarge(walk.what, `more than ${entriesMax} files and directories`);
    if (mode === directory) gather(child, `${path}/`, walk);
    else addFile(path, { mode, oid: child }, walk);
  }
}

function addFile(path: string, { mode, oid }: Pick<TreeEntry, "mode" | "oid">, walk: Walk): void {
  if (!regular.has(mode) && walk.others === "left out") return;
  if (!regular.has(mode)) throw unsafe(walk.what, path, kindOf(mode));
  const content = contentOf(walk.objects, oid, "blob", walk.what);
  walk.bytes += content.length;
  if (walk.bytes > unpackedBytesMax)
    throw tooLarge(walk.what, `more than ${unpackedBytesMax} bytes of files`);
  walk.files.set(path, { content, executable: mode === "100755" });
}

function kindOf(mode: string): string {
  if (mode === "120000") return "is a symbolic link, not a regular file";
  return mode === "160000" ? "is a submodule" : `has the mode ${mode.slice(0, 10)}`;
}

/** The entries of one directory, when all of their names may stand beside each other on any system. */
function checkedEntries(oid: string, prefix: string, walk: Walk): readonly TreeEntry[] {
  const { objects, what } = walk;
  const entries = readTree(contentOf(objects, oid, "tree", what), what, entriesMax);
  const folded = new Set<string>();
  for (const { name } of entries) {
    const path = `${prefix}${name}`;
    if (name === "" || name === "." || name === ".." || name.includes("/"))
      throw unsafe(what, path, "is not the name of a file");
    if (isGitDirectory(name)) throw unsafe(what, path, "would be Git's own directory");
    const key = foldedName(name);
    if (folded.has(key)) throw unsafe(what, path, "appears twice");
    folded.add(key);
  }
  return entries;
}

/** Two names that are one on some system have the same key. */
export const foldedName = (name: string) => name.normalize("NFC").toLowerCase();

/** Whether some system takes a name for `.git`: by case, by what HFS+ ignores, by what NTFS drops. */
export function isGitDirectory(name: string): boolean {
  const plain = name
    .replaceAll(ignored, "")
    .toLowerCase()
    .replace(/[:].*$/s, "")
    .replace(/[. ]+$/, "");
  return plain === ".git" || plain === "git~1";
}

/** The tree of a commit. Throws ArtifactCorrupt. */
export function rootOf(objects: GitObjects, commit: string, what: string): string {
  const text = contentOf(objects, commit, "commit", what).toString("latin1");
  const [, oid] = /^tree ([a-f0-9]{40})\n/.exec(text) ?? [];
  if (oid === undefined) throw new CapitanError("ArtifactCorrupt", `${what}: a broken commit`);
  return oid;
}

/** The entries of one directory, whatever their names are. Throws Artifact*. */
export function directoryOf(objects: GitObjects, oid: string, what: string): readonly TreeEntry[] {
  return readTree(contentOf(objects, oid, "tree", what), what, entriesMax);
}

/** The tree at a path of a commit. Links are not followed. */
function treeAt(objects: GitObjects, commit: string, path: string, what: string): string {
  let oid = rootOf(objects, commit, what);
  if (path.startsWith("/") || path.split("/").includes("..")) throw notThere(path, what);
  for (const name of path.split("/").filter((part) => part !== "" && part !== ".")) {
    const entries = readTree(contentOf(objects, oid, "tree", what), what, Infinity);
    const entry = entries.find((e) => e.name === name);
    if (entry?.mode !== directory) throw notThere(path, what);
    oid = entry.oid;
  }
  return oid;
}

/** The entries of a tree object: mode, space, name, NUL, hash. */
function readTree(tree: Buffer, what: string, countMax: number): readonly TreeEntry[] {
  const entries: TreeEntry[] = [];
  for (let offset = 0; offset < tree.length;) {
    const space = tree.indexOf(0x20, offset);
    const nul = tree.indexOf(0, offset);
    const next = nul + 1 + hashBytes;
    if (space < 0 || nul < space || next > tree.length)
      throw new CapitanError("ArtifactCorrupt", `${what}: a broken directory`);
    if (entries.length >= countMax)
      throw tooLarge(what, `more than ${countMax} files and directories`);
    entries.push({
      mode: tree.toString("latin1", offset, space).replace(/^0+/, ""),
      name: tree.toString("utf8", space + 1, nul),
      bytes: tree.subarray(space + 1, nul),
      oid: tree.toString("hex", nul + 1, next),
    });
    offset = next;
  }
  return entries;
}

function contentOf(objects: GitObjects, oid: string, type: ObjectType, what: string): Buffer {
  const object = objects.get(oid);
  if (object?.type === type) return object.content;
  const problem = object === undefined ? "is missing" : `is a ${object.type}, not a ${type}`;
  throw new CapitanError("ArtifactCorrupt", `${what}: object ${oid} ${problem}`);
}

function notThere(path: string, what: string): CapitanError {
  const shown = JSON.stringify(path.slice(0, 200));
  return new CapitanError("GitNotFound", `${what} has no directory ${shown}`);
}

const unsafe = (what: string, path: string, why: string) =>
  new CapitanError("ArtifactUnsafe", `${what}: ${JSON.stringify(path.slice(0, 200))} ${why}`);
const tooLarge = (what: string, why: string) =>
  new CapitanError("ArtifactTooLarge", `${what}: ${why}`);
