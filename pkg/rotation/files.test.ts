import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import {
  decryptFile,
  encryptFile,
  generateIdentity,
  inspectFile,
  parseIdentities,
  recipientsOf,
} from "../sops/index.ts";
import { contentsOf, editRules, rewriteFile, type FileEdit } from "./index.ts";

const chance = { random: randomBytes, now: () => new Date("2026-01-02T03:04:05Z") };
const keys = await Promise.all(
  ["manager", "old", "new", "other"].map(async (name) => {
    const made = generateIdentity(randomBytes);
    const [identity] = await parseIdentities(made.identity, name);
    assert.ok(identity);
    return { name, recipient: made.recipient, identity };
  }),
);
const [manager, old, fresh, other] = keys as [Key, Key, Key, Key];
type Key = (typeof keys)[number];
const all = keys.map(({ identity }) => identity);
const plain = Buffer.from(
  "kind: Secret\nmetadata:\n    name: s\nstringData:\n    a: one\n    b: two\n",
);
const path = "config/clusters/a/s.sops.yaml";
const rule = { kind: "encrypted_regex", pattern: "^stringData$" } as const;
const encrypted = (groups: readonly (readonly string[])[]) =>
  encryptFile(plain, { format: "yaml", groups, rule }, chance);
const add = [{ recipient: fresh.recipient, beside: [old.recipient] }];
const adding: FileEdit = { path, add, remove: [], newDataKey: false };
const removing: FileEdit = { path, add: [], remove: [old.recipient], newDataKey: true };
async function rewrite(bytes: Buffer, edit: FileEdit): Promise<Buffer> {
  const options = { format: "yaml", openers: [manager.identity], others: all, edit } as const;
  return (await rewriteFile(bytes, options, chance)).file;
}

/** Lines that are in only one of two texts. */
const diffOf = (before: Buffer, after: Buffer) => {
  const [a, b] = [before, after].map((bytes) => bytes.toString().split("\n"));
  assert.ok(a && b);
  return (
    b.filter((line) => !a.includes(line)).length + a.filter((line) => !b.includes(line)).length
  );
};

test("a new recipient is nine lines at the head, under the same data key", async () => {
  const before = await encrypted([[manager.recipient, old.recipient]]);
  const after = await rewrite(before, adding);
  assert.deepEqual(recipientsOf(after, "yaml").groups, [
    [fresh.recipient, manager.recipient, old.recipient],
  ]);
  const [was, is] = await Promise.all(
    [before, after].map((bytes) => inspectFile(bytes, { format: "yaml", identities: all })),
  );
  assert.equal(is?.dataKey, was?.dataKey);
  assert.equal(after.toString().split("\n").length - before.toString().split("\n").length, 9);
  assert.ok(diffOf(before, after) <= 9);
});

test("who goes takes the data key along; every value is another, the plaintext is not", async () => {
  const before = await rewrite(await encrypted([[manager.recipient, old.recipient]]), adding);
  const after = await rewrite(before, removing);
  const [was, is] = await Promise.all(
    [before, after].map((bytes) => inspectFile(bytes, { format: "yaml", identities: all })),
  );
  assert.deepEqual(is?.opens, [manager.recipient, fresh.recipient]);
  assert.deepEqual(was?.opens, [manager.recipient, old.recipient, fresh.recipient]);
  assert.notEqual(is?.dataKey, was?.dataKey);
  assert.deepEqual(is?.values, ["stringData:a", "stringData:b"]);
  const opened = await decryptFile(after, { format: "yaml", identities: [fresh.identity] });
  assert.deepEqual(opened.plaintext, plain);
  const values = (bytes: Buffer): readonly string[] =>
    bytes.toString().match(/ENC\[[^\]]+\]/g) ?? [];
  assert.ok(values(after).every((value) => !values(before).includes(value)));
});

test("both at once, and in several key groups each beside the old one", async () => {
  const both = { ...removing, add };
  const one = await rewrite(await encrypted([[manager.recipient, old.recipient]]), both);
  assert.deepEqual(
    new Set(recipientsOf(one, "yaml").groups.flat()),
    new Set([fresh.recipient, manager.recipient]),
  );
  const groups = [[manager.recipient], [other.recipient, old.recipient]];
  const two = await rewrite(await encrypted(groups), both);
  assert.deepEqual(recipientsOf(two, "yaml").groups, [
    [manager.recipient],
    [fresh.recipient, other.recipient],
  ]);
});

test("an entry of the new recipient that gives another data key is wrapped anew", async () => {
  const [one, two] = await Promise.all([
    encrypted([[manager.recipient, old.recipient]]),
    encrypted([[fresh.recipient]]),
  ]);
  const entry = /        - enc: \|[\s\S]*?recipient: \S+\n/.exec(two.toString())?.[0] ?? "";
  const merged = Buffer.from(one.toString().replace("    age:\n", `    age:\n${entry}`));
  const options = { format: "yaml", identities: all, keysOnly: true } as const;
  assert.ok(!(await inspectFile(merged, options)).opens.includes(fresh.recipient));
  const after = await rewrite(merged, adding);
  assert.ok((await inspectFile(after, options)).opens.includes(fresh.recipient));
});

