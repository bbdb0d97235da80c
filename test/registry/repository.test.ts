import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { Server } from "node:http";
import { after, before, test } from "node:test";
import { silent } from "../../hack/lab/progress.ts";
import { stop } from "../../hack/lab/processes.ts";
import { startRegistry } from "../../hack/lab/registry.ts";
import type { LabFile } from "../../hack/lab/state.ts";
import { ensureTools } from "../../hack/lab/tools.ts";
import { referrersTag } from "../../pkg/distribution/index.ts";
import { copyArtifact, digestOf, mediaTypes, parseReference } from "../../pkg/oci/index.ts";
import { RegistryClient } from "../../pkg/registry/index.ts";
import { pushFiles } from "../harness/artifacts.ts";
import { sharedLab } from "../harness/index.ts";
import { portOf, proxy, type Answer, type Meddle, type Seen } from "../harness/servers.ts";

let lab: LabFile;
let second: string;
const clients: RegistryClient[] = [];
const servers: Server[] = [];
const mib = 1024 * 1024;
/** Repositories are new in each run, so that what is there already is what a test has put there. */
const run = `r${randomBytes(4).toString("hex")}`;

before(async () => {
  lab = await sharedLab();
  const port = lab.ports.lastWorkload - 20;
  const { registry } = await ensureTools(silent);
  second = await startRegistry(lab.dir, registry, { name: "registry-second", port });
});
after(async () => {
  await Promise.all(clients.map((client) => client.close()));
  for (const server of servers) server.close();
  await stop(lab.dir, "registry-second");
});

function clientOf(host: string, repository: string): RegistryClient {
  const client = new RegistryClient(parseReference(`oci://${host}/${run}/${repository}`), {
    insecure: true,
  });
  clients.push(client);
  return client;
}

/** A client of a repository behind a proxy that meddles, and what the proxy saw. */
async function behind(
  repository: string,
  meddle: Meddle = (_seen, pass) => pass(),
): Promise<{ client: RegistryClient; seen: Seen[] }> {
  const seen: Seen[] = [];
  const server = await proxy(lab.registry, (request, pass) => {
    seen.push(request);
    return meddle(request, pass);
  });
  servers.push(server);
  return { client: clientOf(`127.0.0.1:${portOf(server)}`, repository), seen };
}

const methods = (seen: readonly Seen[]) => seen.map(({ method }) => method);
const patches = (seen: readonly Seen[]) => seen.filter(({ method }) => method === "PATCH");

const sourceOf = (bytes: Buffer, digest = digestOf(bytes)) => ({
  digest,
  size: bytes.length,
  async *read() {
    // As it comes from a socket: in pieces of any size.
    for (let i = 0; i < bytes.length; i += 65_537) yield bytes.subarray(i, i + 65_537);
  },
});

/** Whether the real registry has exactly these bytes. */
async function holds(repository: string, bytes: Buffer): Promise<boolean> {
  const blob = { mediaType: "x", digest: digestOf(bytes), size: bytes.length };
  return bytes.equals(await clientOf(lab.registry, repository).blob(blob));
}

test("a large blob goes in pieces, and only once", async () => {
  const bytes = randomBytes(20 * mib);
  const { client, seen } = await behind("large");
  assert.equal(await client.upload(sourceOf(bytes)), "uploaded");
  assert.deepEqual(methods(seen), ["HEAD", "POST", "PATCH", "PATCH", "PATCH", "PUT"]);
  assert.deepEqual(
    patches(seen).map(({ headers }) => headers["content-range"]),
    [`0-${8 * mib - 1}`, `${8 * mib}-${16 * mib - 1}`, `${16 * mib}-${20 * mib - 1}`],
  );
  assert.ok(await holds("large", bytes));
  assert.equal(await client.upload(sourceOf(bytes)), "present");
  assert.equal(methods(seen).at(-1), "HEAD");
});

test("a small blob goes in one request, an empty one too", async () => {
  const { client, seen } = await behind("small");
  for (const bytes of [randomBytes(1000), Buffer.alloc(0)]) {
    seen.length = 0;
    await client.upload(sourceOf(bytes));
    assert.deepEqual(methods(seen), ["HEAD", "POST", "PUT"]);
    assert.ok(await holds("small", bytes));
  }
});

