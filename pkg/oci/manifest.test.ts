import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseDocument, type LayerChoice } from "./index.ts";
import { readLayers } from "./layers.ts";
import { chooseLayers, partsOf, pickManifest } from "./selection.ts";

const flux = "application/vnd.cncf.flux.content.v1.tar+gzip";
const digest = (n: string) => `sha256:${n.repeat(64)}`;
const layer = (mediaType: string, n: string, title?: string) => ({
  mediaType,
  digest: digest(n),
  size: 1,
  ...(title === undefined ? {} : { annotations: { "org.opencontainers.image.title": title } }),
});
const json = (value: object) => Buffer.from(JSON.stringify(value));
const manifest = (fields: object) =>
  json({ schemaVersion: 2, config: layer("c", "c"), layers: [layer("x", "a")], ...fields });
const index = (manifests: readonly object[]) =>
  json({ schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests });

const chosen = (layers: readonly object[], choice: LayerChoice = "content") => {
  const document = parseDocument(manifest({ layers }), "m");
  assert.equal(document.kind, "manifest");
  return chooseLayers(document, choice, "m").map((l) => l.digest[7]);
};

const choices: readonly (readonly [string, readonly object[], LayerChoice, readonly string[]])[] = [
  ["Flux's type before others", [layer("x", "a"), layer(flux, "b")], "content", ["b"]],
  ["the first of Flux's type", [layer(flux, "a"), layer(flux, "b")], "content", ["a"]],
  ["the first of unknown ones, as Flux", [layer("x", "a"), layer("y", "b")], "content", ["a"]],
  ["all files of ORAS", [layer("x", "a", "f"), layer("y", "b", "g")], "content", ["a", "b"]],
  ["one by its index", [layer(flux, "a"), layer("x", "b")], { index: 1 }, ["b"]],
  ["by media type", [layer(flux, "a"), layer("x", "b")], { mediaType: "x" }, ["b"]],
];
for (const [what, layers, choice, want] of choices)
  test(`takes ${what}`, () => assert.deepEqual(chosen(layers, choice), want));

test("a layer that is not there is not found; a manifest without any is corrupt", () => {
  assert.throws(() => chosen([layer("x", "a")], { index: 1 }), { code: "ArtifactNotFound" });
  assert.throws(() => chosen([layer("x", "a")], { mediaType: "y" }), { code: "ArtifactNotFound" });
  assert.throws(() => chosen([]), { code: "ArtifactCorrupt" });
});

const platform = (os: string, architecture: string, variant?: string) => ({
  platform: { os, architecture, ...(variant === undefined ? {} : { variant }) },
});
const image = (n: string, more: object = {}) => ({ ...layer("m", n), ...more });
const several = [
  image("a", platform("linux", "amd64")),
  image("b", platform("linux", "arm64", "v8")),
  image("c", platform("windows", "amd64")),
];
for (const [what, manifests, wanted, want] of [
  ["the only one", [image("a")], undefined, "a"],
  ["the only one, whatever the platform", [image("a")], "linux/amd64", "a"],
  ["the platform's", several, "linux/amd64", "a"],
  ["the platform's of any variant", several, "linux/arm64", "b"],
  ["the variant's", several, "linux/arm64/v8", "b"],
  ["none of another variant", several, "linux/arm64/v7", undefined],
  ["none of several", several, undefined, undefined],
  ["none of an empty index", [], undefined, undefined],
] as const) {
  test(`picks of an index ${what}`, () => {
    const document = parseDocument(index(manifests), "i");
    assert.equal(document.kind, "index");
    const pick = () => pickManifest(document, wanted, "i").digest;
    if (want === undefined) assert.throws(pick, { code: "ArtifactNotFound" });
    else assert.equal(pick(), digest(want));
  });
}

for (const [what, bytes] of [
  ["layers and manifests", manifest({ manifests: [] })],
  ["a layer without digest", manifest({ layers: [{ size: 1 }] })],
  ["another schema", manifest({ schemaVersion: 1 })],
  ["no config", manifest({ config: undefined })],
  ["a negative size", manifest({ layers: [{ ...layer("x", "a"), size: -1 }] })],
  ["a size beyond counting", manifest({ layers: [{ ...layer("x", "a"), size: 1e300 }] })],
  ["a digest that is a path", manifest({ layers: [{ ...layer("x", "a"), digest: "../x" }] })],
  ["no JSON", Buffer.from("<html>")],
] as const) {
  test(`O6 refuses a manifest with ${what}`, () =>
    assert.throws(() => parseDocument(bytes, "m"), { code: "ArtifactCorrupt" }));
}

test("O6 refuses ten thousand layers, and as many manifests", () => {
  const many = Array.from({ length: 10_000 }, () => layer("x", "a"));
  const wanted = { code: "ArtifactTooLarge" };
  assert.throws(() => parseDocument(manifest({ layers: many }), "m"), wanted);
  assert.throws(() => parseDocument(index(many), "m"), wanted);
});

test("O6 any bytes are a document or a CapitanError", () => {
  const any = fc.oneof(
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    fc.jsonValue().map((value) => Buffer.from(JSON.stringify(value))),
    fc.record({ config: fc.jsonValue(), layers: fc.jsonValue() }).map(manifest),
  );
  fc.assert(
    fc.property(any, (bytes) => {
      try {
        parseDocument(bytes, "m");
      } catch (error) {
        assert.equal((error as Error).name, "CapitanError");
      }
    }),
  );
});

test("layers that are elsewhere by design are no part", () => {
  const elsewhere = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
  const document = parseDocument(
    manifest({ layers: [layer(elsewhere, "a"), layer("x", "b")] }),
    "m",
  );
  assert.deepEqual(
    partsOf(document).blobs.map((b) => b.digest),
    [digest("c"), digest("b")],
  );
});

const staticType = "application/vnd.cncf.flux.content.v1";
for (const [what, descriptor, want] of [
  ["Flux's static layer", layer(staticType, "a"), "content"],
  ["Flux's static layer with extension", layer(`${staticType}.yaml`, "a"), "content.yaml"],
  ["a file of ORAS", layer("text/plain", "a", "dir/f.txt"), "dir/f.txt"],
  ["a file outside", layer("text/plain", "a", "../f.txt"), "ArtifactUnsafe"],
  ["a file at an absolute name", layer("text/plain", "a", "/f"), "ArtifactUnsafe"],
  ["a file without a name", layer("text/plain", "a", "./"), "ArtifactUnsafe"],
  ["an unknown type", layer("text/plain", "a"), "ArtifactCorrupt"],
  ["an extension that is a path", layer(`${staticType}./../x`, "a"), "ArtifactCorrupt"],
  ["Flux's archive type", layer(flux, "a"), "ArtifactCorrupt"],
] as const) {
  test(`O4 bytes that are no archive, as ${what}: ${want}`, async () => {
    const read = readLayers([{ descriptor, bytes: Buffer.from("x") }], "m");
    if (want.startsWith("Artifact")) await assert.rejects(read, { code: want });
    else assert.deepEqual([...(await read).keys()], [want]);
  });
}

test("O4 two layers with one name, and O7 layers that are too much together", async () => {
  const one = (title: string, bytes: Buffer) => ({ descriptor: layer("t", "a", title), bytes });
  const small = Buffer.from("x");
  await assert.rejects(readLayers([one("f", small), one("F", small)], "m"), {
    code: "ArtifactUnsafe",
  });
  const large = Buffer.alloc(40 * 1024 * 1024);
  await assert.rejects(readLayers([one("f", large), one("g", large)], "m"), {
    code: "ArtifactTooLarge",
  });
});
