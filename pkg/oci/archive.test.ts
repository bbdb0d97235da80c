import assert from "node:assert/strict";
import { test } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { packTar, unpackTar } from "modern-tar";
import { digestOf, pack, unpack, type ArtifactFiles } from "./index.ts";

const mib = 1024 * 1024;
type Header = Parameters<typeof packTar>[0][number]["header"];
const file = (name: string, body = "x") => ({
  header: { name, size: Buffer.byteLength(body), type: "file" } as Header,
  body,
});
const special = (name: string, type: NonNullable<Header["type"]>, linkname = "") => ({
  header: { name, size: 0, type, linkname } as Header,
});
const archive = async (...entries: Parameters<typeof packTar>[0]) =>
  gzipSync(await packTar(entries));

/** A tar whose first entry has a size that is not written as text: base-256, as GNU tar does. */
async function withSize(...bytes: readonly number[]): Promise<Uint8Array> {
  const tar = Buffer.from(await packTar([file("a.yaml")]));
  tar.fill(0, 124, 136).set(bytes, 136 - bytes.length);
  tar[124] = bytes.length === 12 ? (bytes[0] ?? 0) : 0x80;
  tar.fill(" ", 148, 156);
  const sum = tar.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  tar.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return gzipSync(tar);
}

/** O4 of the fault catalogue, the tar zoo; O7, sizes that lie. */
const zoo: readonly (readonly [what: string, code: string, layer: () => Promise<Uint8Array>])[] = [
  ["a name with ..", "ArtifactUnsafe", () => archive(file("../evil.yaml"))],
  ["a name with .. inside", "ArtifactUnsafe", () => archive(file("a/../../evil.yaml"))],
  ["an absolute name", "ArtifactUnsafe", () => archive(file("/etc/passwd"))],
  ["a backslash", "ArtifactUnsafe", () => archive(file("..\\evil.yaml"))],
  ["a control character", "ArtifactUnsafe", () => archive(file("a\u0001.yaml"))],
  ["a symbolic link", "ArtifactUnsafe", () => archive(special("link", "symlink", "/etc/passwd"))],
  ["a hard link", "ArtifactUnsafe", () => archive(special("link", "link", "/etc/passwd"))],
  ["a device", "ArtifactUnsafe", () => archive(special("dev", "character-device"))],
  ["a FIFO", "ArtifactUnsafe", () => archive(special("fifo", "fifo"))],
  ["a name that appears twice", "ArtifactUnsafe", () => archive(file("a.yaml"), file("a.yaml"))],
  [
    "names that differ in case only",
    "ArtifactUnsafe",
    () => archive(file("a.yaml"), file("A.yaml")),
  ],
  [
    "names that differ in Unicode form only",
    "ArtifactUnsafe",
    () => archive(file("\u00e9.yaml"), file("e\u0301.yaml")),
  ],
  [
    "a name of 600 characters",
    "ArtifactUnsafe",
    () => archive({ header: { ...file("a").header, pax: { path: "a".repeat(600) } }, body: "x" }),
  ],
  ["no gzip", "ArtifactCorrupt", () => Promise.resolve(Buffer.from("hello"))],
  ["gzip of no tar", "ArtifactCorrupt", () => Promise.resolve(gzipSync("hello".repeat(200)))],
  [
    "a truncated gzip",
    "ArtifactCorrupt",
    async () => (await archive(file("a.yaml", "x".repeat(5000)))).subarray(0, 60),
  ],
  [
    "a truncated tar",
    "ArtifactCorrupt",
    async () =>
      gzipSync(gunzipSync(await archive(file("a.yaml", "x".repeat(5000)))).subarray(0, 2048)),
  ],
  ["a gzip bomb", "ArtifactTooLarge", () => Promise.resolve(gzipSync(Buffer.alloc(80 * mib)))],
  [
    "many small bombs one after the other",
    "ArtifactTooLarge",
    () => {
      const bomb = gzipSync(Buffer.alloc(mib));
      return Promise.resolve(Buffer.concat(Array.from({ length: 100 }, () => bomb)));
    },
  ],
  ["a negative size", "ArtifactCorrupt", () => withSize(...Array.from({ length: 12 }, () => 0xff))],
  ["a size of 8 EiB", "ArtifactCorrupt", () => withSize(0x7f, 255, 255, 255, 255, 255, 255, 255)],
  [
    "too many entries",
    "ArtifactTooLarge",
    () => archive(...Array.from({ length: 10_001 }, (_, i) => file(`${i}.yaml`, `# ${i}`))),
  ],
];

for (const [what, code, layer] of zoo) {
  test(`${/bomb|size/.test(what) ? "O7" : "O4"} refuses an archive with ${what}`, async () => {
    const bytes = await layer();
    const started = performance.now();
    await assert.rejects(unpack(bytes, "a"), { code });
    assert.ok(performance.now() - started < 10_000);
  });
}

const path = fc
  .array(fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,12}$/), { minLength: 1, maxLength: 4 })
  .map((parts) => parts.join("/"));

test("what is packed is unpacked as it was", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.dictionary(path, fc.uint8Array({ maxLength: 600 }), { maxKeys: 8 }),
      async (map) => {
        const names = Object.keys(map).filter(
          (name) => !Object.keys(map).some((other) => other.startsWith(`${name}/`)),
        );
        const files: ArtifactFiles = new Map(
          names.map((name) => [name, { content: Buffer.from(map[name] ?? []), executable: false }]),
        );
        const unpacked = await unpack(await pack(files), "a");
        assert.deepEqual(new Map([...unpacked].sort()), new Map([...files].sort()));
      },
    ),
    { numRuns: 60 },
  );
});

test("packs as Flux does: a first entry '.', names in order, no owner, no times, OS byte 255", async () => {
  const content = Buffer.from("x");
  const layer = await pack(
    new Map([
      ["b/c.yaml", { content }],
      ["a.yaml", { content, executable: true }],
    ]),
  );
  const entries = await unpackTar(new Uint8Array(gunzipSync(layer)), { strict: true });
  assert.deepEqual(
    entries.map(({ header }) => header.name.replace(/(?<=.)\/$/, "")),
    [".", "a.yaml", "b", "b/c.yaml"],
  );
  for (const { header } of entries)
    assert.deepEqual([header.uid, header.gid, header.mtime?.getTime()], [0, 0, 0]);
  assert.deepEqual([...layer.subarray(0, 4), layer[9]], [0x1f, 0x8b, 8, 0, 255]);
  assert.equal(entries[1]?.header.mode, 0o755);
});

test("the same files give the same digest", async () => {
  const files = (names: readonly string[]): ArtifactFiles =>
    new Map(names.map((name) => [name, { content: Buffer.from(name) }]));
  assert.equal(digestOf(await pack(files(["a", "b"]))), digestOf(await pack(files(["b", "a"]))));
});
