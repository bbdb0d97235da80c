import assert from "node:assert/strict";
import { createPrivateKey, sign, type KeyObject } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { parseDockerConfig } from "../../pkg/distribution/index.ts";
import { buildManifest, digestOf, parseReference, pack } from "../../pkg/oci/index.ts";
import { RegistryClient, type RegistryAccess } from "../../pkg/registry/index.ts";
import { newAuthority } from "../../hack/lab/pki.ts";
import { stop } from "../../hack/lab/processes.ts";
import { startRegistry } from "../../hack/lab/registry.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { ensureTools } from "../../hack/lab/tools.ts";
import { silent } from "../../hack/lab/progress.ts";
import { cacheIn, pushFiles } from "../harness/artifacts.ts";
import { capitan, sharedLab } from "../harness/index.ts";
import { listen, portOf } from "../harness/servers.ts";

let lab: LabFile;
let dir: string;
let binary: string;
let port: number;
const started: string[] = [];

before(async () => {
  lab = await sharedLab();
  dir = await mkdtemp(join(tmpdir(), "capitan-registry-"));
  binary = (await ensureTools(silent)).registry;
  port = lab.ports.lastWorkload - 10;
});
after(async () => {
  for (const name of started) await stop(lab.dir, name);
  await rm(dir, { recursive: true, force: true });
});

async function registry(name: string, options: object): Promise<string> {
  started.push(name);
  return startRegistry(lab.dir, binary, { name, port: port--, ...options });
}

/** The text of a.yaml in the artifact of this tag. */
async function pullText(
  url: string,
  access: RegistryAccess,
  cacheDir = join(dir, "cache"),
): Promise<string | undefined> {
  const reference = parseReference(url);
  const client = new RegistryClient(reference, access);
  try {
    const digest = reference.digest ?? (await client.resolve(reference.tag ?? "latest"));
    const files = await client.pull(digest, cacheIn(cacheDir));
    return files.get("a.yaml")?.content.toString();
  } finally {
    await client.close();
  }
}

const insecure: RegistryAccess = { insecure: true };
const docker = (host: string, auth: string) =>
  parseDockerConfig(JSON.stringify({ auths: { [host]: { auth: btoa(auth) } } }), "test");

test("pulls what was pushed, by tag and by digest; the same files have the same digest", async () => {
  const digest = await pushFiles(`oci://${lab.registry}/pull/plain:v1`, {
    "a.yaml": "hello",
    "b/c.yaml": "x",
  });
  assert.equal(await pullText(`oci://${lab.registry}/pull/plain:v1`, insecure), "hello");
  assert.equal(await pullText(`oci://${lab.registry}/pull/plain@${digest}`, insecure), "hello");
  assert.equal(
    await pushFiles(`oci://${lab.registry}/pull/plain:v2`, { "b/c.yaml": "x", "a.yaml": "hello" }),
    digest,
  );
});

test("plain HTTP is the default on loopback, and can be refused", async () => {
  await pushFiles(`oci://${lab.registry}/pull/loopback`, { "a.yaml": "x" });
  assert.equal(await pullText(`oci://${lab.registry}/pull/loopback`, {}), "x");
  await assert.rejects(pullText(`oci://${lab.registry}/pull/loopback`, { insecure: false }), {
    code: "RegistryUnreachable",
  });
});

test("what is in the cache needs no registry", async () => {
  const cache = join(dir, "offline");
  const digest = await pushFiles(`oci://${lab.registry}/pull/offline:v1`, { "a.yaml": "kept" });
  await pullText(`oci://${lab.registry}/pull/offline@${digest}`, insecure, cache);
  assert.equal(await pullText(`oci://127.0.0.1:1/pull/offline@${digest}`, insecure, cache), "kept");
});

test("what was changed in the cache is pulled again", async () => {
  const cache = join(dir, "tampered");
  const digest = await pushFiles(`oci://${lab.registry}/pull/tampered:v1`, { "a.yaml": "right" });
  await pullText(`oci://${lab.registry}/pull/tampered@${digest}`, insecure, cache);
  await writeFile(join(cache, digest.replace(":", "-")), "wrong");
  assert.equal(
    await pullText(`oci://${lab.registry}/pull/tampered@${digest}`, insecure, cache),
    "right",
  );
});