test("pieces are at least as long as the registry wants them", async () => {
  const bytes = randomBytes(15 * mib);
  const { client, seen } = await behind("minimum", async (request, pass) => {
    const answer = await pass();
    const wanted = { "oci-chunk-min-length": String(10 * mib) };
    return request.method === "POST"
      ? { ...answer, headers: { ...answer.headers, ...wanted } }
      : answer;
  });
  await client.upload(sourceOf(bytes));
  assert.deepEqual(
    patches(seen).map(({ body }) => body.length),
    [10 * mib, 5 * mib],
  );
  assert.ok(await holds("minimum", bytes));
});

test("what a registry did not take of a piece is sent again", async () => {
  const bytes = randomBytes(9 * mib);
  const { client, seen } = await behind("half", (request, pass) => {
    if (request.method !== "PATCH") return pass();
    const half = request.body.subarray(0, Math.ceil(request.body.length / 2));
    const [start = ""] = String(request.headers["content-range"]).split("-");
    const range = `${start}-${Number(start) + half.length - 1}`;
    // The first two pieces lose their second half.
    return patches(seen).length > 2
      ? pass()
      : pass({ body: half, headers: { ...request.headers, "content-range": range } });
  });
  await client.upload(sourceOf(bytes));
  assert.equal(patches(seen).length, 4);
  assert.ok(await holds("half", bytes));
});

test("when the reply to a piece is lost the registry is asked where it is", async () => {
  const bytes = randomBytes(9 * mib);
  const { client, seen } = await behind("lost", async (request, pass) => {
    const answer = await pass();
    return request.method === "PATCH" && patches(seen).length === 1
      ? { status: 416, headers: {} }
      : answer;
  });
  await client.upload(sourceOf(bytes));
  assert.deepEqual(methods(seen), ["HEAD", "POST", "PATCH", "GET", "PATCH", "PUT"]);
  assert.ok(await holds("lost", bytes));
});

test("a piece that never arrived is sent again from its first byte", async () => {
  const bytes = randomBytes(9 * mib);
  const { client, seen } = await behind("never-arrived", (request, pass) =>
    request.method === "PATCH" && patches(seen).length === 1
      ? Promise.resolve({ status: 416, headers: {} })
      : pass(),
  );
  await client.upload(sourceOf(bytes));
  assert.deepEqual(methods(seen), ["HEAD", "POST", "PATCH", "GET", "PATCH", "PATCH", "PUT"]);
  assert.ok(await holds("never-arrived", bytes));
});

test("a registry that takes nothing, and does not say what it has, is given up", async () => {
  const { client, seen } = await behind("stuck", ({ method }, pass) => {
    if (method === "PATCH") return Promise.resolve({ status: 416, headers: {} });
    return method === "GET" ? Promise.resolve({ status: 204, headers: {} }) : pass();
  });
  await assert.rejects(client.upload(sourceOf(randomBytes(9 * mib))), {
    code: "RegistryUnreachable",
    message: /did not take a piece of a blob: HTTP 416/,
  });
  assert.ok(patches(seen).length < 10);
});

for (const size of [1000, 9 * mib]) {
  test(`O2 ${size} bytes that are not what they are said to be are never kept`, async () => {
    const bytes = randomBytes(size);
    const promised = digestOf(randomBytes(10));
    const { client, seen } = await behind("wrong");
    const wanted = { code: "ArtifactCorrupt" };
    await assert.rejects(client.upload(sourceOf(bytes, promised)), wanted);
    await assert.rejects(client.upload({ ...sourceOf(bytes), size: size + 1 }), wanted);
    await assert.rejects(client.upload({ ...sourceOf(bytes), size: size - 1 }), wanted);
    assert.ok(!methods(seen).includes("PUT"));
  });
}

const again = (status: number, retryAfter: string): Answer => ({
  status,
  headers: { "retry-after": retryAfter },
});

test("O1 a registry that is busy is asked again when it says, for reads and writes", async () => {
  const refused = new Set<string>();
  const { client, seen } = await behind("busy", ({ method, path }, pass) => {
    const key = `${method} ${path.split("?")[0] ?? ""}`;
    if (refused.has(key)) return pass();
    refused.add(key);
    return Promise.resolve(again(refused.size % 2 === 0 ? 429 : 503, "0"));
  });
  const { digest } = await client.push(new Map([["a", { content: Buffer.from("x") }]]), "v1", {});
  assert.equal(await client.resolve("v1"), digest);
  assert.equal(seen.length, methods(seen).length);
  assert.ok(refused.size >= 5);
});

test("O1 it is not asked for ever, nor before the time that it names", async () => {
  for (const [retryAfter, tries] of [
    ["0", 4],
    ["3600", 1],
  ] as const) {
    const { client, seen } = await behind("never", () => Promise.resolve(again(429, retryAfter)));
    await assert.rejects(client.resolve("v1"), {
      code: "RegistryUnreachable",
      message: new RegExp(`HTTP 429; it says to come back after "${retryAfter}"`),
    });
    assert.equal(seen.length, tries);
  }
});

