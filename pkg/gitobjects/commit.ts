import { CapitanError } from "../errors/index.ts";
import { entriesMax, safePath } from "../oci/index.ts";
import {
  hashOf,
  objectBytesMax,
  type GitObject,
  type GitObjects,
  type ObjectType,
} from "./pack.ts";
import {
  directory,
  directoryOf,
  foldedName,
  isGitDirectory,
  regular,
  rootOf,
  type TreeEntry,
} from "./tree.ts";

/** A file as it is to be. Without content it goes. */
export type Edit = { readonly path: string; readonly content: Uint8Array | undefined };

/** Who makes a commit. */
export type Person = { readonly name: string; readonly email: string };

/** A commit, and every object of it that its parent has not. */
export type Commit = { readonly oid: string; readonly objects: readonly GitObject[] };

export type CommitRequest = {
  /** The commit that it stands on, with all of its objects; undefined in an empty repository. */
  readonly parent: { readonly oid: string; readonly objects: GitObjects } | undefined;
  readonly edits: readonly Edit[];
  readonly message: string;
  readonly author: Person;
  readonly now: Date;
  /** Makes a signature of the commit's bytes, in the form in which git keeps it. */
  readonly sign?: ((payload: Buffer) => Promise<string>) | undefined;
};

const messageBytesMax = 64 * 1024;
const personLengthMax = 500;
const signatureBytesMax = 64 * 1024;

/**
 * The commit that makes these edits, or undefined when they change nothing. Files keep their modes;
 * what is not edited stays as it is, links and submodules too, which no edit may touch or lead
 * through. Throws ArtifactUnsafe for names that are unsafe on any system, before anything is made;
 * ArtifactTooLarge, GitIdentityMissing.
 */
export async function commitOn(request: CommitRequest, what: string): Promise<Commit | undefined> {
  const { parent, edits } = request;
  const root = parent === undefined ? undefined : rootOf(parent.objects, parent.oid, what);
  const work: Work = { objects: parent?.objects ?? new Map(), made: new Map(), what };
  const tree = writeDirectory(root, "", nested(edits, what), work) ?? add(work, "tree", []);
  if (tree === (root ?? emptyTree)) return undefined;
  const oid = add(work, "commit", [await commitText(request, tree, what)]);
  return { oid, objects: [...work.made.values()] };
}

const emptyTree = hashOf({ type: "tree", content: Buffer.alloc(0) });

/** What there is, and what is made of it. */
type Work = {
  readonly objects: GitObjects;
  readonly made: Map<string, GitObject>;
  readonly what: string;
};

/** The edits of a directory by name: of a file, or of what is in a directory. */
type Changes = Map<string, Change>;
type Change =
  | { readonly kind: "file"; readonly content: Uint8Array | undefined }
  | { readonly kind: "directory"; readonly changes: Changes };

function nested(edits: readonly Edit[], what: string): Changes {
  if (edits.length > entriesMax) throw tooLarge(what, `more than ${entriesMax} edits`);
  const root: Changes = new Map();
  for (const { path, content } of edits) {
    const names = checkedPath(path, what);
    const last = names.pop() ?? "";
    let changes = root;
    for (const name of names) {
      const inside = changes.get(name) ?? { kind: "directory", changes: new Map() };
      if (inside.kind === "file") throw unsafe(what, path, "is below another file of the commit");
      changes.set(name, inside);
      changes = inside.changes;
    }
    if (changes.has(last)) throw unsafe(what, path, "is there twice in one commit");
    if (content !== undefined && content.length > objectBytesMax)
      throw tooLarge(what, `${JSON.stringify(path)} has more than ${objectBytesMax} bytes`);
    changes.set(last, { kind: "file", content });
  }
  return root;
}

function checkedPath(path: string, what: string): string[] {
  if (path === "" || safePath(path, what) !== path)
    throw unsafe(what, path, "is not the plain path of a file");
  const names = path.split("/");
  if (names.some(isGitDirectory)) throw unsafe(what, path, "would be in Git's own directory");
  if (!path.isWellFormed()) throw unsafe(what, path, "is not Unicode");
  return names;
}

/** The directory with its changes; undefined when nothing is left in it. */
function writeDirectory(
  oid: string | undefined,
  prefix: string,
  changes: Changes,
  work: Work,
): string | undefined {
  const before = oid === undefined ? [] : directoryOf(work.objects, oid, work.what);
  const entries = new Map(before.map((entry) => [entry.name, entry]));
  if (entries.size < before.length)
    throw unsafe(work.what, prefix, "has two names that cannot be told apart");
  for (const [name, change] of changes) {
    const path = `${prefix}${name}`;
    const entry = changed(entries.get(name), { name, path, change }, work);
    if (entry === undefined) entries.delete(name);
    else entries.set(name, entry);
  }
  if (entries.size === 0) return undefined;
  checkNames([...entries.keys()], { changes, prefix }, work.what);
  const sorted = [...entries.values()].sort((a, b) => Buffer.compare(sortKey(a), sortKey(b)));
  return add(work, "tree", sorted.flatMap(encodeEntry));
}

