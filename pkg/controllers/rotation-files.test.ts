import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { contentsOf } from "../rotation/index.ts";
import {
  encryptFile,
  generateIdentity,
  inspectFile,
  parseIdentities,
  type Identity,
} from "../sops/index.ts";
import { bytesOf } from "./pulled.ts";
import { identitiesAmong, RotationFiles, type Keyring } from "./rotation-files.ts";

const chance = { random: randomBytes, now: () => new Date("2026-01-02T03:04:05Z") };
const rule = { kind: "encrypted_regex", pattern: "^stringData$" } as const;

async function identity(): Promise<Identity> {
  const [found] = await parseIdentities(generateIdentity(randomBytes).identity, "test");
  assert.ok(found);
  return found;
}

const manager = await identity();
const [a1, a2] = [await identity(), await identity()];
const b1 = await identity();
const keyring: Keyring = {
  manager: [manager],
  ofReaderWith: (name) =>
    [[a1, a2], [b1]].find((own) => own.some(({ recipient }) => recipient === name)) ?? [],
};
const recipients = (...all: readonly Identity[]) => all.map(({ recipient }) => recipient);

const sealed = (...all: readonly Identity[]) => {
  const text = "kind: Secret\nmetadata:\n    name: s\nstringData:\n    a: one\n";
  const options = { format: "yaml", groups: [recipients(...all)], rule } as const;
  return encryptFile(Buffer.from(text), options, chance);
};

const rules = `creation_rules:
  - path_regex: ^clusters/a/
    age: ${recipients(manager, a1).join(",")}
  - age: ${manager.recipient}
`;
const files = new Map([
  [".sops.yaml", Buffer.from(rules)],
  ["README.md", Buffer.from("about sops\n")],
  ["clusters/a/s.yaml", await sealed(manager, a1)],
  ["clusters/b/s.yaml", await sealed(manager, b1)],
  ["shared/s.yaml", await sealed(manager)],
]);

test("a tree tells of each encrypted file who opens it, and what its rule wants", async () => {
  const { files: found, rules: ruled } = await new RotationFiles().tree(files, keyring);
  assert.deepEqual(
    found.map(({ path, opens, policy }) => [path, [...opens], policy]),
    [
      ["clusters/a/s.yaml", recipients(manager, a1), recipients(manager, a1)],
      ["clusters/b/s.yaml", recipients(manager, b1), recipients(manager)],
      ["shared/s.yaml", recipients(manager), recipients(manager)],
    ],
  );
  assert.deepEqual([...(ruled[0]?.names ?? [])], recipients(manager, a1));
});

test("of a revision a reader gets what names it, and no others", async () => {
  const audience = { own: recipients(a1, a2), directories: ["clusters/a/"] };
  const read = new RotationFiles();
  const before = await read.copies(files, audience, keyring);
  const [tip] = (await read.tree(files, keyring)).files;
  const after = await read.copies(files, audience, keyring);
  for (const copies of [before, after])
    assert.deepEqual(
      copies.map(({ path, opens, dataKey }) => [path, [...opens], dataKey]),
      [["clusters/a/s.yaml", recipients(manager, a1), tip?.dataKey]],
    );
});

test("a file with a wrong label is found where the reader's Flux applies it", async () => {
  const label = b1.recipient;
  const text = (await sealed(manager, a1)).toString().replace(a1.recipient, label);
  const wrong = new Map([["clusters/a/s.yaml", Buffer.from(text)]]);
  const own = recipients(a1, a2);
  const read = new RotationFiles();
  const [found] = await read.copies(wrong, { own, directories: ["clusters/a/"] }, keyring);
  assert.deepEqual(found?.groups, [[manager.recipient, label]]);
  assert.deepEqual([...found.opens].sort(), recipients(manager, a1).sort());
  assert.deepEqual(await read.copies(wrong, { own, directories: ["clusters/c/"] }, keyring), []);
});

test("what a rewrite has shown is what a look at the file shows", async () => {
  const path = "clusters/a/s.yaml";
  const come = { recipient: a2.recipient, beside: [a1.recipient] };
  const edit = { path, add: [come], remove: [a1.recipient], newDataKey: true };
  const change = { files: [edit], rules: [], canaries: [], branch: undefined };
  const tip = {
    files,
    openers: [manager],
    othersFor: () => identitiesAmong(recipients(manager, a1), keyring),
  };
  const [made] = await contentsOf({ kind: "commit", ...change }, tip, chance);
  assert.ok(made?.inspected);
  const told = new RotationFiles();
  told.learn(made, keyring);
  const now = new Map([[path, made.content]]);
  const [learned] = (await told.tree(now, keyring)).files;
  const [looked] = (await new RotationFiles().tree(now, keyring)).files;
  assert.deepEqual(learned, looked);
  assert.deepEqual([...(learned?.opens ?? [])].sort(), recipients(manager, a2).sort());
});

test("what was learned is not looked at again, unless somebody else could open more", async () => {
  const path = "shared/s.yaml";
  const bytes = files.get(path) ?? Buffer.alloc(0);
  const identities = [manager];
  const inspected = await inspectFile(bytes, { format: "yaml", identities });
  const told = { path, content: bytes, inspected: { ...inspected, values: ["told"] } };
  const learned = new RotationFiles();
  learned.learn(told, keyring);
  const valuesIn = async (read: RotationFiles) =>
    (await read.tree(new Map([[path, bytes]]), keyring)).files[0]?.values;
  assert.deepEqual(await valuesIn(learned), ["told"]);
  const unsure = new RotationFiles();
  unsure.learn({ ...told, inspected: { ...told.inspected, isSettled: false } }, keyring);
  assert.deepEqual(await valuesIn(unsure), ["stringData:a"]);
});

test("a file that was tampered with is in trouble", async () => {
  const bytes = files.get("clusters/a/s.yaml") ?? Buffer.alloc(0);
  const text = bytes.toString().replace("name: s", "name: t");
  const tree = await new RotationFiles().tree(
    new Map([["clusters/a/s.yaml", Buffer.from(text)]]),
    keyring,
  );
  assert.equal(tree.files[0]?.trouble?.code, "SopsTampered");
});

test("bytes of an artifact are seen, not copied, and once", () => {
  const content = Buffer.from("abc");
  const artifact = new Map([["a", { content, executable: false }]]);
  const found = bytesOf(artifact);
  assert.equal(found.get("a"), content);
  assert.equal(bytesOf(artifact), found);
});
