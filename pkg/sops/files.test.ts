import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import {
  decryptFile,
  editFile,
  encryptFile,
  formatOf,
  formats,
  generateIdentity,
  isEncrypted,
  parseIdentities,
  recipientsOf,
  rotateFile,
  setValue,
  SopsError,
  updateKeys,
  verifyFile,
  type Format,
} from "./index.ts";

const chance = { random: randomBytes, now: () => new Date("2026-01-02T03:04:05.678Z") };
const [own, other] = [generateIdentity(randomBytes), generateIdentity(randomBytes)];
const identities = await parseIdentities(own.identity, "own");
const groups = [[own.recipient]];
const testdata = join(import.meta.dirname, "testdata");
const fixtureKeys = await parseIdentities(
  readFileSync(join(testdata, "keys.txt"), "utf8"),
  "keys.txt",
);
const fixtures = readdirSync(testdata).filter((name) =>
  existsSync(join(testdata, `${name}.plain`)),
);

const statusOf = (work: () => Promise<unknown>) =>
  work().then(
    () => 0,
    (error: unknown) => (error instanceof SopsError ? error.status : Promise.reject(error)),
  );

for (const name of fixtures) {
  const format = formatOf(name);
  const file = readFileSync(join(testdata, name));
  test(`${name}: what sops wrote is read as sops reads it`, async () => {
    const { plaintext, findings } = await decryptFile(file, { format, identities: fixtureKeys });
    assert.equal(
      plaintext.toString("latin1"),
      readFileSync(join(testdata, `${name}.plain`), "latin1"),
    );
    assert.deepEqual(findings, []);
    assert.ok(isEncrypted(file, format));
    assert.ok(!isEncrypted(plaintext, format));
  });

  test(`${name}: a rotation changes every value and the data key, nothing else`, async () => {
    const options = { format, identities: fixtureKeys };
    const before = await decryptFile(file, options);
    const rotated = await rotateFile(file, options, chance);
    assert.deepEqual((await decryptFile(rotated.file, options)).plaintext, before.plaintext);
    assert.deepEqual(recipientsOf(rotated.file, format).groups, before.groups);
    const values = (bytes: Buffer): readonly string[] =>
      bytes.toString().match(/ENC\[[^\]]*\]/g) ?? [];
    const [old, fresh] = [values(file), values(rotated.file)];
    assert.equal(fresh.length, old.length);
    assert.ok(!fresh.some((value) => old.includes(value)));
    const skeleton = (bytes: Buffer) =>
      bytes
        .toString()
        .replace(/ENC\[[^\]]*\]/g, "E")
        .replace(/BEGIN AGE[^]*?END AGE/g, "")
        .replace(/20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ/g, "T");
    assert.equal(skeleton(rotated.file), skeleton(file));
  });
}

const vectors = "/work/shared/vectors/sops";
if (existsSync(join(vectors, "index.tsv"))) {
  const rows = readFileSync(join(vectors, "index.tsv"), "utf8").trim().split("\n").slice(1);
  for (const row of rows) {
    const [id = "", file = "", format = "", keys = "", status, plain = ""] = row.split("\t");
    test(`shared vector ${id}`, async () => {
      const held = await parseIdentities(readFileSync(join(vectors, keys), "utf8"), keys);
      const bytes = readFileSync(join(vectors, file));
      const options = { format: format as Format, identities: held };
      assert.equal(await statusOf(() => decryptFile(bytes, options)), Number(status));
      if (status !== "0" || !existsSync(join(vectors, plain))) return;
      const { plaintext } = await decryptFile(bytes, options);
      assert.ok(plaintext.equals(readFileSync(join(vectors, plain))));
    });
  }
}

const values = fc.dictionary(
  fc.string({ minLength: 1, maxLength: 12 }).filter((key) => key !== "sops"),
  fc.oneof(
    fc.string(),
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.boolean(),
    fc.constant(null),
    fc.array(fc.string()),
  ),
  { minKeys: 1 },
);

