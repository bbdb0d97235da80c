import assert from "node:assert/strict";
import { test } from "node:test";
import { parseGitSecret } from "./index.ts";

const base64 = (values: Readonly<Record<string, string>>) =>
  Object.fromEntries(
    Object.entries(values).map(([key, value]) => [key, Buffer.from(value).toString("base64")]),
  );
const parse = (scheme: "https" | "ssh", values: Readonly<Record<string, string>>) =>
  parseGitSecret(base64(values), { scheme }, "Secret a/b");
const field = (bytes: Buffer | string) => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, Buffer.from(bytes)]);
};
const opensshKey = (rounds: number) => {
  const number = Buffer.alloc(4);
  number.writeUInt32BE(rounds);
  const options = field(Buffer.concat([field("salt"), number]));
  const bytes = [Buffer.from("openssh-key-v1\0"), field("aes256-ctr"), field("bcrypt"), options];
  const body = Buffer.concat(bytes).toString("base64");
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${body}\n-----END OPENSSH PRIVATE KEY-----\n`;
};
const pem = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n";

test("reads Flux's Secrets", () => {
  const basic = { username: "u", password: "p:q" };
  const authorization = `Basic ${Buffer.from("u:p:q").toString("base64")}`;
  assert.deepEqual(parse("https", basic), { ca: undefined, authorization });
  assert.deepEqual(parse("https", { ...basic, caFile: pem }), { ca: pem, authorization });
  assert.deepEqual(parse("https", { bearerToken: "t", "ca.crt": pem }), {
    ca: pem,
    authorization: "Bearer t",
  });
  assert.deepEqual(parse("https", { "ca.crt": pem }), { ca: pem, authorization: undefined });
  const ssh = { identity: opensshKey(16), "identity.pub": "x", known_hosts: "k", password: "p" };
  assert.deepEqual(parse("ssh", ssh).ssh, {
    identity: ssh.identity,
    passphrase: "p",
    knownHosts: "k",
  });
});

const wrong: readonly (readonly ["https" | "ssh", Readonly<Record<string, string>>, RegExp])[] = [
  ["https", {}, /needs username and password, bearerToken, or ca\.crt/],
  ["https", { identity: opensshKey(16), known_hosts: "s3cr3t" }, /needs username/],
  ["https", { username: "s3cr3t" }, /belong together/],
  ["https", { password: "s3cr3t" }, /belong together/],
  ["https", { username: "u", password: "s3cr3t", bearerToken: "s3cr3t" }, /both/],
  ["https", { bearerToken: "s3cr3t\n" }, /line break/],
  ["https", { bearerToken: "s3cr3t\r\nx-evil: 1" }, /line break/],
  ["https", { username: "u", password: "s3cr3t\n" }, /line break/],
  ["https", { username: "u:s3cr3t", password: "p" }, /colon/],
  ["https", { "ca.crt": "s3cr3t" }, /not a certificate/],
  ["ssh", { username: "u", password: "s3cr3t" }, /needs identity and known_hosts/],
  ["ssh", { identity: opensshKey(16) }, /needs identity and known_hosts/],
  ["ssh", { identity: "s3cr3t", known_hosts: "k" }, /not a private key/],
  ["ssh", { identity: opensshKey(2 ** 31), known_hosts: "k", password: "s3cr3t" }, /rounds/],
];
for (const [scheme, values, message] of wrong) {
  test(`L2 a Secret for ${scheme} with ${Object.keys(values).join(", ") || "nothing"} is refused: ${message.source}`, () => {
    assert.throws(
      () => parse(scheme, values),
      (error: Error & { code: string }) =>
        error.code === "SecretInvalid" &&
        message.test(error.message) &&
        error.message.startsWith("Secret a/b: ") &&
        !error.message.includes("s3cr3t"),
    );
  });
}
