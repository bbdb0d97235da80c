import assert from "node:assert/strict";
import { test } from "node:test";
import {
  credentialsFor,
  helperFor,
  mayReceiveCredentials,
  parseChallenge,
  parseDockerConfig,
  parseHelperReply,
  parsePersonalDockerConfig,
  withLogin,
} from "./index.ts";

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
  ["https://gitlab.com/jwt/auth", "registry.gitlab.com", false, true],
  ["https://evil.co.uk/token", "registry.co.uk", false, false],
  ["https://evil.azurecr.io/oauth2/token", "mine.azurecr.io", false, false],
  ["https://auth.example.co.uk/token", "registry.example.co.uk", false, true],
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
  assert.deepEqual(credentialsFor(config, "registry-1.docker.io", "a"), {
    username: "a",
    password: "b:c",
  });
  assert.deepEqual(credentialsFor(config, "r:5000", "a/b"), { username: "u", password: "p" });
  assert.equal(credentialsFor(config, "r", "a"), undefined);
  for (const bad of [
    "{",
    JSON.stringify({ auths: { a: {} } }),
    JSON.stringify({ auths: { a: { auth: btoa("nocolon") } } }),
  ]) {
    assert.throws(() => parseDockerConfig(bad, "s"), { code: "SecretInvalid" });
  }
});

const config = (value: object) => parseDockerConfig(JSON.stringify(value), "Secret a/b");
const entry = (user: string) => ({ auth: btoa(`${user}:p`) });
const byPath = config({
  auths: {
    "r:5000": entry("host"),
    "https://r:5000/team/": entry("team"),
    "r:5000/team/app": entry("app"),
    "docker.io/team": entry("hub-team"),
    "https://index.docker.io/v1/": entry("hub"),
  },
});
for (const [host, repository, user] of [
  ["r:5000", "team/app", "app"],
  ["r:5000", "team/app/sub", "app"],
  ["r:5000", "team/application", "team"],
  ["r:5000", "team", "team"],
  ["r:5000", "teams/app", "host"],
  ["docker.io", "team/x", "hub-team"],
  ["registry-1.docker.io", "library/x", "hub"],
  ["r:5001", "team/app", undefined],
  ["evil", "r:5000/team/app", undefined],
] as const) {
  test(`the login for ${host}/${repository} is ${user ?? "none"}`, () => {
    const password = user === undefined ? undefined : { username: user, password: "p" };
    assert.deepEqual(credentialsFor(byPath, host, repository), password);
  });
}

test("an identity token counts more than the password beside it", () => {
  const found = config({ auths: { r: { ...entry("u"), identitytoken: "t" } } });
  assert.deepEqual(credentialsFor(found, "r", "a"), { identityToken: "t" });
});

for (const helpers of [{ credsStore: "evil" }, { credHelpers: { r: "evil" } }, { credsStore: 5 }]) {
  test(`a Secret that names a program to run is refused: ${JSON.stringify(helpers)}`, () => {
    assert.throws(() => config({ auths: { r: entry("u") }, ...helpers }), {
      code: "SecretInvalid",
      message: /^Secret a\/b: .*not run for a Secret/,
    });
  });
}

test("a docker config's error never repeats what is in it", () => {
  for (const text of ['{"auths":{"r":{"auth":"s3cr3t', '{"auths":{"r":{"auth":"czNjcjN0"}}}'])
    assert.throws(
      () => parseDockerConfig(text, "s"),
      (error: Error) => !/s3cr3t|czNjcjN0/.test(error.message),
    );
});

const personal = (value: object) => parsePersonalDockerConfig(JSON.stringify(value), "config.json");

test("a person's config may name helpers: the host's own before the store", () => {
  const found = personal({
    auths: { r: {}, s: entry("u") },
    credsStore: "desktop",
    credHelpers: { "gcr.io": "gcloud" },
  });
  assert.deepEqual(helperFor(found, "gcr.io"), {
    program: "docker-credential-gcloud",
    server: "gcr.io",
  });
  assert.deepEqual(helperFor(found, "docker.io"), {
    program: "docker-credential-desktop",
    server: "https://index.docker.io/v1/",
  });
  assert.deepEqual([...found.logins.keys()], ["s"]);
  assert.equal(helperFor(personal({}), "r"), undefined);
});

for (const name of ["../evil", "/bin/sh", "a b", "a\u0000", "-x", "a/b"]) {
  test(`a helper is a name and no path: ${JSON.stringify(name)}`, () => {
    assert.throws(() => helperFor(personal({ credsStore: name }), "r"), { code: "SecretInvalid" });
  });
}

test("reads what helpers print", () => {
  const read = (value: object) => parseHelperReply(JSON.stringify(value), "helper");
  assert.deepEqual(read({ Username: "u", Secret: "p" }), { username: "u", password: "p" });
  assert.deepEqual(read({ Username: "<token>", Secret: "t" }), { identityToken: "t" });
  assert.equal(read({ Username: "u", Secret: "" }), undefined);
  assert.throws(
    () => parseHelperReply("s3cr3t", "helper"),
    (error: Error) => !/s3cr3t/.test(error.message),
  );
  const more = withLogin(new Map(), "https://r", { identityToken: "t" });
  assert.deepEqual(credentialsFor(more, "r", "a"), { identityToken: "t" });
});