test("encrypting and decrypting gives the same JSON, digit keys and __proto__ included", () =>
  fc.assert(
    fc.asyncProperty(values, async (value) => {
      const file = await encryptFile(
        Buffer.from(JSON.stringify(value)),
        { format: "json", groups },
        chance,
      );
      const { plaintext } = await decryptFile(file, { format: "json", identities });
      assert.deepEqual(JSON.parse(plaintext.toString()), JSON.parse(JSON.stringify(value)));
    }),
    { numRuns: 150 },
  ));

test("decrypting and encrypting any plaintext of ours again is stable, in YAML too", () =>
  fc.assert(
    fc.asyncProperty(values, async (value) => {
      const json = await encryptFile(
        Buffer.from(JSON.stringify(value)),
        { format: "json", groups },
        chance,
      );
      const asYaml = await decryptFile(json, { format: "json", identities, output: "yaml" });
      const yaml = await encryptFile(asYaml.plaintext, { format: "yaml", groups }, chance);
      const back = await decryptFile(yaml, { format: "yaml", identities });
      assert.equal(back.plaintext.toString(), asYaml.plaintext.toString());
    }),
    { numRuns: 150 },
  ));

test("any bytes survive as a binary file", () =>
  fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
      const file = await encryptFile(Buffer.from(bytes), { format: "binary", groups }, chance);
      const { plaintext } = await decryptFile(file, { format: "binary", identities });
      assert.deepEqual(plaintext, Buffer.from(bytes));
    }),
    { numRuns: 100 },
  ));

const secret =
  "kind: Secret\nstringData:\n    a: one\n    b: two\n    c:\n        - x\n        - 'y'\n";
const rule = { kind: "encrypted_regex", pattern: "^stringData$" } as const;
const encrypted = () => encryptFile(Buffer.from(secret), { format: "yaml", groups, rule }, chance);
const changedLines = (before: Buffer, after: Buffer) => {
  const [old, fresh] = [before, after].map((bytes) => new Set(bytes.toString().split("\n")));
  return {
    out: [...(old ?? [])].filter((line) => fresh?.has(line) !== true),
    in: [...(fresh ?? [])].filter((line) => old?.has(line) !== true),
  };
};

test("setting a value changes its line, lastmodified and the MAC; setting the same changes nothing", async () => {
  const file = await encrypted();
  const later = { ...chance, now: () => new Date("2027-01-01T00:00:00Z") };
  const options = { format: "yaml", identities, path: ["stringData", "c", 1] } as const;
  const set = await setValue(file, { ...options, json: '"z"' }, later);
  const diff = changedLines(file, set.file);
  assert.deepEqual([diff.out.length, diff.in.length], [3, 3]);
  assert.match((await decryptFile(set.file, options)).plaintext.toString(), /- x\n {8}- z\n/);
  const same = await setValue(file, { ...options, json: '"y"' }, later);
  assert.ok(!same.changed);
  assert.ok(same.file.equals(file));
});

test("a key that is new, or a list that grows, keeps all other values byte for byte", async () => {
  const file = await encrypted();
  const options = { format: "yaml", identities } as const;
  const set = await setValue(
    file,
    { ...options, path: ["stringData", "__proto__"], json: '{"d": [1, 9007199254740995]}' },
    chance,
  );
  assert.match(
    (await decryptFile(set.file, options)).plaintext.toString(),
    /__proto__:\n {8}d:\n {12}- 1\n {12}- 9007199254740995\n/,
  );
  assert.equal(changedLines(file, set.file).out.length, 1, "the MAC");
  const grown = await setValue(
    file,
    { ...options, path: ["stringData", "c", 2], json: "true" },
    chance,
  );
  assert.match((await decryptFile(grown.file, options)).plaintext.toString(), /- true\n/);
  assert.equal(
    await statusOf(() =>
      setValue(file, { ...options, path: ["stringData", "c", 9], json: "1" }, chance),
    ),
    1,
  );
});