test("basic authentication: right, wrong and no credentials", async () => {
  const htpasswd = join(dir, "htpasswd");
  // user:secret, hashed by bcrypt (cost 4)
  await writeFile(htpasswd, `user:${bcryptOfSecret}\n`);
  const host = await registry("registry-basic", { htpasswd });
  const login = docker(host, "user:secret");
  await pushFiles(`oci://${host}/a`, { "a.yaml": "basic" }, { ...insecure, login });
  assert.equal(await pullText(`oci://${host}/a`, { ...insecure, login }), "basic");
  await assert.rejects(pullText(`oci://${host}/a`, insecure), {
    code: "RegistryDenied",
    message: /no credentials for this host/,
  });
  await assert.rejects(
    pullText(`oci://${host}/a`, { ...insecure, login: docker(host, "user:wrong") }),
    { code: "RegistryDenied", message: /were not accepted/ },
  );
});

const bcryptOfSecret = "$2b$04$uw/EuKX7ZsiktJWsNXbusuivC5F8JrLsXEChuI0CbPrUZODAumK/.";

test("TLS with a custom CA; not without it, and never by skipping", async () => {
  const ca = await newAuthority("registry-ca");
  const leaf = await ca.issue({ subject: "CN=registry", use: "server", hosts: ["127.0.0.1"] });
  const [certFile, keyFile] = [join(dir, "tls.crt"), join(dir, "tls.key")];
  await writeFile(certFile, leaf.cert);
  await writeFile(keyFile, leaf.key);
  const host = await registry("registry-tls", { tls: { certFile, keyFile } });
  const caFile = join(dir, "ca.crt");
  await writeFile(caFile, ca.cert);
  await writeFile(join(dir, "a.yaml"), "tls");
  const pushed = await capitan([
    "push",
    "artifact",
    `oci://${host}/a:v1`,
    "-f",
    join(dir, "a.yaml"),
    "--ca-file",
    caFile,
    "-o",
    "json",
  ]);
  assert.match(
    (JSON.parse(pushed.stdout) as { url: string }).url,
    /^oci:\/\/127\.0\.0\.1:\d+\/a@sha256:[0-9a-f]{64}$/,
  );
  assert.equal(await pullText(`oci://${host}/a:v1`, { insecure: false, ca: ca.cert }), "tls");
  assert.equal(await pullText(`oci://${host}/a:v1`, { ca: ca.cert }), "tls");
  await assert.rejects(pullText(`oci://${host}/a:v1`, { insecure: false }), {
    code: "RegistryUnreachable",
  });
});

test("token authentication: the token server gets the credentials, the registry only the token", async () => {
  const ca = await newAuthority("token");
  const seen: string[] = [];
  const service = "registry.test";
  const leaf = await ca.issue({ subject: "CN=token", use: "server" });
  const certificate = leaf.cert.replaceAll(/-----[^-]+-----|\n/g, "");
  const signer = { key: createPrivateKey(leaf.key), certificate };
  const server = await listen((request, response) => {
    seen.push(request.headers.authorization ?? "none");
    const scope = new URL(request.url ?? "", "http://x").searchParams.get("scope") ?? "";
    const [, name = "", actions = ""] = scope.split(":");
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: "test",
      sub: "user",
      aud: service,
      exp: now + 300,
      nbf: now - 10,
      iat: now,
      jti: "1",
      access: [{ type: "repository", name, actions: actions.split(",") }],
    };
    response.end(
      JSON.stringify({ token: jwt(claims, signer.key, signer.certificate), expires_in: 300 }),
    );
  });
  const bundle = join(dir, "token.crt");
  await writeFile(bundle, ca.cert);
  const realm = `http://127.0.0.1:${portOf(server)}/token`;
  const host = await registry("registry-token", {
    token: { realm, service, issuer: "test", bundle },
  });
  const login = docker(host, "user:secret");
  await pushFiles(`oci://${host}/team/a`, { "a.yaml": "token" }, { ...insecure, login });
  assert.equal(await pullText(`oci://${host}/team/a`, { ...insecure, login }), "token");
  assert.ok(seen.length > 0 && seen.every((header) => header === `Basic ${btoa("user:secret")}`));
  server.close();
});

