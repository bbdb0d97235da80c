import assert from "node:assert/strict";
import { test } from "node:test";
import type { FileCopy, Reader, Revision, RotationFacts, TreeFile } from "./facts.ts";
import { isFor, knows, recipientsOfReader } from "./facts.ts";
import { messageOf, step } from "./index.ts";
import { Lookup } from "./lookup.ts";

const names = ["a", "b"] as const;
const copy = (path: string, opens: readonly string[], dataKey = path): FileCopy => ({
  path,
  groups: [opens],
  opens: new Set(opens),
  dataKey,
});
const file = (path: string, opens: readonly string[], dataKey = path): TreeFile => ({
  ...copy(path, opens, dataKey),
  blob: path,
  trouble: undefined,
  foreign: [],
  policy: undefined,
  values: [],
});
const revision = (use: Revision["use"], files: readonly FileCopy[]): Revision => ({
  name: use,
  source: "oci://r/config:stable",
  use,
  files,
});

/** A cluster in the middle of its rotation from generation 1 to 2. */
function reader(name: string, more: Partial<Reader> = {}): Reader {
  return {
    name,
    uid: "u",
    presence: "reachable",
    generations: [1, 2].map((generation) => ({
      generation,
      recipient: `${name}-${generation}`,
      state: "active",
      createdMs: 0,
    })),
    planted: new Set([`${name}-1`, `${name}-2`]),
    revisions: [],
    proofs: [],
    canary: undefined,
    ...more,
  };
}

const proven = (name: string, atMs: number, more: Partial<Reader> = {}) =>
  reader(name, { proofs: [{ generation: 2, uid: "u", revision: "", atMs }], ...more });

function facts(readers: readonly Reader[], files: readonly TreeFile[], nowMs = 0): RotationFacts {
  return {
    targets: new Map(names.map((name) => [name, 1])),
    rollout: "Proven",
    readers,
    tree: { files, rules: [] },
    proposals: undefined,
    nowMs,
  };
}

const old = (name: string) => file(`${name}/s`, [`${name}-1`]);
const both = (name: string) => file(`${name}/s`, [`${name}-2`, `${name}-1`]);
const only = (name: string) => file(`${name}/s`, [`${name}-2`], "another");
const runs = (name: string, running: FileCopy) => ({
  revisions: [revision("running", [running]), revision("pinned", [copy(`${name}/s`, [])])],
});

const holds: readonly {
  readonly name: string;
  readonly other: Reader;
  readonly files: readonly TreeFile[];
  readonly waits: boolean;
}[] = [
  {
    name: "has not got its new key yet",
    other: reader("b", { planted: new Set(["b-1"]) }),
    files: [both("a"), old("b")],
    waits: true,
  },
  {
    name: "is about to run its new recipient",
    other: reader("b", runs("b", old("b"))),
    files: [both("a"), both("b")],
    waits: true,
  },
  {
    name: "has not shown its new key yet",
    other: reader("b"),
    files: [both("a"), both("b")],
    waits: true,
  },
  {
    name: "has had its last commit and does not run it yet",
    other: proven("b", 0, runs("b", both("b"))),
    files: [both("a"), only("b")],
    waits: false,
  },
  {
    name: "is suspended, so that nobody plants its new key",
    other: reader("b", { planted: new Set(["b-1"]), presence: "suspended" }),
    files: [both("a"), old("b")],
    waits: false,
  },
  {
    name: "waits for CI, however long that takes",
    other: reader("b", { revisions: [revision("pinned", [old("b")])] }),
    files: [both("a"), both("b")],
    waits: false,
  },
];
for (const { name, other, files, waits } of holds)
  test(`a commit ${waits ? "waits a minute for" : "does not wait for"} a cluster that ${name}`, () => {
    const ready = proven("a", 0);
    const { next, standings } = step(facts([ready, other], files));
    const stage = standings.find((each) => each.reader.name === "b")?.stage;
    assert.equal(stage?.kind, "wait");
    assert.equal(next.kind, waits ? "wait" : "write");
    assert.equal(step(facts([ready, other], files, 60_000)).next.kind, "write");
  });

/** Numbers that are the same each time. */
function* numbers(): Generator<number, never> {
  for (let state = 1; ;) {
    state = (state * 48_271) % 2_147_483_647;
    yield state;
  }
}