test("an edit that changes nothing leaves the bytes, one that adds a comment keeps the values", async () => {
  const file = await encrypted();
  const options = { format: "yaml", identities } as const;
  const { plaintext } = await decryptFile(file, options);
  assert.deepEqual(await editFile(file, { ...options, plaintext }, chance), {
    file,
    changed: false,
  });
  const commented = Buffer.from(plaintext.toString().replace("    b:", "    # why\n    b:"));
  const edited = await editFile(file, { ...options, plaintext: commented }, chance);
  assert.equal(
    (await decryptFile(edited.file, options)).plaintext.toString(),
    commented.toString(),
  );
  assert.equal(changedLines(file, edited.file).out.length, 1, "the MAC");
});

test("a new recipient comes first and costs nine lines; leaving costs nine; the order is no change", async () => {
  const file = await encrypted();
  const options = { format: "yaml", identities } as const;
  const added = await updateKeys(
    file,
    { ...options, groups: [[own.recipient, other.recipient]] },
    chance,
  );
  assert.deepEqual(added.groups, [[other.recipient, own.recipient]]);
  const before = file.toString().split("\n");
  const after = added.file.toString().split("\n");
  assert.equal(after.length - before.length, 9);
  const at = after.indexOf("    age:") + 1;
  assert.deepEqual(after.toSpliced(at, 9), before);
  const again = await updateKeys(
    added.file,
    { ...options, groups: [[own.recipient, other.recipient]] },
    chance,
  );
  assert.ok(!again.changed);
  const removed = await updateKeys(added.file, { ...options, groups }, chance);
  assert.ok(removed.file.equals(file));
  assert.equal(await statusOf(() => updateKeys(file, { ...options, groups: [[]] }, chance)), 111);
});

test("a tampered file gets no other recipients and no new key", async () => {
  const file = Buffer.from((await encrypted()).toString().replace("kind: Secret", "kind: Evil"));
  const options = { format: "yaml", identities } as const;
  assert.equal(await statusOf(() => rotateFile(file, options, chance)), 51);
  assert.equal(
    await statusOf(() => updateKeys(file, { ...options, groups: [[other.recipient]] }, chance)),
    51,
  );
});

test("recipients of other kinds are kept, and refused where they would need their service", async () => {
  const foreign =
    '    kms:\n        - arn: arn:aws:kms:x\n          created_at: "2026-01-01T00:00:00Z"\n          enc: AQ==\n          aws_profile: ""\n';
  const file = Buffer.from(
    (await encrypted()).toString().replace("    lastmodified", `${foreign}    lastmodified`),
  );
  const options = { format: "yaml", identities } as const;
  assert.deepEqual(recipientsOf(file, "yaml").foreign, ["kms"]);
  assert.equal(await statusOf(() => rotateFile(file, options, chance)), 1);
  const set = await setValue(file, { ...options, path: ["stringData", "a"], json: '"z"' }, chance);
  assert.ok(set.file.includes(foreign));
  assert.equal(await statusOf(() => verifyFile(set.file, options)), 0);
});

