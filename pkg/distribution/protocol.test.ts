import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { digestOf } from "../oci/index.ts";
import {
  addReferrer,
  checkBlob,
  chunkBytesOf,
  commitPath,
  contentRange,
  cutBlob,
  nextPage,
  ownPath,
  parseReferrers,
  receivedBytes,
  referrersTag,
  retryDelayMs,
} from "./index.ts";

const current = new URL("https://r.example:5000/v2/a/tags/list?n=2");
const links: readonly (readonly [link: string | undefined, next: string | undefined])[] = [
  ['</v2/a/tags/list?n=2&last=b>; rel="next"', "/v2/a/tags/list?n=2&last=b"],
  ["</v2/a/tags/list?last=b>; rel=next", "/v2/a/tags/list?last=b"],
  ['<?last=b>; rel="next"', "/v2/a/tags/list?last=b"],
  ['</x>; rel="prev", </y>; title="a, b"; rel="next"', "/y"],
  ['</x>; title="rel=next"', undefined],
  ['</x>;rel="last next"', "/x"],
  ['</x>; rel="nextest"', undefined],
  ["</x>", undefined],
  ["nonsense", undefined],
  ["", undefined],
  [undefined, undefined],
];
for (const [link, next] of links)
  test(`the next page of ${link ?? "no Link"}`, () => assert.equal(nextPage(link, current), next));

for (const link of [
  "https://r//x?y",
  "http://evil.example/x?y",
  "//evil.example/x?y",
  "https://169.254.169.254/x?y",
])
  test(`O8 the next page stays on the registry: ${link}`, () =>
    assert.equal(nextPage(`<${link}>; rel="next"`, current), "/x?y"));

test("any Link header is read to a path or to nothing", () => {
  fc.assert(
    fc.property(fc.string(), fc.webPath(), (junk, path) => {
      const next = nextPage(`<${path}${junk.replaceAll(/[<>]/g, "")}>; rel="next"`, current);
      assert.ok(next === undefined || /^\/(?!\/)/.test(next));
    }),
  );
});

const locations: readonly (readonly [location: string | undefined, path: string | undefined])[] = [
  ["/v2/a/blobs/uploads/1?_state=x", "/v2/a/blobs/uploads/1?_state=x"],
  ["https://r.example:5000/up/1", "/up/1"],
  ["http://r.example/up/1", "/up/1"],
  ["1", "/v2/a/tags/1"],
  ["https://r.example:5000//evil.example/up", "/evil.example/up"],
  ["https://evil.example:5000/up", undefined],
  ["//evil.example/up", undefined],
  ["https://r.example:5000@evil.example/up", undefined],
  ["https://r.example:6000/up", undefined],
  ["file:///etc/passwd", undefined],
  ["http://[", undefined],
  [undefined, undefined],
];
for (const [location, path] of locations) {
  test(`O8 an upload ${path === undefined ? "does not go" : "goes"} to ${location ?? "nowhere"}`, () => {
    if (path === undefined)
      assert.throws(() => ownPath(location, current), { code: "RegistryUnreachable" });
    else assert.equal(ownPath(location, current), path);
  });
}

const nowMs = Date.parse("2026-01-01T00:00:00Z");
const waits: readonly (readonly [number, string | undefined, number, number | undefined])[] = [
  [429, undefined, 1, 200],
  [503, undefined, 2, 400],
  [503, undefined, 4, undefined],
  [429, "3", 1, 3000],
  [429, "0", 1, 0],
  [429, "3600", 1, undefined],
  [503, "Thu, 01 Jan 2026 00:00:05 GMT", 1, 5000],
  [503, "Wed, 31 Dec 2025 00:00:00 GMT", 1, 0],
  [503, "soon", 1, 200],
  [503, "-1", 1, 200],
  [500, "1", 1, undefined],
  [404, "1", 1, undefined],
];
for (const [status, retryAfter, attempt, want] of waits) {
  test(`O1 HTTP ${status}, Retry-After ${retryAfter ?? "none"}, try ${attempt}: wait ${want ?? "not"}`, () =>
    assert.equal(retryDelayMs({ status, retryAfter, attempt }, nowMs, 0), want));
}