test("a label does not open a file, and what opens it is seen without its label", async () => {
  const before = await encrypted([[manager.recipient, old.recipient]]);
  const text = before.toString().replace(old.recipient, other.recipient);
  const found = await inspectFile(Buffer.from(text), { format: "yaml", identities: all });
  assert.deepEqual(found.opens, [manager.recipient, old.recipient]);
});

test("the rotation refuses to hand out a file that was tampered with", async () => {
  const before = (await encrypted([[manager.recipient, old.recipient]])).toString();
  const tampered = Buffer.from(before.replace("name: s", "name: t"));
  await assert.rejects(rewrite(tampered, removing), { code: "SopsTampered" });
});

test("without the manager's identity nothing is rewritten", async () => {
  const before = await encrypted([[manager.recipient, old.recipient]]);
  const openers = [other.identity];
  const options = { format: "yaml", openers, others: [], edit: removing } as const;
  await assert.rejects(rewriteFile(before, options, chance), { code: "SopsKeyMissing" });
});

const [m, o, n, x] = [manager.recipient, old.recipient, fresh.recipient, other.recipient];
const layouts: readonly { name: string; text: string; both: string; after: string }[] = [
  {
    name: "a text with commas",
    text: `creation_rules:\n  - path_regex: a/ # ${o}\n    age: ${m},${o}\n  - age: ${m}\n`,
    both: `creation_rules:\n  - path_regex: a/ # ${o}\n    age: ${m},${n},${o}\n  - age: ${m}\n`,
    after: `creation_rules:\n  - path_regex: a/ # ${o}\n    age: ${m},${n}\n  - age: ${m}\n`,
  },
  {
    name: "a folded text",
    text: `creation_rules:\n  - age: >-\n      ${m},\n      ${o}\n  - path_regex: b\n    age: ${x}\n`,
    both: `creation_rules:\n  - age: >-\n      ${m},\n      ${n},\n      ${o}\n  - path_regex: b\n    age: ${x}\n`,
    after: `creation_rules:\n  - age: >-\n      ${m},\n      ${n}\n  - path_regex: b\n    age: ${x}\n`,
  },
  {
    name: "a list",
    text: `creation_rules:\n  - key_groups:\n      - age:\n          - ${m}\n          - "${o}" # cluster a\n`,
    both: `creation_rules:\n  - key_groups:\n      - age:\n          - ${m}\n          - "${n}"\n          - "${o}" # cluster a\n`,
    after: `creation_rules:\n  - key_groups:\n      - age:\n          - ${m}\n          - "${n}"\n`,
  },
];
for (const { name, text, both, after } of layouts)
  test(`rules as ${name}: who comes stands beside the old one, and the rest stays`, () => {
    const edit = { path: ".sops.yaml", add, remove: [] };
    assert.equal(editRules(text, edit), both);
    assert.equal(editRules(both, { ...edit, add: [], remove: [o] }), after);
    assert.equal(editRules(text, { ...edit, remove: [o] }), after);
  });

test("rules with anchors are for a person: nothing is guessed", () => {
  const text = `keys:\n  - &a ${o}\ncreation_rules:\n  - age:\n      - ${m}\n      - *a\n`;
  assert.throws(() => editRules(text, { path: ".sops.yaml", add, remove: [] }), {
    code: "SopsConfigInvalid",
    message: /add age1/,
  });
});

test("a commit has the files, the rules and a canary for the new recipient alone", async () => {
  const files = new Map([
    [path, await encrypted([[m, o]])],
    [".sops.yaml", Buffer.from(`creation_rules:\n  - age: ${m},${o}\n`)],
  ]);
  const commit = {
    kind: "commit",
    files: [adding],
    rules: [{ path: ".sops.yaml", add, remove: [] }],
    canaries: [{ path: "config/clusters/a/canary.sops.yaml", reader: "a", recipient: n }],
    branch: undefined,
  } as const;
  const made = await contentsOf(
    commit,
    { files, openers: [manager.identity], othersFor: () => all },
    chance,
  );
  assert.deepEqual(
    made.map((each) => each.path),
    [path, ".sops.yaml", "config/clusters/a/canary.sops.yaml"],
  );
  const canary = made[2]?.content ?? Buffer.alloc(0);
  assert.deepEqual(recipientsOf(canary, "yaml").groups, [[n]]);
  await assert.rejects(
    contentsOf(commit, { files: new Map(), openers: [], othersFor: () => all }, chance),
    {
      code: "RotationUnsafe",
    },
  );
});
