import assert from "node:assert/strict";
import { test } from "node:test";
import { pickRef, pinnedBy, wantedOf, type GitRef } from "./index.ts";

const oid = (digit: string) => digit.repeat(40);
const refs = [
  { name: "refs/heads/main", oid: oid("1") },
  { name: "refs/heads/main2", oid: oid("2") },
  { name: "refs/tags/v1.9.0", oid: oid("3") },
  { name: "refs/tags/v1.10.0", oid: oid("4"), peeled: oid("5") },
  { name: "refs/tags/2.0.0-rc.1", oid: oid("6") },
  { name: "refs/pull/1/head", oid: oid("7") },
];
const resolve = (ref: GitRef) => pinnedBy(ref) ?? pickRef(wantedOf(ref), refs, "r");

const cases: readonly (readonly [GitRef, string])[] = [
  [{}, `main@sha1:${oid("1")}`],
  [{ branch: "main2" }, `main2@sha1:${oid("2")}`],
  [{ tag: "v1.9.0", branch: "main" }, `v1.9.0@sha1:${oid("3")}`],
  [{ tag: "v1.10.0" }, `v1.10.0@sha1:${oid("5")}`],
  [{ semver: "1.x", tag: "v1.9.0" }, `v1.10.0@sha1:${oid("5")}`],
  [{ semver: ">=1.0.0-0" }, `2.0.0-rc.1@sha1:${oid("6")}`],
  [{ name: "refs/pull/1/head", semver: "1.x" }, `refs/pull/1/head@sha1:${oid("7")}`],
  [{ commit: oid("9"), name: "refs/pull/1/head" }, `refs/pull/1/head@sha1:${oid("9")}`],
  [{ commit: oid("9") }, `sha1:${oid("9")}`],
];
for (const [ref, revision] of cases) {
  test(`${JSON.stringify(ref)} is ${revision}`, () => {
    assert.equal(resolve(ref).revision, revision);
  });
}

test("what is not there is said with its name", () => {
  assert.throws(() => resolve({ branch: "nope" }), {
    code: "GitNotFound",
    message: "r has no refs/heads/nope",
  });
  assert.throws(() => resolve({ semver: "3.x" }), { code: "VersionNotFound", message: /"3\.x"/ });
  assert.throws(() => resolve({ semver: "nonsense" }), { code: "VersionNotFound" });
});

for (const name of [
  "../x",
  "-c",
  "--upload-pack=id",
  "a..b",
  "a b",
  "a\nb",
  "a~1",
  "a^",
  "a:b",
  "a?",
  "a*",
  "a[",
  "a\\b",
  "a/",
  "/a",
  "a//b",
  ".a",
  "a/.b",
  "a.lock",
  "a.",
  "a@{1}",
  "",
  "\u0000",
  "a".repeat(300),
]) {
  test(`G6 ${JSON.stringify(name.slice(0, 20))} is not the name of a branch or tag`, () => {
    for (const ref of [{ branch: name }, { tag: name }])
      assert.throws(() => resolve(ref), { code: "RefInvalid" });
    assert.throws(() => resolve({ name: `refs/${name}` }), { code: "RefInvalid" });
  });
}

test("G6 names and commits have their form", () => {
  for (const ref of [
    { name: "main" },
    { name: "HEAD" },
    { commit: "abc" },
    { commit: `-${oid("1")}` },
  ])
    assert.throws(() => resolve(ref), { code: "RefInvalid" });
});