test("pieces are named by their first and last byte", () => {
  assert.equal(contentRange(0, 10), "0-9");
  assert.equal(contentRange(10, 1), "10-10");
});

for (const [range, sent, want] of [
  ["0-9", 10, 10],
  ["bytes=0-9", 10, 10],
  ["0-4", 10, 5],
  ["0-99", 10, 10],
  ["5-9", 10, 10],
  [undefined, 10, 10],
  ["0-0", 10, 0],
  [undefined, 4, 4],
] as const)
  test(`Range ${range ?? "none"}, else ${sent}, of 10 bytes means ${want}`, () =>
    assert.equal(receivedBytes(range, sent, 10), want));

test("pieces are as long as the registry wants, within reason", () => {
  const mib = 1024 * 1024;
  assert.equal(chunkBytesOf(undefined, "r"), 8 * mib);
  assert.equal(chunkBytesOf("1", "r"), 8 * mib);
  assert.equal(chunkBytesOf(String(10 * mib), "r"), 10 * mib);
  assert.equal(chunkBytesOf("-1", "r"), 8 * mib);
  assert.throws(() => chunkBytesOf("99999999999", "r"), { code: "RegistryUnreachable" });
});

test("an upload ends with the digest, whatever its location has", () => {
  assert.equal(commitPath("/u?a=b", "sha256:1"), "/u?a=b&digest=sha256%3A1");
  assert.equal(commitPath("/u", "sha256:1"), "/u?digest=sha256%3A1");
});

const sourceOf = (chunks: readonly Uint8Array[], size: number) => ({
  digest: digestOf(Buffer.concat(chunks)),
  size,
  async *read() {
    yield* chunks;
  },
});

test("pieces have one size, and together they are the blob", async () => {
  const chunk = fc.uint8Array({ maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(fc.array(chunk), fc.integer({ min: 1, max: 30 }), async (chunks, bytes) => {
      const whole = Buffer.concat(chunks);
      const pieces = await Array.fromAsync(cutBlob(sourceOf(chunks, whole.length), bytes));
      assert.deepEqual(Buffer.concat(pieces), whole);
      assert.ok(pieces.slice(0, -1).every((piece) => piece.length === bytes));
      assert.ok(pieces.every((piece) => piece.length > 0 && piece.length <= bytes));
    }),
  );
});

test("O2 a blob that goes on, or is not what it is said to be, is corrupt", async () => {
  const blob = sourceOf([Buffer.from("abc")], 2);
  await assert.rejects(Array.fromAsync(cutBlob(blob, 10)), { code: "ArtifactCorrupt" });
  assert.throws(() => checkBlob(blob, "0".repeat(64), 2), { code: "ArtifactCorrupt" });
  assert.throws(() => checkBlob(blob, blob.digest.slice(7), 3), { code: "ArtifactCorrupt" });
  checkBlob(blob, blob.digest.slice(7), 2);
});

test("the list of referrers grows, keeps what is in it, and has each once", () => {
  const referrer = (n: string, artifactType: string) => ({
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    digest: `sha256:${n.repeat(64)}`,
    size: 1,
    artifactType,
  });
  const [a, b] = [referrer("a", "sig"), referrer("b", "sbom")];
  const one = addReferrer(undefined, a, "x");
  const two = addReferrer(one, b, "x");
  assert.deepEqual(parseReferrers(two ?? Buffer.alloc(0), undefined, "x"), [a, b]);
  assert.deepEqual(parseReferrers(two ?? Buffer.alloc(0), "sbom", "x"), [b]);
  assert.equal(addReferrer(two, a, "x"), undefined);
  assert.throws(() => addReferrer(Buffer.from("{}"), a, "x"), { code: "ArtifactCorrupt" });
  assert.equal(referrersTag(a.digest), `sha256-${"a".repeat(64)}`);
});