test("what is looked up is what asking every file and every reader would tell", () => {
  const next = numbers();
  const chosen = (all: readonly string[]) => all.filter(() => next.next().value % 4 === 0);
  const recipients = Array.from({ length: 12 }, (_, i) => `k-${i}`);
  for (let round = 0; round < 200; round++) {
    const some = (i: number): FileCopy => ({
      ...copy(`f${i}`, chosen(recipients), `key-${next.next().value % 5}`),
      opens: new Set(chosen(recipients)),
    });
    const files = Array.from({ length: 8 }, (_, i) => ({ ...file(`f${i}`, []), ...some(i) }));
    const readers = Array.from({ length: 4 }, (_, i) => ({
      ...reader(`r${i}`, { revisions: [revision("kept", [some(10), some(11)])] }),
      generations: chosen(recipients).map((recipient, n) => ({
        generation: n + 1,
        recipient,
        state: "active" as const,
        createdMs: 0,
      })),
    }));
    const all = facts(readers, files);
    const lookup = new Lookup(all);
    const copies = readers.flatMap(({ revisions }) => revisions.flatMap((each) => each.files));
    for (const each of readers) {
      const own = recipientsOfReader(each);
      assert.deepEqual(
        lookup.filesFor(each),
        files.filter((found) => isFor(found, each)),
      );
      assert.deepEqual(
        [...lookup.dataKeysOpenTo(own)].sort(),
        [...new Set(copies.flatMap((found) => (knows(found, own) ? [found.dataKey] : [])))].sort(),
      );
    }
    for (const found of files) {
      assert.equal(lookup.file(found.path), found);
      const expected = readers.filter((each) => isFor(found, each)).map((each) => each.name);
      assert.deepEqual(
        lookup
          .readersOf(found)
          .map((each) => each.name)
          .sort(),
        expected,
      );
    }
  }
});

/** So many clusters with ten files each, of which the old key is to go; and how often a file was asked whom it names. */
function fleet(clusters: number): { readonly facts: RotationFacts; readonly asked: () => number } {
  let asked = 0;
  const counted = <T extends FileCopy>({ groups, ...rest }: T): T =>
    Object.defineProperty(rest, "groups", {
      enumerable: true,
      get: () => {
        asked += 1;
        return groups;
      },
    }) as unknown as T;
  const ofBoth = (name: string) => [`${name}-2`, "m", `${name}-1`];
  const all = Array.from({ length: clusters }, (_, i) => `c${i}`);
  const files = all.flatMap((name) =>
    Array.from({ length: 10 }, (_, i) =>
      counted({ ...file(`clusters/${name}/${i}`, ofBoth(name)), policy: ofBoth(name) }),
    ),
  );
  const readers = all.map((name, i) => {
    const own = files.slice(i * 10, i * 10 + 10);
    const revisions = (["running", "pinned", "kept"] as const).map((use) => revision(use, own));
    return proven(name, 0, { revisions });
  });
  const targets = new Map(all.map((name) => [name, 1]));
  return { facts: { ...facts(readers, files), targets }, asked: () => asked };
}

test("500 clusters with 5,000 files are asked ten times as much as 50, and end in one commit", () => {
  const [few, many] = [fleet(50), fleet(500)];
  step(few.facts);
  const { next } = step(many.facts);
  assert.ok(few.asked() > 0);
  assert.ok(many.asked() <= 10 * few.asked(), `${many.asked()} and ${few.asked()} times`);
  const [commit] = next.kind === "write" ? next.writes : [];
  assert.ok(commit?.kind === "commit");
  assert.equal(commit.files.length, 5_000);
  const message = messageOf(commit, "leak");
  assert.match(message, /^Rotation leak: take old keys out of 5000 files\n/);
  assert.match(message, /and 4800 more\n$/);
  assert.ok(message.length < 64 * 1024);
});

test("a canary that somebody else may open too proves nothing, and is made anew", () => {
  const canary = "a/canary";
  const waiting = reader("a", { canary, proofs: [] });
  const nextWith = (opens: readonly string[]) => {
    const seen = facts([waiting], [both("a"), file(canary, opens)]);
    const { next } = step({ ...seen, targets: new Map([["a", 1]]) });
    if (next.kind !== "write") return next.kind;
    return next.writes.flatMap((write) => (write.kind === "commit" ? write.canaries : []));
  };
  assert.equal(nextWith(["a-2"]), "wait");
  const made = [{ path: canary, reader: "a", recipient: "a-2" }];
  assert.deepEqual(nextWith(["a-2", "a-1"]), made);
  assert.deepEqual(nextWith(["a-2", "manager"]), made);
});
