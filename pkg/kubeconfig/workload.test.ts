import assert from "node:assert/strict";
import { createHook } from "node:async_hooks";
import { test } from "node:test";
import fc from "fast-check";
import { KubeConfig } from "@kubernetes/client-node";
import { isCapitanError } from "../errors/index.ts";
import { parseWorkloadKubeconfig } from "./index.ts";

const pem = (kind: string) =>
  Buffer.from(`-----BEGIN ${kind}-----\nAAAA\n-----END ${kind}-----\n`).toString("base64");
const goodCluster = {
  server: "https://10.0.0.1:6443",
  "certificate-authority-data": pem("CERTIFICATE"),
};
const goodUser = { token: "abc" };

function kubeconfig(cluster: object = goodCluster, user: object = goodUser): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "c", cluster }],
    users: [{ name: "u", user }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  });
}

const parse = (text: string) => parseWorkloadKubeconfig(text, "Secret fleet/a-kubeconfig");

test("reads server, CA, server name and each kind of credential", async () => {
  const config = parse(kubeconfig({ ...goodCluster, "tls-server-name": "api.example" }));
  assert.equal(config.server, "https://10.0.0.1:6443");
  assert.match(config.ca ?? "", /BEGIN CERTIFICATE/);
  assert.equal(config.serverName, "api.example");
  assert.equal(await config.credentials.authorization?.(), "Bearer abc");
  const basic = parse(kubeconfig(goodCluster, { username: "a", password: "b" }));
  assert.equal(await basic.credentials.authorization?.(), `Basic ${btoa("a:b")}`);
  const cert = parse(
    kubeconfig(goodCluster, {
      "client-certificate-data": pem("CERTIFICATE"),
      "client-key-data": pem("PRIVATE KEY"),
    }),
  );
  assert.match(cert.credentials.certificate?.key ?? "", /PRIVATE KEY/);
});

test("agrees with the official client on what an accepted kubeconfig means", () => {
  const oracle = new KubeConfig();
  oracle.loadFromString(kubeconfig());
  const config = parse(kubeconfig());
  assert.equal(config.server, oracle.getCurrentCluster()?.server);
  assert.equal(Buffer.from(config.ca ?? "").toString("base64"), oracle.getCurrentCluster()?.caData);
});

/** Every field by which a foreign kubeconfig has run code, read files or left the path; ids of docs/reliability. */
const refused: readonly (readonly [
  id: string,
  what: string,
  cluster: object,
  user: object,
  message: RegExp,
])[] = [
  [
    "K1",
    "exec",
    goodCluster,
    {
      exec: {
        apiVersion: "client.authentication.k8s.io/v1",
        command: "/bin/touch",
        args: ["/tmp/pwned"],
      },
    },
    /run a program/,
  ],
  [
    "K1",
    "exec beside a good token",
    goodCluster,
    { ...goodUser, exec: { command: "x" } },
    /run a program/,
  ],
  [
    "K1",
    "auth-provider gcp with cmd-path",
    goodCluster,
    { "auth-provider": { name: "gcp", config: { "cmd-path": "/bin/sh", "cmd-args": "-c x" } } },
    /authentication plugin/,
  ],
  [
    "K1",
    "auth-provider with exec in its config",
    goodCluster,
    { "auth-provider": { name: "azure", config: { exec: { command: "x" } } } },
    /authentication plugin/,
  ],
  [
    "K2",
    "a CA file",
    { server: "https://a", "certificate-authority": "/etc/passwd" },
    goodUser,
    /read a file/,
  ],
  [
    "K2",
    "a certificate file",
    goodCluster,
    { "client-certificate": "/etc/passwd", "client-key-data": pem("PRIVATE KEY") },
    /read a file/,
  ],
  ["K2", "a key file", goodCluster, { "client-key": "/etc/passwd" }, /read a file/],
  [
    "K2",
    "a token file",
    goodCluster,
    { tokenFile: "/var/run/secrets/kubernetes.io/serviceaccount/token" },
    /read a file/,
  ],
  [
    "K3",
    "skipping TLS verification",
    { ...goodCluster, "insecure-skip-tls-verify": true },
    goodUser,
    /skip TLS/,
  ],
  ["K3", "plain http", { server: "http://10.0.0.1:8080" }, goodUser, /without TLS/],
  [
    "K4",
    "a SOCKS proxy",
    { ...goodCluster, "proxy-url": "socks5://169.254.169.254:1080" },
    goodUser,
    /proxy/,
  ],
  [
    "K4",
    "a proxy with a command in it",
    { ...goodCluster, "proxy-url": "http://x;touch /tmp/pwned" },
    goodUser,
    /proxy/,
  ],
  ["K5", "as", goodCluster, { ...goodUser, as: "system:admin" }, /impersonate/],
  ["K5", "as-groups", goodCluster, { ...goodUser, "as-groups": ["system:masters"] }, /impersonate/],
  [
    "K5",
    "as-user-extra",
    goodCluster,
    { ...goodUser, "as-user-extra": { a: ["b"] } },
    /impersonate/,
  ],
  [
    "K5",
    "a field that nobody knows yet",
    goodCluster,
    { ...goodUser, "run-this": "x" },
    /allow-list/,
  ],
];

