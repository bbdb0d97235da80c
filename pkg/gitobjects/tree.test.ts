import assert from "node:assert/strict";
import { test } from "node:test";
import { filesOf } from "./index.ts";
import type { GitObject, GitObjects, ObjectType } from "./pack.ts";

type Entry = readonly [mode: string, name: string, oid: string];
const commit = "c".repeat(40);

/** Objects under names of our own: nothing here asks for hashes. */
class Store {
  readonly objects = new Map<string, GitObject>();
  #next = 0;

  put(type: ObjectType, content: string | Buffer): string {
    const oid = (++this.#next).toString(16).padStart(40, "0");
    this.objects.set(oid, { type, content: Buffer.from(content) });
    return oid;
  }

  tree(...entries: readonly Entry[]): string {
    const bytes = entries.flatMap(([mode, name, oid]) => [
      Buffer.from(`${mode} ${name}\0`),
      Buffer.from(oid, "hex"),
    ]);
    return this.put("tree", Buffer.concat(bytes));
  }

  commit(tree: string): GitObjects {
    this.objects.set(commit, {
      type: "commit",
      content: Buffer.from(`tree ${tree}\nauthor x\n\nm`),
    });
    return this.objects;
  }
}

const list = (objects: GitObjects, path = "./") =>
  [...filesOf(objects, { commit, path }, "r")].map(([name, { content, executable }]) => [
    name,
    content.toString(),
    executable,
  ]);

function sample() {
  const store = new Store();
  const file = store.put("blob", "x");
  const inner = store.tree(["100644", "b.yaml", file], ["100755", "run", file]);
  const config = store.tree(["100644", "a.yaml", file], ["040000", "sub", inner]);
  const link = store.put("blob", "/etc/passwd");
  return store.commit(store.tree(["40000", "config", config], ["120000", "link", link]));
}

test("the files below a directory, by their path from there", () => {
  const want = [
    ["a.yaml", "x", false],
    ["sub/b.yaml", "x", false],
    ["sub/run", "x", true],
  ];
  for (const path of ["./config", "config", "./config/", ".//config/."])
    assert.deepEqual(list(sample(), path), want, path);
  assert.deepEqual(list(sample(), "./config/sub").length, 2);
});

test("O5 a path that leads out and one that leads nowhere give the same error", () => {
  const paths = [
    "../config",
    "/etc",
    "/config",
    "config/../..",
    "nope",
    "config/a.yaml",
    "link",
    "link/x",
    ".git",
    "config/\u0000",
    "__proto__",
    "config/nope/../../..",
  ];
  for (const path of paths)
    assert.throws(() => list(sample(), path), {
      code: "GitNotFound",
      message: `r has no directory ${JSON.stringify(path)}`,
    });
});

const unsafe: readonly (readonly [string, string, RegExp])[] = [
  ["120000", "link", /is a symbolic link/],
  ["160000", "module", /is a submodule/],
  ["100664", "old", /has the mode 100664/],
  ["100000", "odd", /has the mode/],
  ["100644", "..", /not the name of a file/],
  ["40000", "..", /not the name of a file/],
  ["100644", ".", /not the name of a file/],
  ["100644", "", /not the name of a file/],
  ["100644", "../../etc/passwd", /not the name of a file/],
  ["100644", "a/b", /not the name of a file/],
  ["100644", "/etc/passwd", /not the name of a file/],
  ["100644", "a\\b", /not a usable name/],
  ["100644", "a\nb", /not a usable name/],
  ["100644", "a\u001b[31m", /not a usable name/],
  ["100644", "x".repeat(600), /not a usable name/],
  ["40000", ".git", /Git's own/],
  ["40000", ".GIT", /Git's own/],
  ["40000", ".g\u200cit", /Git's own/],
  ["40000", "\ufeff.git", /Git's own/],
  ["40000", "git~1", /Git's own/],
  ["40000", "GIT~1", /Git's own/],
  ["40000", ".git ", /Git's own/],
  ["40000", ".git. .", /Git's own/],
  ["100644", ".git::$INDEX_ALLOCATION", /Git's own/],
  ["100644", "FILE.yaml", /appears twice/],
  ["40000", "File.yaml", /appears twice/],
];
for (const [mode, name, message] of unsafe) {
  test(`G5 a tree with ${mode} ${JSON.stringify(name.slice(0, 30))} is refused`, () => {
    const store = new Store();
    const file = store.put("blob", "x");
    const child = mode === "40000" ? store.tree(["100644", "hooks", file]) : file;
    const entries: readonly Entry[] = [
      ["100644", "file.yaml", file],
      [mode, name, child],
    ];
    const objects = store.commit(store.tree(["40000", "config", store.tree(...entries)]));
    assert.throws(() => list(objects, "./config"), { code: "ArtifactUnsafe", message });
  });
}

test("G5 names that only differ in how they are composed are one name", () => {
  const store = new Store();
  const file = store.put("blob", "x");
  const tree = store.tree(["100644", "\u00e9", file], ["100644", "e\u0301", file]);
  assert.throws(() => list(store.commit(tree)), { code: "ArtifactUnsafe", message: /twice/ });
});

test("G5 what is unsafe elsewhere in the repository does no harm", () => {
  const store = new Store();
  const file = store.put("blob", "x");
  const config = store.tree(["100644", "a.yaml", file]);
  const tree = store.tree(
    ["40000", ".git", config],
    ["40000", "config", config],
    ["160000", "m", file],
  );
  assert.deepEqual(list(store.commit(tree), "./config"), [["a.yaml", "x", false]]);
});

test("G5 a tree of trees that are each other's many times is cut off", () => {
  const store = new Store();
  let oid = store.put("blob", "x");
  for (let depth = 0; depth < 12; depth++) {
    const mode = depth === 0 ? "100644" : "40000";
    oid = store.tree(...Array.from({ length: 10 }, (_, i): Entry => [mode, `n${i}`, oid]));
  }
  const started = performance.now();
  assert.throws(() => list(store.commit(oid)), {
    code: "ArtifactTooLarge",
    message: /more than 10000/,
  });
  assert.ok(performance.now() - started < 2_000);
});

test("G5 one large file in many places counts as often", () => {
  const store = new Store();
  const file = store.put("blob", Buffer.alloc(1024 * 1024));
  const tree = store.tree(
    ...Array.from({ length: 100 }, (_, i): Entry => ["100644", `f${i}`, file]),
  );
  assert.throws(() => list(store.commit(tree)), {
    code: "ArtifactTooLarge",
    message: /bytes of files/,
  });
});

test("G5 a million entries are refused early", () => {
  const store = new Store();
  const entry = Buffer.concat([Buffer.from("100644 f\0"), Buffer.alloc(20, 1)]);
  const tree = store.put("tree", Buffer.concat(Array.from({ length: 1_000_000 }, () => entry)));
  assert.throws(() => list(store.commit(tree)), { code: "ArtifactTooLarge" });
});

test("O2 objects that are missing, broken or of another kind are refused", () => {
  const store = new Store();
  const file = store.put("blob", "x");
  for (const objects of [new Map(), new Store().commit("d".repeat(40)), new Store().commit("x")])
    assert.throws(() => list(objects), { code: "ArtifactCorrupt" });
  for (const tree of [
    file,
    store.put("tree", "100644 cut"),
    store.tree(["40000", "a", file]),
    store.tree(["100644", "a", store.tree()]),
  ])
    assert.throws(() => list(store.commit(tree)), { code: "ArtifactCorrupt" });
});
