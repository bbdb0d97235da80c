import assert from "node:assert/strict";
import { test } from "node:test";
import { commitOn, encodePack, filesOf, readPack, type Edit, type GitObjects } from "./index.ts";
import { hashOf, type GitObject, type ObjectType } from "./pack.ts";

const author = { name: "Ada Lovelace", email: "ada@example.test" };
const now = new Date("2026-03-04T05:06:07.890Z");
type Base = { readonly oid: string; readonly objects: GitObjects };

const make = (edits: readonly Edit[], parent?: Base, more = {}) =>
  commitOn({ parent, edits, message: "Change", author, now, ...more }, "r");
const edit = (path: string, text?: string): Edit => ({
  path,
  content: text === undefined ? undefined : Buffer.from(text),
});

/** A commit of these edits, with everything that it stands on, as somebody reads it who was sent its pack. */
async function made(edits: readonly Edit[], parent?: Base): Promise<Base> {
  const commit = await make(edits, parent);
  assert.ok(commit !== undefined);
  const objects = readPack(encodePack(commit.objects, "r"), "r");
  return { oid: commit.oid, objects: new Map([...(parent?.objects ?? []), ...objects]) };
}

const list = ({ oid, objects }: Base) =>
  Object.fromEntries(
    [...filesOf(objects, { commit: oid, path: "", others: "left out" }, "r")].map(
      ([path, { content }]) => [path, content.toString()],
    ),
  );

test("files are added, changed and taken away; empty directories go", async () => {
  const first = await made([edit("b/c.yaml", "1"), edit("b.yaml", "2"), edit("x/y/z", "3")]);
  assert.deepEqual(list(first), { "b/c.yaml": "1", "b.yaml": "2", "x/y/z": "3" });
  const second = await made([edit("b/c.yaml", "new"), edit("x/y/z"), edit("b/d", "4")], first);
  assert.deepEqual(list(second), { "b/c.yaml": "new", "b.yaml": "2", "b/d": "4" });
  const text = second.objects.get(second.oid)?.content.toString();
  assert.match(text ?? "", new RegExp(`^tree [a-f0-9]{40}\nparent ${first.oid}\nauthor Ada`));
  const third = await made([edit("b/c.yaml"), edit("b/d"), edit("b.yaml")], second);
  assert.deepEqual(list(third), {});
});

test("only what is new is sent", async () => {
  const first = await made([edit("a/1", "same"), edit("b/2", "other")]);
  const commit = await make([edit("a/3", "same"), edit("a/4", "new")], first);
  assert.deepEqual(commit?.objects.map(({ type }) => type).sort(), [
    "blob",
    "commit",
    "tree",
    "tree",
  ]);
});

test("edits that change nothing make no commit", async () => {
  const first = await made([edit("a", "1")]);
  assert.equal(await make([edit("a", "1"), edit("b"), edit("c/d")], first), undefined);
  assert.equal(await make([], first), undefined);
  assert.equal(await make([]), undefined);
  assert.equal(await make([edit("a")]), undefined);
});

const refused: readonly (readonly [string, readonly Edit[]])[] = [
  ["..", [edit("../x", "")]],
  ["a way out and back", [edit("a/../b", "")]],
  ["an absolute path", [edit("/etc/passwd", "")]],
  ["an empty path", [edit("", "")]],
  ["a directory", [edit("a/", "")]],
  ["Git's own directory", [edit(".git/hooks/post-checkout", "")]],
  ["Git's own directory below", [edit("a/.GIT/config", "")]],
  ["Git's own directory on Windows", [edit("GIT~1/config", "")]],
  ["Git's own directory on macOS", [edit(".g\u200cit/config", "")]],
  ["a NUL", [edit("a\0b", "")]],
  ["a line break", [edit("a\nb", "")]],
  ["a backslash", [edit("a\\b", "")]],
  ["half a character", [edit("a\ud800", "")]],
  ["a name twice", [edit("a", "1"), edit("a", "2")]],
  ["a file that is a directory too", [edit("a", "1"), edit("a/b", "2")]],
  ["a directory that is a file too", [edit("a/b", "1"), edit("a", "2")]],
  ["names that differ in case", [edit("Config/a", "1"), edit("config/b", "2")]],
  ["a name that differs in case from one that is there", [edit("DIR/x", "1")]],
  ["a name that is written otherwise", [edit("dir/\u00e9", "1"), edit("dir/e\u0301", "2")]],
  ["a directory in the place of a file", [edit("file/x", "1")]],
  ["a file in the place of a directory", [edit("dir", "1")]],
  ["the removal of a directory", [edit("dir")]],
  ["a file below a link", [edit("link/x", "1")]],
  ["a file in the place of a link", [edit("link", "1")]],
  ["a file below a submodule", [edit("module/x", "1")]],
];

