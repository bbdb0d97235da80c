import assert from "node:assert/strict";
import { test } from "node:test";
import {
  exposedTo,
  planOf,
  refusalOf,
  step,
  type Commit,
  type FileEdit,
  type Reader,
  type RotationFacts,
  type TreeFile,
} from "./index.ts";

const generation = (name: string, number: number, state: "active" | "ending" | "retired") => ({
  generation: number,
  recipient: `${name}-${number}`,
  state,
  createdMs: 0,
});

function file(path: string, names: readonly string[], more: Partial<TreeFile> = {}): TreeFile {
  return {
    path,
    blob: path,
    groups: [names],
    opens: new Set(names),
    dataKey: path,
    trouble: undefined,
    foreign: [],
    policy: names,
    values: ["stringData:token"],
    ...more,
  };
}

const own = file("a/s.sops.yaml", ["m-1", "a-1"]);

function reader(name: string, more: Partial<Reader> = {}): Reader {
  return {
    name,
    uid: "u",
    presence: "reachable",
    generations: [generation(name, 1, "active"), generation(name, 2, "active")],
    planted: new Set([`${name}-1`, `${name}-2`]),
    revisions: [],
    proofs: [],
    canary: undefined,
    ...more,
  };
}

const manager = reader("m", {
  generations: [generation("m", 1, "active")],
  planted: new Set(["m-1"]),
});

function facts(readers: readonly Reader[], files: readonly TreeFile[] = [own]): RotationFacts {
  return {
    targets: new Map([["a", 1]]),
    rollout: "Proven",
    readers: [manager, ...readers],
    tree: {
      files,
      rules: [
        {
          path: ".sops.yaml",
          blob: "",
          names: new Set(files.flatMap(({ policy }) => policy ?? [])),
        },
      ],
    },
    proposals: undefined,
    nowMs: 0,
  };
}

const come = { recipient: "a-2", beside: ["a-1"] };
const edit: FileEdit = { path: own.path, add: [come], remove: ["a-1"], newDataKey: true };
const commit = (change: Partial<FileEdit>, rules: Commit["rules"] = []): Commit => ({
  kind: "commit",
  files: [{ ...edit, ...change }],
  rules: [{ path: ".sops.yaml", add: [come], remove: [] }, ...rules],
  canaries: [],
  branch: undefined,
});

const refused: readonly {
  name: string;
  facts: RotationFacts;
  write: Parameters<typeof refusalOf>[1];
  why: RegExp | undefined;
}[] = [
  {
    name: "a cluster that has the new key",
    facts: facts([reader("a")]),
    write: commit({}),
    why: undefined,
  },
  {
    name: "a cluster that has only the old key",
    facts: facts([reader("a", { planted: new Set(["a-1"]) })]),
    write: commit({}),
    why: /a could no longer open/,
  },
  {
    name: "a cluster that is away and has proven nothing",
    facts: facts([reader("a", { presence: "away", planted: undefined })]),
    write: commit({}),
    why: /a could no longer open/,
  },
  {
    name: "a cluster that is away and has proven the new key as another cluster",
    facts: facts([
      reader("a", {
        presence: "away",
        planted: undefined,
        proofs: [{ generation: 2, uid: "before", revision: "", atMs: 0 }],
      }),
    ]),
    write: commit({}),
    why: /a could no longer open/,
  },
  {
    name: "a cluster that is away and has proven the new key",
    facts: facts([
      reader("a", {
        presence: "away",
        planted: undefined,
        proofs: [{ generation: 2, uid: "u", revision: "", atMs: 0 }],
      }),
    ]),
    write: commit({}),
    why: undefined,
  },
  {
    name: "the manager taken out of a file",
    facts: facts([reader("a")]),
    write: commit({ remove: ["a-1", "m-1"] }),
    why: /m could no longer open/,
  },
  {
    name: "a removal that keeps the data key",
    facts: facts([reader("a")]),
    write: commit({ newDataKey: false }),
    why: /keep its data key/,
  },
  {
    name: "S6 a recipient that nobody knows",
    facts: facts([reader("a")]),
    write: commit({ add: [come, { recipient: "age1evil", beside: ["a-1"] }] }),
    why: /age1evil may not open/,
  },
  {
    name: "S6 another cluster that never could open the file",
    facts: facts([reader("a"), reader("b")]),
    write: commit({ add: [come, { recipient: "b-2", beside: ["a-1"] }] }),
    why: /b-2 may not open/,
  },
  {
    name: "S6 a recipient whom the rules do not want",
    facts: facts([reader("a")]),
    write: { ...commit({}), rules: [] },
    why: /a-2 may not open/,
  },
  {
    name: "S6 a key that was retired",
    facts: facts([
      reader("a", { generations: [generation("a", 1, "active"), generation("a", 2, "retired")] }),
    ]),
    write: commit({ remove: [], newDataKey: false }),
    why: /a-2 may not open/,
  },
  {
    name: "a file that is not there",
    facts: facts([reader("a")], []),
    write: commit({}),
    why: /there is no/,
  },
  {
    name: "a canary somewhere else",
    facts: facts([reader("a", { canary: "a/canary.sops.yaml" })]),
    write: { ...commit({}), canaries: [{ path: "x", reader: "a", recipient: "a-2" }] },
    why: /no canary/,
  },
  {
    name: "a generation that is there",
    facts: facts([reader("a")]),
    write: { kind: "create", reader: "a", generation: 2 },
    why: /has generation 2/,
  },
  {
    name: "a key that a file at the tip needs",
    facts: facts([reader("a")]),
    write: { kind: "end", reader: "a", generations: [1] },
    why: /could no longer open a\/s/,
  },
  {
    name: "a key that a pinned revision needs",
    facts: facts(
      [reader("a", { revisions: [{ name: "r", source: "s", use: "pinned", files: [own] }] })],
      [],
    ),
    write: { kind: "end", reader: "a", generations: [1] },
    why: /could no longer open a\/s/,
  },
  {
    name: "a key that only a rollback needs",
    facts: facts(
      [reader("a", { revisions: [{ name: "r", source: "s", use: "kept", files: [own] }] })],
      [],
    ),
    write: { kind: "end", reader: "a", generations: [1] },
    why: undefined,
  },
  {
    name: "a key that is not ending yet",
    facts: facts([reader("a")], []),
    write: { kind: "retire", reader: "a", generations: [1] },
    why: /may still be pinned/,
  },
  {
    name: "the last key that the cluster has",
    facts: facts([reader("a", { planted: new Set(["a-1"]) })], []),
    write: { kind: "end", reader: "a", generations: [1] },
    why: /no key left/,
  },
  {
    name: "a key of a cluster that does not answer",
    facts: facts([reader("a", { presence: "away" })], []),
    write: { kind: "end", reader: "a", generations: [1] },
    why: /nobody knows/,
  },
];
for (const { name, facts: given, write, why } of refused)
  test(`before a write: ${name}`, () => {
    const found = refusalOf(given, write);
    if (why === undefined) assert.equal(found, undefined);
    else assert.match(found ?? "", why);
  });