test("O1 waiting ends when nobody waits any more", async () => {
  const { client } = await behind("abort", () => Promise.resolve(again(429, "9")));
  const started = performance.now();
  await assert.rejects(client.resolve("v1", AbortSignal.timeout(300)), {
    code: "RegistryUnreachable",
  });
  assert.ok(performance.now() - started < 5000);
});

test("tags and repositories come page by page", async () => {
  const paged: Meddle = ({ path }, pass) => pass({ path: path.replace("n=1000", "n=5") });
  const wanted = Array.from({ length: 12 }, (_, i) => `v1.0.${i}`).sort();
  for (const tag of wanted) await pushFiles(`oci://${lab.registry}/${run}/tags:${tag}`, { a: "x" });
  const { client, seen } = await behind("tags", paged);
  assert.deepEqual([...(await client.tags())].sort(), wanted);
  assert.equal(seen.length, 3);
  for (let i = 0; i < 6; i++)
    await pushFiles(`oci://${lab.registry}/${run}/catalog-${i}`, { a: "x" });
  seen.length = 0;
  const repositories = await client.repositories();
  assert.equal(repositories.filter((name) => name.startsWith(`${run}/catalog-`)).length, 6);
  assert.ok(seen.length > 1);
});

test("a registry without a catalog says so", async () => {
  const { client } = await behind("none", () => Promise.resolve({ status: 404, headers: {} }));
  await assert.rejects(client.repositories(), { code: "ArtifactNotFound" });
});

test("a tag moves, and what it named is still there by its digest", async () => {
  const client = clientOf(lab.registry, "moves");
  const one = await pushFiles(`oci://${lab.registry}/${run}/moves:v1`, { a: "1" });
  const two = await pushFiles(`oci://${lab.registry}/${run}/moves:v2`, { a: "2" });
  assert.equal(await client.tag("v1", "stable"), one);
  assert.equal(await client.resolve("stable"), one);
  assert.equal(await client.tag(two, "stable"), two);
  assert.equal(await client.resolve("stable"), two);
  assert.equal((await client.find(one)).digest, one);
  await assert.rejects(client.tag("nosuch", "x"), { code: "ArtifactNotFound" });
});

/** Pushes a manifest that refers to another one, as signatures and SBOMs do. */
async function pushReferrer(
  client: RegistryClient,
  subject: string,
  artifactType: string,
): Promise<string> {
  const { bytes } = await client.find(subject);
  const blob = Buffer.from(`${artifactType} of ${subject}`);
  const empty = Buffer.from("{}");
  for (const content of [blob, empty]) await client.upload(sourceOf(content));
  const descriptor = (mediaType: string, content: Buffer) => ({
    mediaType,
    digest: digestOf(content),
    size: content.length,
  });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      artifactType,
      config: descriptor("application/vnd.oci.empty.v1+json", empty),
      layers: [descriptor("text/plain", blob)],
      subject: descriptor(mediaTypes.manifest, bytes),
      annotations: { for: "test" },
    }),
  );
  await client.put(manifest, digestOf(manifest));
  return digestOf(manifest);
}

test("referrers are found by their tag where the registry has no API for them, by type too", async () => {
  const subject = await pushFiles(`oci://${lab.registry}/${run}/subject:v1`, { a: "x" });
  const client = clientOf(lab.registry, "subject");
  assert.deepEqual(await client.discover(subject), []);
  const signature = await pushReferrer(client, subject, "application/vnd.test.signature");
  const sbom = await pushReferrer(client, subject, "application/vnd.test.sbom");
  const found = await client.discover(subject);
  assert.deepEqual(
    found.map(({ digest, artifactType, annotations }) => [digest, artifactType, annotations]),
    [
      [signature, "application/vnd.test.signature", { for: "test" }],
      [sbom, "application/vnd.test.sbom", { for: "test" }],
    ],
  );
  assert.ok((await client.tags()).includes(referrersTag(subject)));
  const boms = await client.discover(subject, "application/vnd.test.sbom");
  assert.deepEqual(
    boms.map(({ digest }) => digest),
    [sbom],
  );
});