test("S4 huge, deep, bombs and ten thousand recipients: bounded time, a reason", async () => {
  const bomb = `a0: &a0 {x: y}\n${Array.from({ length: 40 }, (_, i) => `a${i + 1}: &a${i + 1} {l: *a${i}, r: *a${i}}\n`).join("")}`;
  const chain = `a0: &a0 {x: y}\n${Array.from({ length: 400 }, (_, i) => `a${i + 1}: &a${i + 1} {l: *a${i}}\n`).join("")}`;
  const metadata = (await encrypted()).toString();
  const entry = /( {8}- enc: \|\n(?: {12}.*\n)+ {10}recipient: .*\n)/.exec(metadata)?.[0] ?? "";
  const many = metadata.replace(entry, entry.repeat(10_000));
  const hostile: readonly [string, Format, string][] = [
    ["deep flow", "yaml", `a: ${"[".repeat(20_000)}`],
    ["deep closed flow", "yaml", `a: ${"[".repeat(3_000)}${"]".repeat(3_000)}`],
    ["deep dashes", "yaml", `a:\n ${"- ".repeat(20_000)}x`],
    ["deep JSON", "json", `{"a": ${"[".repeat(100_000)}`],
    ["alias bomb", "yaml", bomb],
    ["alias chain", "yaml", chain],
    ["many values", "json", `{"a": [${"1,".repeat(200_001)}1]}`],
    ["many recipients", "yaml", many],
    ["huge", "binary", " ".repeat(17 * 1024 * 1024)],
    ["metadata nested by name", "dotenv", `A=x\nsops_${"__map_a".repeat(5_000)}=x\n`],
  ];
  for (const [name, format, text] of hostile) {
    const started = process.cpuUsage();
    const bytes = Buffer.from(text);
    const status = await statusOf(() =>
      name.startsWith("many r") || name.startsWith("meta")
        ? decryptFile(bytes, { format, identities })
        : encryptFile(bytes, { format, groups }, chance),
    );
    const { user, system } = process.cpuUsage(started);
    assert.ok([1, 2].includes(status), `${name}: ${status}`);
    assert.ok(user + system < 4_000_000, `${name}: ${(user + system) / 1000} ms`);
  }
});

test("S8 recipients that name a plugin, a path or anything else are refused, and nothing is run", async () => {
  const names = [
    "age1plugin-evil",
    "age1yubikey1qwe",
    "age1../../bin/sh1x",
    "../sh",
    "ssh-ed25519 AAAA",
    "age1",
    "",
    `${own.recipient}x`,
    own.recipient.toUpperCase(),
    "age1tag1qq",
    own.identity,
  ];
  for (const name of names) {
    const file = await encrypted();
    assert.equal(
      await statusOf(() =>
        encryptFile(Buffer.from(secret), { format: "yaml", groups: [[name]] }, chance),
      ),
      1,
      name,
    );
    assert.equal(
      await statusOf(() =>
        updateKeys(file, { format: "yaml", identities, groups: [[own.recipient, name]] }, chance),
      ),
      1,
      name,
    );
    // One that stands in a file already: it can be read, but not be encrypted to again.
    const labelled = Buffer.from(
      file.toString().replace(`recipient: ${own.recipient}`, `recipient: ${JSON.stringify(name)}`),
    );
    assert.equal(
      await statusOf(() => decryptFile(labelled, { format: "yaml", identities })),
      0,
      name,
    );
    assert.equal(
      await statusOf(() => rotateFile(labelled, { format: "yaml", identities }, chance)),
      1,
      name,
    );
  }
});

test("every format takes a file of its own kind only", async () => {
  for (const format of formats) {
    if (format === "binary") continue;
    const wrong = format === "yaml" ? "- a\n" : format === "json" ? "[1]" : "no sign here";
    assert.equal(
      await statusOf(() => encryptFile(Buffer.from(wrong), { format, groups }, chance)),
      2,
      format,
    );
  }
  assert.equal(
    await statusOf(() => encryptFile(Buffer.from(""), { format: "yaml", groups }, chance)),
    92,
  );
  assert.equal(
    await statusOf(() => encryptFile(Buffer.from("sops: 1\n"), { format: "yaml", groups }, chance)),
    1,
  );
  assert.equal(
    await statusOf(() =>
      encryptFile(Buffer.from("sops: {a: b}\n"), { format: "yaml", groups }, chance),
    ),
    203,
  );
  assert.equal(
    await statusOf(() =>
      encryptFile(Buffer.from("sops_x=1\n"), { format: "dotenv", groups }, chance),
    ),
    203,
  );
});
