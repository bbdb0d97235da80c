import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { parseDockerConfig } from "../../pkg/distribution/index.ts";
import {
  buildManifest,
  copyArtifact,
  digestOf,
  mediaTypes,
  pack,
  parseReference,
} from "../../pkg/oci/index.ts";
import { RegistryClient } from "../../pkg/registry/index.ts";
import { cacheIn } from "../harness/artifacts.ts";
import { sharedLab } from "../harness/index.ts";
import { listen, portOf } from "../harness/servers.ts";

let dir: string;
let registry: string;
const clients: RegistryClient[] = [];
const servers: Server[] = [];
const digest = `sha256:${"a".repeat(64)}`;
const files = new Map([["a.yaml", { content: Buffer.from("x") }]]);
const credentials = ["secret", btoa("user:secret"), "identity-token"];

before(async () => {
  registry = (await sharedLab()).registry;
  dir = await mkdtemp(join(tmpdir(), "capitan-hostile-"));
});
after(async () => {
  await Promise.all(clients.map((client) => client.close()));
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  await rm(dir, { recursive: true, force: true });
});

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

async function serve(handler: Handler): Promise<string> {
  const server = await listen(handler);
  servers.push(server);
  return `127.0.0.1:${portOf(server)}`;
}

function clientOf(host: string, auth: object = { auth: btoa("user:secret") }): RegistryClient {
  const login = parseDockerConfig(JSON.stringify({ auths: { [host]: auth } }), "test");
  const client = new RegistryClient(parseReference(`oci://${host}/a`), { insecure: true, login });
  clients.push(client);
  return client;
}

const pull = (client: RegistryClient, what = digest, signal?: AbortSignal) =>
  client.pull(what, cacheIn(dir), signal);

/** A chain of indexes, each with the next one as its only part, and what each is by its digest. */
function chainOf(length: number): { first: string; documents: ReadonlyMap<string, Buffer> } {
  const documents = new Map<string, Buffer>();
  let next = digest;
  for (let i = 0; i < length; i++) {
    const manifests = [{ mediaType: mediaTypes.index, digest: next, size: 1 }];
    const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests };
    const bytes = Buffer.from(JSON.stringify(index));
    next = digestOf(bytes);
    documents.set(next, bytes);
  }
  return { first: next, documents };
}

test("O6 indexes of indexes end early, in a pull and in a copy", async () => {
  const { first, documents } = chainOf(40);
  let requests = 0;
  const host = await serve(({ url = "" }, response) => {
    requests++;
    response.end(documents.get(url.split("/").at(-1) ?? ""));
  });
  const client = clientOf(host);
  const wanted = { code: "ArtifactTooLarge", message: /nested/ };
  await assert.rejects(pull(client, first), wanted);
  assert.ok(requests <= 6, `${requests} requests`);
  requests = 0;
  const to = clientOf(registry);
  const request = { what: first, tag: "v1", referrers: false };
  await assert.rejects(copyArtifact(client, to, request), wanted);
  assert.ok(requests <= 10, `${requests} requests`);
});

test("O6 an index that names itself is not the index of that digest", async () => {
  const { documents } = chainOf(1);
  const [bytes = Buffer.alloc(0)] = documents.values();
  const host = await serve((_request, response) => response.end(bytes));
  await assert.rejects(pull(clientOf(host), digestOf(bytes)), { code: "ArtifactCorrupt" });
  await assert.rejects(clientOf(host).find(digest), { code: "ArtifactCorrupt" });
});

test("O6 thirty thousand layers, and a manifest that is one deep list", async () => {
  const layers = Array.from({ length: 30_000 }, () => ({ mediaType: "x", digest, size: 1 }));
  const config = layers[0];
  const wide = Buffer.from(JSON.stringify({ schemaVersion: 2, config, layers }));
  const deep = Buffer.from("[".repeat(1_000_000));
  for (const [body, code] of [
    [wide, "ArtifactTooLarge"],
    [deep, "ArtifactCorrupt"],
  ] as const) {
    const host = await serve((_request, response) => response.end(body));
    await assert.rejects(pull(clientOf(host), digestOf(body)), { code });
  }
});

/** Writes for as long as somebody reads. */
function endless(response: ServerResponse): void {
  const chunk = Buffer.alloc(64 * 1024, 32);
  const more = () => {
    while (!response.destroyed && response.write(chunk));
  };
  response.on("drain", more);
  more();
}

const isBlob = ({ url = "" }: IncomingMessage) => url.includes("/blobs/");