type Place = { readonly name: string; readonly path: string; readonly change: Change };

function changed(
  entry: TreeEntry | undefined,
  { name, path, change }: Place,
  work: Work,
): TreeEntry | undefined {
  const bytes = Buffer.from(name);
  const isDirectory = change.kind === "directory";
  const mode = entry?.mode ?? (isDirectory ? directory : "100644");
  if (isDirectory ? mode !== directory : !regular.has(mode))
    throw unsafe(work.what, path, `is there, and no ${isDirectory ? "directory" : "regular file"}`);
  const oid = isDirectory
    ? writeDirectory(entry?.oid, `${path}/`, change.changes, work)
    : addBlob(work, change.content);
  return oid === undefined ? undefined : { mode, name, bytes, oid };
}

/** No new name may be one that some system takes for one that is there. */
function checkNames(
  names: readonly string[],
  { changes, prefix }: { readonly changes: Changes; readonly prefix: string },
  what: string,
): void {
  const folded = Map.groupBy(names, foldedName);
  for (const name of changes.keys()) {
    const other = folded.get(foldedName(name))?.find((found) => found !== name);
    if (other === undefined || !names.includes(name)) continue;
    throw unsafe(what, `${prefix}${name}`, `is taken for ${JSON.stringify(other)} on some systems`);
  }
}

/** Git orders a directory as if its name ended with a slash. */
const sortKey = ({ mode, bytes }: TreeEntry) =>
  mode === directory ? Buffer.concat([bytes, Buffer.from("/")]) : bytes;

const encodeEntry = ({ mode, bytes, oid }: TreeEntry): readonly Buffer[] => [
  Buffer.from(`${mode} `),
  bytes,
  Buffer.from([0]),
  Buffer.from(oid, "hex"),
];

async function commitText(request: CommitRequest, tree: string, what: string): Promise<Buffer> {
  const { parent, author, now, sign } = request;
  const person = `${personText(author)} ${Math.floor(now.getTime() / 1000)} +0000`;
  const parents = parent === undefined ? [] : [`parent ${parent.oid}`];
  const head = [`tree ${tree}`, ...parents, `author ${person}`, `committer ${person}`];
  const message = messageText(request.message, what);
  const text = (lines: readonly string[]) => Buffer.from(`${lines.join("\n")}\n\n${message}`);
  if (sign === undefined) return text(head);
  const signature = (await sign(text(head))).trimEnd();
  if (signature === "" || signature.length > signatureBytesMax)
    throw new CapitanError("GitIdentityMissing", `${what}: there is no signature of the commit`);
  return text([...head, `gpgsig ${signature.replaceAll(/\r?\n/g, "\n ")}`]);
}

function personText({ name, email }: Person): string {
  const isUsable = [name, email].every(
    (text) => text.trim() !== "" && text.length <= personLengthMax && !/[\p{Cc}<>]/u.test(text),
  );
  if (isUsable) return `${name.trim()} <${email.trim()}>`;
  const shown = JSON.stringify(`${name} <${email}>`.slice(0, 200));
  throw new CapitanError("GitIdentityMissing", `${shown} is nobody that a commit can be by`);
}

function messageText(message: string, what: string): string {
  const text = `${message.replaceAll(/[^\P{Cc}\n\t]/gu, "").trim()}\n`;
  if (Buffer.byteLength(text) <= messageBytesMax) return text;
  throw tooLarge(what, `a commit message of more than ${messageBytesMax} bytes`);
}

const addBlob = (work: Work, content: Uint8Array | undefined) =>
  content === undefined ? undefined : add(work, "blob", [content]);

/** Keeps an object, when it is new, and says its name. */
function add(work: Work, type: ObjectType, parts: readonly Uint8Array[]): string {
  const object = { type, content: Buffer.concat(parts) };
  const oid = hashOf(object);
  if (!work.objects.has(oid)) work.made.set(oid, object);
  return oid;
}

const unsafe = (what: string, path: string, why: string) =>
  new CapitanError("ArtifactUnsafe", `${what}: ${JSON.stringify(path.slice(0, 200))} ${why}`);
const tooLarge = (what: string, why: string) =>
  new CapitanError("ArtifactTooLarge", `${what}: ${why}`);
