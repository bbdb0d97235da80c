import assert from "node:assert/strict";
import type { Server } from "node:http";
import { after, before, test } from "node:test";
import * as isomorphic from "isomorphic-git";
import { startGitHttp, type GitHttpOptions, type GitServer } from "../../hack/lab/git-http.ts";
import { startGitSsh, type GitSshServer } from "../../hack/lab/git-ssh.ts";
import { newAuthority } from "../../hack/lab/pki.ts";
import { HttpTransport, SshTransport } from "../../pkg/git/index.ts";
import { parseGitSecret, parseGitUrl } from "../../pkg/gitdata/index.ts";
import { GitLab, newKeyPair, openGit, temporary } from "../harness/git.ts";
import { listen, portOf, type Handler } from "../harness/servers.ts";

const repository = "config.git";
const secret = "Secret fleet/git";
const basic = `Basic ${btoa("robot:s3cr3t-password")}`;
const hostKeys = newKeyPair("ed25519");
const rsaHostKeys = newKeyPair("rsa");
const otherKeys = newKeyPair("ed25519");
const deployKeys = {
  ed25519: newKeyPair("ed25519"),
  ecdsa: newKeyPair("ecdsa"),
  rsa: newKeyPair("rsa"),
  locked: newKeyPair("ed25519", "s3cr3t-passphrase"),
};

let lab: GitLab;
let commit: string;
const closing: (() => Promise<unknown>)[] = [];
const servers: Server[] = [];

before(async () => {
  lab = await GitLab.make();
  await lab.init(repository);
  commit = await lab.commitFiles(repository, { "config/a.yaml": "a: 1\n" });
});
after(async () => {
  for (const close of closing) await close();
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  await lab.remove();
});

async function http(options: Omit<GitHttpOptions, "root"> = {}): Promise<GitServer> {
  const server = await startGitHttp({ root: lab.root, ...options });
  closing.push(server.close);
  return server;
}

async function ssh(deployKey: string, keys = [hostKeys.private]): Promise<GitSshServer> {
  const server = await startGitSsh({ root: lab.root, hostKeys: keys, deployKey });
  closing.push(server.close);
  return server;
}

async function hostile(handler: Handler): Promise<string> {
  const server = await listen(handler);
  servers.push(server);
  return `http://127.0.0.1:${portOf(server)}`;
}

const base64 = (values: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(values).map(([key, value]) => [key, btoa(value)]));

/** What `main` is, as somebody with this Secret sees it. */
async function resolve(url: string, values?: Readonly<Record<string, string>>): Promise<string> {
  const location = parseGitUrl(url, undefined);
  const credentials = values === undefined ? {} : parseGitSecret(base64(values), location, secret);
  const git = openGit(url, "/nonexistent", { credentials, secret });
  return (await git.resolve({})).commit;
}

/** Fails with this code and these words, and repeats no secret. */
async function refuses(work: Promise<unknown>, code: string, message: RegExp): Promise<void> {
  await assert.rejects(work, (error: Error & { code?: string }) => {
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    assert.doesNotMatch(error.message, /s3cr3t|PRIVATE|Basic|Bearer/);
    return true;
  });
}

test("username and password, or a bearer token, let us in; others do not", async () => {
  const byPassword = `${(await http({ authorization: basic })).url}/${repository}`;
  const byToken = `${(await http({ authorization: "Bearer s3cr3t-token" })).url}/${repository}`;
  assert.equal(
    await resolve(byPassword, { username: "robot", password: "s3cr3t-password" }),
    commit,
  );
  assert.equal(await resolve(byToken, { bearerToken: "s3cr3t-token" }), commit);
  const wrong = { username: "robot", password: "s3cr3t-wrong" };
  await refuses(
    resolve(byPassword, wrong),
    "GitDenied",
    /HTTP 401; the configured .* not accepted/,
  );
  await refuses(resolve(byPassword), "GitDenied", /HTTP 401; no credentials are configured/);
  await refuses(resolve(byPassword, { bearerToken: "s3cr3t-token" }), "GitDenied", /HTTP 401/);
});