test("O7 a body without end is cut off, whatever was asked for", async () => {
  const layer = await pack(files);
  const { manifest } = buildManifest(layer, {});
  const all = await serve((_request, response) => endless(response));
  const blobs = await serve((request, response) => {
    if (isBlob(request)) endless(response);
    else response.end(manifest);
  });
  const refusals = await serve((_request, response) => {
    response.writeHead(404);
    endless(response);
  });
  const wanted = { code: "ArtifactTooLarge" };
  await assert.rejects(pull(clientOf(all)), wanted);
  await assert.rejects(clientOf(all).tags(), wanted);
  await assert.rejects(clientOf(all).repositories(), wanted);
  await assert.rejects(clientOf(all).discover(digest), wanted);
  await assert.rejects(pull(clientOf(blobs), digestOf(manifest)), wanted);
  await assert.rejects(pull(clientOf(refusals)), { code: "ArtifactNotFound" });
});

test("O7 a challenge and a token without end are cut off too", async () => {
  const challenge = await serve((request, response) => {
    const realm = `http://${request.headers.host ?? ""}/token`;
    if (request.url?.startsWith("/token") !== true)
      response.writeHead(401, { "www-authenticate": `Bearer realm="${realm}"` });
    endless(response);
  });
  await assert.rejects(clientOf(challenge).resolve("v1"), { code: "ArtifactTooLarge" });
});

test("O7 a list without end, and one that goes in a circle", async () => {
  let requests = 0;
  const host = await serve((_request, response) => {
    const link = `</v2/a/tags/list?page=${requests++ % 7}>; rel="next"`;
    response.writeHead(200, { link }).end('{"tags":["v1"]}');
  });
  await assert.rejects(clientOf(host).tags(), { code: "ArtifactTooLarge", message: /pages/ });
  assert.equal(requests, 100);
});

test("O7 a byte now and then ends with who waits for it", async () => {
  const host = await serve((_request, response) => {
    const timer = setInterval(() => response.write(" "), 20);
    response.on("close", () => clearInterval(timer));
  });
  const started = performance.now();
  const signal = AbortSignal.timeout(300);
  await assert.rejects(pull(clientOf(host), digest, signal), { code: "RegistryUnreachable" });
  assert.ok(performance.now() - started < 10_000);
});

test("O7 sizes in a manifest are believed by nobody", async () => {
  const layer = await pack(files);
  for (const [size, code] of [
    [-1, "ArtifactCorrupt"],
    [0, "ArtifactTooLarge"],
    [1e15, "ArtifactTooLarge"],
    [layer.length + 1, "ArtifactCorrupt"],
  ] as const) {
    const config = { mediaType: "x", digest: digestOf(layer), size: 1 };
    const layers = [{ mediaType: mediaTypes.fluxContent, digest: digestOf(layer), size }];
    const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, config, layers }));
    const host = await serve((request, response) =>
      response.end(isBlob(request) ? layer : manifest),
    );
    await assert.rejects(pull(clientOf(host), digestOf(manifest)), { code });
  }
});

/** A server that must never be told anything, and what it was told. */
async function evilHost(): Promise<{ evil: string; told: string[] }> {
  const told: string[] = [];
  const host = await serve((request, response) => {
    told.push(`${request.method ?? ""} ${request.headers.authorization ?? "-"}`);
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      told.push(Buffer.concat(chunks).toString("latin1"));
      const realm = `Bearer realm="http://${request.headers.host ?? ""}/token"`;
      response.writeHead(401, { "www-authenticate": [realm, 'Basic realm="x"'] }).end();
    });
  });
  return { evil: `http://${host.replace("127.0.0.1", "localhost")}`, told };
}

/** A registry that wants a password and then does as `handler` says. */
function guarded(handler: Handler): Promise<string> {
  return serve((request, response) => {
    if (request.headers.authorization === undefined)
      response.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end();
    else handler(request, response);
  });
}

/** That an error says nothing that it must not, nor its causes. */
function saysNoCredentials(error: unknown): true {
  for (let cause = error; cause instanceof Error; cause = cause.cause)
    for (const secret of credentials)
      assert.ok(!`${cause.message}${cause.stack ?? ""}`.includes(secret), cause.message);
  return true;
}

const redirect = (location: string) => (_request: IncomingMessage, response: ServerResponse) =>
  void response.writeHead(307, { location }).end();