for (const [id, what, cluster, user, message] of refused) {
  test(`${id} refuses ${what}, starting no process and opening no file`, () => {
    const opened: string[] = [];
    const hook = createHook({ init: (_, type) => opened.push(type) }).enable();
    try {
      assert.throws(() => parse(kubeconfig(cluster, user)), { code: "KubeconfigRefused", message });
    } finally {
      hook.disable();
    }
    assert.deepEqual(
      opened.filter((type) => /PROCESSWRAP|FSREQ|FILEHANDLE|TCPWRAP|GETADDRINFO/.test(type)),
      [],
    );
  });
}

test("K3 a false insecure-skip-tls-verify is what everybody writes, and accepted", () => {
  assert.equal(
    parse(kubeconfig({ ...goodCluster, "insecure-skip-tls-verify": false })).server,
    goodCluster.server,
  );
});

const invalid: readonly (readonly [what: string, text: string])[] = [
  ["nothing", ""],
  ["no YAML", "\t{"],
  [
    "a context that does not exist",
    kubeconfig().replace('"current-context":"x"', '"current-context":"y"'),
  ],
  [
    "two contexts of one name",
    kubeconfig().replace(
      '"contexts":[',
      '"contexts":[{"name":"x","context":{"cluster":"c","user":"u"}},',
    ),
  ],
  ["no credentials", kubeconfig(goodCluster, {})],
  [
    "a certificate without a key",
    kubeconfig(goodCluster, { "client-certificate-data": pem("CERTIFICATE") }),
  ],
  [
    "a CA that is not PEM",
    kubeconfig({ server: "https://a", "certificate-authority-data": "!!!!" }),
  ],
  ["a token with a line break", kubeconfig(goodCluster, { token: "a\r\nx-evil: 1" })],
  ["a server with credentials in it", kubeconfig({ server: "https://u:p@a" })],
  ["a server name with spaces", kubeconfig({ ...goodCluster, "tls-server-name": "a b" })],
  ["more than 64 KiB", " ".repeat(70_000)],
];

for (const [what, text] of invalid) {
  test(`K6 ${what} is a typed error that repeats no value`, () => {
    assert.throws(
      () => parse(text),
      (error: unknown) => {
        assert.ok(isCapitanError(error));
        assert.equal(error.code, "KubeconfigInvalid");
        assert.doesNotMatch(error.message, /abc|x-evil|u:p/);
        return true;
      },
    );
  });
}

test("K6 ten thousand mutated kubeconfigs: a config or a typed error, nothing else", () => {
  const good = kubeconfig();
  const mutation = fc.array(
    fc.tuple(
      fc.nat(good.length - 1),
      fc.constantFrom("", "{", "}", '"', ":", "&a ", "*a ", "\n", "- ", "exec", "null", "\u0000"),
    ),
    { minLength: 1, maxLength: 4 },
  );
  fc.assert(
    fc.property(mutation, (edits) => {
      let text = good;
      for (const [at, insert] of edits)
        text = text.slice(0, at) + insert + text.slice(at + (insert === "" ? 1 : 0));
      try {
        assert.match(parse(text).server, /^https:\/\//);
      } catch (error) {
        assert.ok(isCapitanError(error), String(error));
      }
    }),
    { numRuns: 10_000 },
  );
});