test("a server with a CA of its own is known by ca.crt, and by nothing else", async () => {
  const ca = await newAuthority("git-ca");
  const tls = await ca.issue({ subject: "CN=git", use: "server", hosts: ["127.0.0.1"] });
  const url = `${(await http({ tls })).url}/${repository}`;
  assert.equal(await resolve(url, { "ca.crt": ca.cert }), commit);
  assert.equal(await resolve(url, { caFile: ca.cert }), commit);
  await refuses(resolve(url), "GitUnreachable", /certificate/);
  const other = await newAuthority("other");
  await refuses(resolve(url, { "ca.crt": other.cert }), "GitUnreachable", /certificate|signature/);
});

for (const kind of ["ed25519", "ecdsa", "rsa", "locked"] as const) {
  test(`a deploy key lets us in: ${kind}`, async () => {
    const key = deployKeys[kind];
    const server = await ssh(key.public);
    const url = `ssh://git@${server.host}/${repository}`;
    const values = {
      identity: key.private,
      "identity.pub": key.public,
      known_hosts: `${knownName(server)} ${hostKeys.public}`,
      ...(kind === "locked" ? { password: "s3cr3t-passphrase" } : {}),
    };
    assert.equal(await resolve(url, values), commit);
    assert.deepEqual(server.commands, [`git-upload-pack '/${repository}'`]);
    if (kind !== "locked") return;
    for (const password of ["s3cr3t-wrong", undefined]) {
      const { password: _password, ...rest } = values;
      const wrong = password === undefined ? rest : { ...rest, password };
      await refuses(
        resolve(url, wrong),
        "SecretInvalid",
        /^Secret fleet\/git: identity is not a private key/,
      );
    }
  });
}

const knownName = ({ host }: GitSshServer) => `[127.0.0.1]:${host.split(":")[1] ?? ""}`;

test("a deploy key that the server does not know is refused by it", async () => {
  const server = await ssh(deployKeys.rsa.public);
  const values = {
    identity: deployKeys.ed25519.private,
    known_hosts: `${knownName(server)} ${hostKeys.public}`,
  };
  const work = resolve(`ssh://git@${server.host}/${repository}`, values);
  await refuses(work, "GitDenied", /the deploy key was not accepted/);
  assert.deepEqual(server.commands, []);
});

test("G4 a host key that is unknown, another one or revoked is never spoken to (CVE-2025-23390)", async () => {
  const server = await ssh(deployKeys.ed25519.public);
  const url = `ssh://git@${server.host}/${repository}`;
  const known = knownName(server);
  const print = /the host key SHA256:[A-Za-z0-9+/]{43} is/;
  const cases: readonly (readonly [string, RegExp])[] = [
    ["", /known_hosts has no key of this host/],
    [`127.0.0.1 ${hostKeys.public}`, /known_hosts has no key of this host/],
    [`@cert-authority ${known} ${hostKeys.public}`, /known_hosts has no key of this host/],
    [`${known} ${otherKeys.public}`, new RegExp(`${print.source} not the one in known_hosts`)],
    [`${known} ${rsaHostKeys.public}`, /no host key of a kind that is in known_hosts/],
    [
      `${known} ${hostKeys.public}\n@revoked * ${hostKeys.public}`,
      new RegExp(`${print.source} revoked in known_hosts`),
    ],
  ];
  for (const [known_hosts, message] of cases) {
    const values = { identity: deployKeys.ed25519.private, known_hosts };
    await refuses(resolve(url, values), "HostKeyRefused", message);
  }
  await refuses(resolve(url), "GitDenied", /ssh needs a Secret with identity and known_hosts/);
  assert.deepEqual(server.commands, []);
});

test("G4 of a server with several host keys the one that is known is asked for", async () => {
  const server = await ssh(deployKeys.ed25519.public, [hostKeys.private, rsaHostKeys.private]);
  const values = {
    identity: deployKeys.ed25519.private,
    known_hosts: `${knownName(server)} ${rsaHostKeys.public}`,
  };
  assert.equal(await resolve(`ssh://git@${server.host}/${repository}`, values), commit);
});