function sample(): Base {
  const objects = new Map<string, GitObject>();
  const put = (type: ObjectType, content: string | Buffer) => {
    const object = { type, content: Buffer.from(content) };
    objects.set(hashOf(object), object);
    return hashOf(object);
  };
  const tree = (...entries: readonly (readonly [string, string | Buffer, string])[]) =>
    put(
      "tree",
      Buffer.concat(
        entries.flatMap(([mode, name, oid]) => [
          Buffer.from(`${mode} `),
          Buffer.from(name),
          Buffer.from([0]),
          Buffer.from(oid, "hex"),
        ]),
      ),
    );
  const blob = put("blob", "x");
  const dir = tree(["100755", "run", blob], ["100644", Buffer.from([0xff, 0x61]), blob]);
  const root = tree(
    ["40000", "dir", dir],
    ["100644", "file", blob],
    ["120000", "link", put("blob", "/etc")],
    ["160000", "module", "a".repeat(40)],
  );
  return { oid: put("commit", `tree ${root}\nauthor x\n\nm`), objects };
}

for (const [name, edits] of refused) {
  test(`G3 an edit with ${name} is refused before anything is made`, async () => {
    await assert.rejects(make(edits, sample()), { code: "ArtifactUnsafe" });
  });
}

test("what is not edited stays: links, submodules, modes, names that are no text", async () => {
  const first = sample();
  const second = await made([edit("dir/new", "1"), edit("dir/run", "2")], first);
  const [before, after] = [first, second].map(({ oid, objects }) => {
    const text = objects.get(oid)?.content.toString() ?? "";
    return objects.get(text.slice(5, 45))?.content.toString("latin1") ?? "";
  });
  assert.match(after ?? "", /120000 link\0.*160000 module\0/s);
  assert.equal(after?.length, before?.length);
  assert.deepEqual(list(second)["dir/run"], "2");
  const files = filesOf(second.objects, { commit: second.oid, path: "dir" }, "r");
  assert.equal(files.get("run")?.executable, true);
  const trees = [...second.objects.values()].map(({ content }) => content.toString("latin1"));
  assert.ok(trees.some((tree) => tree.includes("100644 \u00ffa\0") && tree.includes("new\0")));
});

test("nobody writes a line of a commit that is not theirs", async () => {
  for (const name of ["", " ", "a\nb", "a<b", "a\0", "x".repeat(501)])
    await assert.rejects(make([edit("a", "1")], undefined, { author: { ...author, name } }), {
      code: "GitIdentityMissing",
    });
  const commit = await make([edit("a", "1")], undefined, { message: "One\0\u001b[2J\n\ntwo\n\n" });
  const text = commit?.objects.find(({ type }) => type === "commit")?.content.toString() ?? "";
  assert.match(text, /\n\nOne\[2J\n\ntwo\n$/);
  assert.match(text, /\nauthor Ada Lovelace <ada@example\.test> 1772600767 \+0000\ncommitter Ada/);
});

test("a signature is of the commit without it, and goes in as git keeps it", async () => {
  let signed = "";
  const sign = (payload: Buffer) => {
    signed = payload.toString();
    return Promise.resolve("-----BEGIN SSH SIGNATURE-----\nabc\n-----END SSH SIGNATURE-----\n");
  };
  const commit = await make([edit("a", "1")], undefined, { sign });
  const text = commit?.objects.find(({ type }) => type === "commit")?.content.toString() ?? "";
  const header = /gpgsig -----BEGIN SSH SIGNATURE-----\n abc\n -----END SSH SIGNATURE-----\n/;
  assert.match(text, header);
  assert.equal(text.replace(header, ""), signed);
  await assert.rejects(make([edit("a", "1")], undefined, { sign: () => Promise.resolve("") }), {
    code: "GitIdentityMissing",
  });
});

test("what could not be read back is not made", async () => {
  const large = { path: "a", content: Buffer.alloc(16 * 1024 * 1024 + 1) };
  await assert.rejects(make([large]), { code: "ArtifactTooLarge" });
  const many = Array.from({ length: 10_001 }, (_, i) => edit(`f${i}`, ""));
  await assert.rejects(make(many), { code: "ArtifactTooLarge" });
  const message = "x".repeat(64 * 1024);
  await assert.rejects(make([edit("a", "1")], undefined, { message }), {
    code: "ArtifactTooLarge",
  });
});
