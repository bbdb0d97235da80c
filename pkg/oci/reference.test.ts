import assert from "node:assert/strict";
import { test } from "node:test";
import {
  formatReference,
  mayReceiveCredentials,
  parseChallenge,
  parseDockerConfig,
  credentialsFor,
  parseManifest,
  parseReference,
  selectVersion,
  contentLayer,
} from "./index.ts";

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

test("reads Basic and Bearer challenges", () => {
  assert.deepEqual(parseChallenge('Basic realm="x"'), { scheme: "basic" });
  const bearer = parseChallenge(
    'Bearer realm="https://auth.example/token",service="reg",scope="repository:a:pull"',
  );
  assert.deepEqual(bearer, {
    scheme: "bearer",
    realm: new URL("https://auth.example/token"),
    service: "reg",
    scope: "repository:a:pull",
  });
  assert.equal(parseChallenge("Bearer realm=nonsense"), undefined);
  assert.equal(parseChallenge("Digest x"), undefined);
});

/** I10: credentials go to their own host only. */
const realms: readonly (readonly [
  realm: string,
  host: string,
  insecure: boolean,
  allowed: boolean,
])[] = [
  ["https://ghcr.io/token", "ghcr.io", false, true],
  ["https://auth.docker.io/token", "registry-1.docker.io", false, true],
  ["https://evil.example/token", "ghcr.io", false, false],
  ["https://evil-docker.io/token", "registry-1.docker.io", false, false],
  ["https://ghcr.io.evil.example/token", "ghcr.io", false, false],
  ["http://ghcr.io/token", "ghcr.io", false, false],
  ["http://127.0.0.1:5001/token", "127.0.0.1:5000", true, true],
  ["https://8.0.0.1/token", "127.0.0.1:5000", true, false],
  ["https://other.io/token", "ghcr.io", false, false],
];
for (const [realm, host, insecure, allowed] of realms) {
  test(`O8 credentials for ${host} ${allowed ? "may" : "must not"} go to ${realm}`, () => {
    assert.equal(mayReceiveCredentials(new URL(realm), host, insecure), allowed);
  });
}

test("reads docker configs, by auth or by username and password", () => {
  const config = parseDockerConfig(
    JSON.stringify({
      auths: {
        "https://index.docker.io/v1/": { auth: btoa("a:b:c") },
        "r:5000": { username: "u", password: "p" },
      },
    }),
    "s",
  );
  assert.deepEqual(credentialsFor(config, "registry-1.docker.io"), {
    username: "a",
    password: "b:c",
  });
  assert.deepEqual(credentialsFor(config, "r:5000"), { username: "u", password: "p" });
  assert.equal(credentialsFor(config, "r"), undefined);
  for (const bad of [
    "{",
    JSON.stringify({ auths: { a: {} } }),
    JSON.stringify({ auths: { a: { auth: btoa("nocolon") } } }),
  ]) {
    assert.throws(() => parseDockerConfig(bad, "s"), { code: "SecretInvalid" });
  }
});

const layer = (mediaType: string, n: string) => ({
  mediaType,
  digest: `sha256:${n.repeat(64)}`,
  size: 1,
});
const manifest = (fields: object) =>
  Buffer.from(JSON.stringify({ schemaVersion: 2, layers: [layer("x", "a")], ...fields }));

test("takes the layer of Flux's type, else the first", () => {
  const flux = "application/vnd.cncf.flux.content.v1.tar+gzip";
  assert.equal(
    contentLayer(parseManifest(manifest({ layers: [layer("x", "a"), layer(flux, "b")] }), "m"))
      ?.digest,
    `sha256:${"b".repeat(64)}`,
  );
  assert.equal(contentLayer(parseManifest(manifest({}), "m"))?.digest, `sha256:${"a".repeat(64)}`);
});

for (const [what, bytes] of [
  ["an index", manifest({ mediaType: "application/vnd.oci.image.index.v1+json", manifests: [] })],
  ["no layers", manifest({ layers: [] })],
  ["a layer without digest", manifest({ layers: [{ size: 1 }] })],
  ["a negative size", manifest({ layers: [{ ...layer("x", "a"), size: -1 }] })],
  ["no JSON", Buffer.from("<html>")],
] as const) {
  test(`refuses a manifest with ${what}`, () =>
    assert.throws(() => parseManifest(bytes, "m"), { code: "ArtifactCorrupt" }));
}

test("O6 refuses ten thousand layers", () => {
  const layers = Array.from({ length: 10_000 }, () => layer("x", "a"));
  assert.throws(() => parseManifest(manifest({ layers }), "m"), { code: "ArtifactTooLarge" });
});