test("referrers are found by the API where there is one, page by page, and the tag is left alone", async () => {
  const subject = await pushFiles(`oci://${lab.registry}/${run}/api:v1`, { a: "x" });
  const listed = ["a", "b", "c"].map((n) => ({
    mediaType: mediaTypes.manifest,
    digest: `sha256:${n.repeat(64)}`,
    size: 1,
    artifactType: n,
  }));
  const { client, seen } = await behind("api", async ({ method, path }, pass) => {
    const url = new URL(path, "http://x");
    if (url.pathname.includes("/referrers/")) {
      const page = Number(url.searchParams.get("page") ?? "0");
      const manifests = listed.slice(page, page + 1);
      const body = { schemaVersion: 2, mediaType: mediaTypes.index, manifests };
      const link = `<${url.pathname}?page=${page + 1}>; rel="next"`;
      const headers: Record<string, string> = page + 1 < listed.length ? { link } : {};
      return { status: 200, headers, body: Buffer.from(JSON.stringify(body)) };
    }
    const answer = await pass();
    const isManifest = method === "PUT" && path.includes("/manifests/");
    const taken = isManifest ? { "oci-subject": subject } : {};
    return { ...answer, headers: { ...answer.headers, ...taken } };
  });
  assert.deepEqual(await client.discover(subject), listed);
  // A registry that does not filter is no reason to list what was not asked for.
  assert.deepEqual(await client.discover(subject, "b"), listed.slice(1, 2));
  seen.length = 0;
  await pushReferrer(client, subject, "application/vnd.test.sbom");
  assert.ok(!seen.some(({ path }) => path.includes(referrersTag(subject))));
});

/** An index of two artifacts, the second of which is signed. */
async function pushIndex(repository: string): Promise<{ index: string; signature: string }> {
  const client = clientOf(lab.registry, repository);
  const manifests = [];
  for (const name of ["one", "two"]) {
    const digest = await pushFiles(`oci://${lab.registry}/${run}/${repository}:${name}`, {
      a: name,
    });
    const { bytes } = await client.find(digest);
    manifests.push({ mediaType: mediaTypes.manifest, digest, size: bytes.length });
  }
  const bytes = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests }),
  );
  await client.put(bytes, "all");
  const signed = manifests[1]?.digest ?? "";
  return { index: digestOf(bytes), signature: await pushReferrer(client, signed, "signature") };
}

test("copies an index whole to another registry, with what refers to its parts when asked", async () => {
  const { index, signature } = await pushIndex("source");
  const from = clientOf(lab.registry, "source");
  const bare = clientOf(second, "bare");
  const copied = await copyArtifact(from, bare, { what: "all", tag: "v1", referrers: false });
  assert.deepEqual(copied.documents, 3);
  assert.equal(copied.digest, index);
  assert.equal(await bare.resolve("v1"), index);
  const { document } = await bare.find("v1");
  assert.equal(document.kind, "index");
  for (const { digest } of document.kind === "index" ? document.manifests : [])
    assert.equal((await bare.find(digest)).digest, digest);
  await assert.rejects(bare.find(signature), { code: "ArtifactNotFound" });

  const full = clientOf(second, "full");
  const more = await copyArtifact(from, full, { what: "all", tag: undefined, referrers: true });
  assert.equal(more.documents, 4);
  const signed = document.kind === "index" ? (document.manifests[1]?.digest ?? "") : "";
  assert.deepEqual(
    (await full.discover(signed)).map(({ digest }) => digest),
    [signature],
  );
  assert.ok(!(await full.tags()).includes("v1"));
  const anew = await copyArtifact(from, full, { what: "all", tag: "v1", referrers: true });
  assert.equal(anew.blobs.uploaded, 0);
});

test("blobs are mounted, not sent, between repositories of one registry", async () => {
  await pushIndex("near");
  const { client: from } = await behind("near");
  const near = clientOf(from.host, "mounted");
  const { blobs } = await copyArtifact(from, near, { what: "all", tag: "v1", referrers: false });
  assert.ok(blobs.mounted > 0);
  assert.equal(blobs.uploaded, 0);
});

test("a copy that breaks off has no name", async () => {
  await pushFiles(`oci://${lab.registry}/${run}/broken:v1`, { a: "x" });
  const { client: from } = await behind("broken", ({ method, path }, pass) =>
    method === "GET" && path.includes("/blobs/")
      ? Promise.resolve({ status: 404, headers: {} })
      : pass(),
  );
  const to = clientOf(second, "unnamed");
  const request = { what: "v1", tag: "v1", referrers: false };
  await assert.rejects(copyArtifact(from, to, request), { code: "ArtifactNotFound" });
  await assert.rejects(to.resolve("v1"), { code: "ArtifactNotFound" });
});
