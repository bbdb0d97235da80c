import assert from "node:assert/strict";
import { test } from "node:test";
import { formatReference, parseReference, selectVersion, versionsIn } from "./index.ts";

const digest = `sha256:${"a".repeat(64)}`;

test("splits references and puts them together again", () => {
  for (const text of [
    "oci://a/b",
    "oci://a.b:5000/c/d",
    "oci://localhost:5000/x:v1.2",
    `oci://ghcr.io/fluxcd/flux-manifests:v1@${digest}`,
  ]) {
    assert.equal(formatReference(parseReference(text)), text);
  }
});

for (const text of [
  "",
  "ghcr.io/a",
  "oci://",
  "oci://a",
  "oci://a/B",
  "oci://a/b c",
  "oci://-a/b",
  "oci://a/../b",
  "oci://a/b@sha256:12",
  "oci://u:p@a/b",
  "oci://a/b;rm",
  "https://a/b",
  `oci://a/${"b".repeat(2000)}`,
]) {
  test(`refuses the reference ${JSON.stringify(text.slice(0, 30))}`, () => {
    assert.throws(() => parseReference(text), { code: "RefInvalid" });
  });
}

const tags = [
  "v2.8.8",
  "v2.9.0",
  "v2.9.4",
  "2.9.3",
  "v3.0.0-rc.1",
  "v3.0.0",
  "latest",
  "main-abc",
  "v10.0.0",
];
const versions: readonly (readonly [range: string, tag: string | undefined])[] = [
  [">=2.9.0 <3.0.0", "v2.9.4"],
  [">=2.9.0, <3.0.0", "v2.9.4"],
  ["2.9.4", "v2.9.4"],
  ["v2.9.4", "v2.9.4"],
  ["2.9.x", "v2.9.4"],
  ["~2.8", "v2.8.8"],
  ["^2.0.0", "v2.9.4"],
  ["2.9.3", "2.9.3"],
  [">=2.0.0", "v10.0.0"],
  [">=3.0.0-0 <3.0.0", "v3.0.0-rc.1"],
  ["<3.0.0 >2.9.4", undefined],
  ["9.9.9", undefined],
  ["nonsense", undefined],
];
for (const [range, tag] of versions) {
  test(`the range ${range} selects ${tag ?? "nothing"}`, () =>
    assert.equal(selectVersion(tags, range), tag));
}

test("all versions in a range, the highest first", () => {
  const some = ["2.9.3", "latest", "v10.0.0", "2.8.0", "v2.9.4", "2.10.0", "3.0.0-rc.1", "11.0.0"];
  assert.deepEqual(versionsIn(some, ">=2.9.0, <11"), ["v10.0.0", "2.10.0", "v2.9.4", "2.9.3"]);
  assert.deepEqual(versionsIn(some, "9.9.9"), []);
  assert.equal(versionsIn(some, "nonsense"), undefined);
});