for (const [what, read] of [
  ["a manifest", (client: RegistryClient) => client.resolve("v1")],
  ["a list", (client: RegistryClient) => client.tags()],
  ["a list of referrers", (client: RegistryClient) => client.discover(digest)],
] as const) {
  test(`O8 where ${what} is redirected to gets no credentials, even when it asks`, async () => {
    // After it has asked for a password itself, and without asking.
    for (const start of [guarded, serve]) {
      const { evil, told } = await evilHost();
      const host = await start(redirect(`${evil}/x`));
      await assert.rejects(read(clientOf(host)), saysNoCredentials);
      assert.deepEqual(told, ["GET -", ""]);
    }
  });
}

for (const [what, status, where] of [
  ["Location of an upload", 202, "/v2/a/blobs/uploads/1"],
  ["redirect of an upload", 307, "/x"],
] as const) {
  test(`O8 the ${what} to another host is refused: no credentials, no content`, async () => {
    const { evil, told } = await evilHost();
    const host = await guarded((request, response) => {
      if (request.method === "HEAD") response.writeHead(404).end();
      else response.writeHead(status, { location: `${evil}${where}` }).end();
    });
    await assert.rejects(
      clientOf(host).push(files, "v1", {}),
      (error: { code?: string }) =>
        error.code === "RegistryUnreachable" && saysNoCredentials(error),
    );
    assert.deepEqual(told, []);
  });
}

test("O8 the Location of a piece to another host is refused", async () => {
  const { evil, told } = await evilHost();
  const host = await guarded((request, response) => {
    request.resume();
    if (request.method === "HEAD") response.writeHead(404).end();
    else if (request.method === "POST") response.writeHead(202, { location: "/u" }).end();
    else response.writeHead(202, { location: `${evil}/u`, range: "0-99" }).end();
  });
  const bytes = Buffer.alloc(9 * 1024 * 1024);
  async function* read() {
    yield bytes;
  }
  const blob = { digest: digestOf(bytes), size: bytes.length, read };
  await assert.rejects(clientOf(host).upload(blob), {
    code: "RegistryUnreachable",
    message: /sends the upload to .*localhost/,
  });
  assert.deepEqual(told, []);
});

test("O8 the next page on another host is asked of the registry", async () => {
  const { evil, told } = await evilHost();
  const paths: string[] = [];
  const host = await guarded((request, response) => {
    paths.push(request.url ?? "");
    const more = { link: `<${evil}/v2/a/tags/list?last=v1>; rel="next"` };
    response.writeHead(200, paths.length === 1 ? more : {}).end('{"tags":["v1"]}');
  });
  assert.deepEqual(await clientOf(host).tags(), ["v1", "v1"]);
  assert.deepEqual(paths, ["/v2/a/tags/list?n=1000", "/v2/a/tags/list?last=v1"]);
  assert.deepEqual(told, []);
});

for (const [what, auth] of [
  ["a password", { auth: btoa("user:secret") }],
  ["an identity token", { identitytoken: "identity-token" }],
] as const) {
  test(`O8 ${what} is not sent to a token server elsewhere, nor said in the error`, async () => {
    const { evil, told } = await evilHost();
    const challenge = { "www-authenticate": `Bearer realm="${evil}/token",service="x"` };
    const host = await serve((_request, response) => void response.writeHead(401, challenge).end());
    await assert.rejects(
      clientOf(host, auth).resolve("v1"),
      (error: Error & { code?: string }) =>
        error.code === "RegistryDenied" &&
        error.message.includes("our credentials are not sent there") &&
        saysNoCredentials(error),
    );
    assert.deepEqual(told, ["GET -", ""]);
  });
}

test("O8 an identity token goes to the registry's token server in a form, and nowhere else", async () => {
  const seen: string[] = [];
  const host = await serve((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      const { authorization = "-", host: own = "" } = request.headers;
      seen.push(`${request.method ?? ""} ${request.url ?? ""} ${authorization} ${body}`);
      const realm = `Bearer realm="http://${own}/token",service="r"`;
      if (request.url === "/token") response.end('{"access_token":"short","expires_in":300}');
      else if (authorization === "Bearer short") response.end('{"tags":[]}');
      else response.writeHead(401, { "www-authenticate": realm }).end();
    });
  });
  await clientOf(host, { identitytoken: "identity-token" }).tags();
  const form =
    "grant_type=refresh_token&service=r&client_id=capitan&scope=repository%3Aa%3Apull&refresh_token=identity-token";
  assert.deepEqual(seen, [
    "GET /v2/a/tags/list?n=1000 - ",
    `POST /token - ${form}`,
    "GET /v2/a/tags/list?n=1000 Bearer short ",
  ]);
});