const login = { username: "robot", password: "s3cr3t-password" };
const greeting = `/${repository}/info/refs?service=git-upload-pack`;
const redirectTo =
  (location: () => string): Handler =>
  (_request, response) => {
    response.writeHead(302, { location: location() }).end();
  };

test("G4 credentials do not go along to another host (CVE-2026-41506)", async () => {
  const other = await http();
  const url = await hostile(redirectTo(() => `${other.url}${greeting}`));
  assert.equal(await resolve(`${url}/r`, login), commit);
  assert.equal(other.asked.length, 2);
  assert.deepEqual(
    other.asked.map(({ authorization }) => authorization),
    [undefined, undefined],
  );
  const closed = await http({ authorization: basic });
  const away = await hostile(redirectTo(() => `${closed.url}${greeting}`));
  await refuses(
    resolve(`${away}/r`, login),
    "GitDenied",
    /our credentials are not sent to another host/,
  );
  assert.deepEqual(
    closed.asked.map(({ authorization }) => authorization),
    [undefined],
  );
});

test("G4 redirects stay within the repository's service, and end", async () => {
  const own: string = await hostile(redirectTo(() => `${own}${greeting}`));
  await refuses(resolve(`${own}/r`, login), "GitUnreachable", /redirects more than 5 times/);
  for (const location of [
    "file:///etc/passwd",
    "http://h/x",
    "/elsewhere",
    "http://",
    `//u:s3cr3t@h${greeting}`,
  ]) {
    const url = await hostile(redirectTo(() => location));
    await refuses(resolve(`${url}/r`, login), "GitUnreachable", /redirects to/);
  }
});

test("G4 TLS is never left", async () => {
  const plain = await http();
  const ca = await newAuthority("git-ca");
  const tls = await ca.issue({ subject: "CN=git", use: "server", hosts: ["127.0.0.1"] });
  const { createServer } = await import("node:https");
  const server = createServer(
    tls,
    redirectTo(() => `${plain.url}${greeting}`),
  );
  server.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  servers.push(server);
  const url = `https://127.0.0.1:${portOf(server)}/r`;
  const work = resolve(url, { ...login, "ca.crt": ca.cert });
  await refuses(work, "GitUnreachable", /redirects to http:\/\/127\.0\.0\.1:\d+, which is refused/);
  assert.deepEqual(plain.asked, []);
});

test("L2 what a server says is not repeated beyond a cleaned line, and never a credential", async () => {
  const text = `ERR \u001b[2J${"x".repeat(5000)}\n`;
  const packet = `${(text.length + 4).toString(16).padStart(4, "0")}${text}`;
  const url = await hostile((_request, response) => {
    response.setHeader("content-type", "application/x-git-upload-pack-advertisement");
    response.end(packet);
  });
  await assert.rejects(resolve(`${url}/r`, login), (error: Error) => {
    assert.doesNotMatch(error.message, /\p{Cc}|s3cr3t/u);
    assert.ok(error.message.length < 300);
    return true;
  });
});

test("both ways in carry isomorphic-git too, which reads the same commit", async (t) => {
  const server = await ssh(deployKeys.ed25519.public);
  const plain = await http();
  const sshUrl = parseGitUrl(`ssh://git@${server.host}/${repository}`, undefined);
  const httpUrl = `${plain.url}/${repository}`;
  const credentials = {
    identity: deployKeys.ed25519.private,
    passphrase: undefined,
    knownHosts: `${knownName(server)} ${hostKeys.public}`,
  };
  const access = { credentials: {}, insecure: undefined };
  const ways = [
    new HttpTransport(parseGitUrl(httpUrl, undefined), access),
    new SshTransport(sshUrl, credentials, secret),
  ];
  for (const way of ways) {
    const fs = await import("node:fs");
    const dir = await temporary(t);
    const request = (asked: isomorphic.GitHttpRequest) =>
      way.request({
        url: asked.url,
        method: asked.method,
        headers: asked.headers,
        body: asked.body,
      });
    await isomorphic.clone({
      fs,
      dir,
      url: httpUrl,
      depth: 1,
      singleBranch: true,
      http: { request },
    });
    assert.equal(await isomorphic.resolveRef({ fs, dir, ref: "HEAD" }), commit);
    await way.close();
  }
});