/** A JSON Web Token signed with ES256, with its certificate, as distribution checks it. */
function jwt(claims: object, key: KeyObject, certificate: string): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ typ: "JWT", alg: "ES256", x5c: [certificate] })}.${part(claims)}`;
  const signature = sign("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" }).toString(
    "base64url",
  );
  return `${text}.${signature}`;
}

/** A registry that serves one artifact with something wrong about it. */
async function hostile(
  change: (path: string, body: Buffer) => Buffer | number | string,
): Promise<{ url: string; server: Server }> {
  const layer = await pack(new Map([["a.yaml", { content: Buffer.from("x") }]]));
  const { manifest } = buildManifest(layer, {});
  const server = await listen((request, response) => {
    const path = request.url ?? "";
    const found = change(path, path.includes("/manifests/") ? manifest : layer);
    if (typeof found === "number") response.writeHead(found).end();
    else if (typeof found === "string") response.writeHead(307, { location: found }).end();
    else response.end(found);
  });
  return { url: `oci://127.0.0.1:${portOf(server)}/a@${digestOf(manifest)}`, server };
}

const isBlob = (path: string) => path.includes("/blobs/");

for (const [what, code, change] of [
  [
    "a blob with another byte",
    "ArtifactCorrupt",
    (path: string, body: Buffer) =>
      isBlob(path) ? Buffer.from(body.map((b, i) => (i === 20 ? b ^ 1 : b))) : body,
  ],
  [
    "a truncated blob",
    "ArtifactCorrupt",
    (path: string, body: Buffer) => (isBlob(path) ? body.subarray(0, -5) : body),
  ],
  [
    "a blob that goes on",
    "ArtifactTooLarge",
    (path: string, body: Buffer) =>
      isBlob(path) ? Buffer.concat([body, Buffer.alloc(1000)]) : body,
  ],
  [
    "another manifest than the digest's",
    "ArtifactCorrupt",
    (path: string, body: Buffer) =>
      isBlob(path) ? body : Buffer.from(body.toString().replace("schemaVersion", "schemaversion")),
  ],
  [
    "a manifest of 10 MB",
    "ArtifactTooLarge",
    (path: string, body: Buffer) => (isBlob(path) ? body : Buffer.alloc(10_000_000, 32)),
  ],
  ["a server error", "RegistryUnreachable", () => 500],
  ["too many requests", "RegistryUnreachable", () => 429],
  ["no such digest", "ArtifactNotFound", () => 404],
  ["a redirect to a file", "RegistryUnreachable", () => "file:///etc/passwd"],
  ["redirects in a circle", "RegistryUnreachable", (path: string) => path],
] as const) {
  test(`O2 O6 ${what} is ${code}, and nothing is cached`, async () => {
    const { url, server } = await hostile(change);
    const cache = join(dir, `hostile-${code}-${what.length}`);
    await assert.rejects(pullText(url, insecure, cache), { code });
    assert.equal(await cacheIn(cache).get(parseReference(url).digest ?? ""), undefined);
    server.close();
  });
}

test("O8 credentials do not follow a redirect to another host", async () => {
  const seen: string[] = [];
  const other = await listen((request, response) => {
    seen.push(`other ${request.headers.authorization ?? "none"}`);
    response.end(Buffer.alloc(1));
  });
  const first = await listen((request, response) => {
    const { authorization } = request.headers;
    if (authorization === undefined)
      return void response.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end();
    seen.push("first with credentials");
    return void response.writeHead(307, { location: `http://127.0.0.1:${portOf(other)}/x` }).end();
  });
  const host = `127.0.0.1:${portOf(first)}`;
  const client = new RegistryClient(parseReference(`oci://${host}/a`), {
    ...insecure,
    login: docker(host, "user:secret"),
  });
  await client.resolve("latest");
  assert.deepEqual(seen, ["first with credentials", "other none"]);
  await client.close();
  first.close();
  other.close();
});

test("O8 a token server elsewhere gets no credentials", async () => {
  const seen: string[] = [];
  const evil = await listen((request, response) => {
    seen.push(request.headers.authorization ?? "none");
    response.writeHead(401).end();
  });
  const realm = `http://localhost:${portOf(evil)}/token`;
  const first = await listen(
    (_request, response) =>
      void response.writeHead(401, { "www-authenticate": `Bearer realm="${realm}"` }).end(),
  );
  const host = `127.0.0.1:${portOf(first)}`;
  const client = new RegistryClient(parseReference(`oci://${host}/a`), {
    ...insecure,
    login: docker(host, "user:secret"),
  });
  await assert.rejects(client.resolve("latest"), {
    code: "RegistryDenied",
    message: /our credentials are not sent there/,
  });
  assert.deepEqual(seen, ["none"]);
  await client.close();
  first.close();
  evil.close();
});