const stalls: readonly { name: string; found: TreeFile; code: string; message: RegExp }[] = [
  {
    name: "tampered",
    found: { ...own, trouble: { code: "SopsTampered", message: "the MAC is of other values" } },
    code: "SopsTampered",
    message: /^a\/s\.sops\.yaml: the MAC/,
  },
  {
    name: "for KMS too",
    found: { ...own, foreign: ["kms"] },
    code: "SopsFileInvalid",
    message: /kms/,
  },
  {
    name: "of a stranger",
    found: { ...own, groups: [["m-1", "a-1", "age1who"]] },
    code: "RecipientUnknown",
    message: /age1who is named/,
  },
];
for (const { name, found, code, message } of stalls)
  test(`a file that is ${name} stops its reader before anything is written, and no other`, () => {
    const given = {
      ...facts([reader("a"), reader("b")], [found, file("b/s", ["m-1", "b-1"])]),
      targets: new Map([
        ["a", 1],
        ["b", 1],
      ]),
    };
    const { next, standings } = step(given);
    const stage = standings.find((each) => each.reader.name === "a")?.stage;
    assert.ok(stage?.kind === "stalled");
    assert.equal(stage.code, code);
    assert.match(stage.message, message);
    assert.ok(next.kind === "write");
    const [write] = next.writes;
    assert.ok(write?.kind === "commit");
    assert.deepEqual(
      write.files.map(({ path }) => path),
      ["b/s"],
    );
  });

test("a commit waits a minute for clusters that are about to be ready, not for one that is away", () => {
  const targets = new Map([
    ["a", 1],
    ["b", 1],
  ]);
  const files = [own, file("b/s", ["m-1", "b-1"])];
  const late = reader("b", { planted: new Set(["b-1"]) });
  const waiting = { ...facts([reader("a"), late], files), targets };
  assert.equal(step(waiting).next.kind, "wait");
  assert.equal(step({ ...waiting, nowMs: 60_000 }).next.kind, "write");
  const away = { ...facts([reader("a"), reader("b", { presence: "away" })], files), targets };
  assert.equal(step(away).next.kind, "write");
});

test("what is waited for is said with the reference to move", () => {
  const revision = {
    name: "sha256:1",
    source: "oci://r/config:stable",
    use: "pinned",
    files: [own],
  } as const;
  const both = file(own.path, ["a-2", "m-1", "a-1"]);
  const given = facts([reader("a", { revisions: [revision] })], [both]);
  const stage = step(given).standings[0]?.stage;
  assert.ok(stage?.kind === "wait");
  assert.equal(stage.reason, "AwaitingPublish");
  assert.match(stage.message, /^move oci:\/\/r\/config:stable: a is at sha256:1/);
});

test("the plan shows files, strangers, what goes stale and what expires, and changes nothing", () => {
  const revisions = [
    { name: "sha256:0", source: "s", use: "kept", files: [own] },
    { name: "sha256:1", source: "s", use: "pinned", files: [own] },
  ] as const;
  const strange = file("a/t", ["m-1", "a-1", "age1who"], { policy: ["m-1", "a-1"] });
  const plan = planOf(facts([reader("a", { revisions })], [own, strange, file("b", ["m-1"])]));
  assert.deepEqual(plan.readers, [
    { reader: "a", ends: 1, next: 2, files: ["a/s.sops.yaml", "a/t"], expires: ["sha256:0"] },
  ]);
  assert.deepEqual(
    plan.files.map(({ path, stale, unknown }) => ({ path, stale, unknown })),
    [
      { path: "a/s.sops.yaml", stale: ["a-1"], unknown: [] },
      { path: "a/t", stale: ["a-1"], unknown: ["age1who"] },
    ],
  );
});

test("after a leak: which values the old key could read, before and after the rotation", () => {
  const a = reader("a");
  const now = exposedTo(facts([a], [own, file("b", ["m-1"])]), a);
  assert.deepEqual([...now], [["a/s.sops.yaml", ["stringData:token"]]]);
  const later = exposedTo(facts([a], [file(own.path, ["m-1", "a-2"])]), a);
  assert.deepEqual([...later], [["a/s.sops.yaml", ["stringData:token"]]]);
});
