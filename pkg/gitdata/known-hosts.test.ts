import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { hostKeysOf, judgeHostKey } from "./index.ts";

const field = (bytes: Buffer | string) => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, Buffer.from(bytes)]);
};
const keyOf = (type: string, fill: number) =>
  Buffer.concat([field(type), field(Buffer.alloc(32, fill))]);
const ed1 = keyOf("ssh-ed25519", 1);
const ed2 = keyOf("ssh-ed25519", 2);
const rsa = keyOf("ssh-rsa", 3);
const line = (hosts: string, key: Buffer, type = "ssh-ed25519") =>
  `${hosts} ${type} ${key.toString("base64")} comment`;
const hashed = (name: string) => {
  const salt = Buffer.alloc(20, 7);
  const hash = createHmac("sha1", salt).update(name).digest("base64");
  return `|1|${salt.toString("base64")}|${hash}`;
};
const judge = (text: string, host = "git.example", port = 22, key = ed1) =>
  judgeHostKey(hostKeysOf(text, { host, port }, "s"), key);

const cases: readonly (readonly [name: string, text: string, port: number, verdict: string])[] = [
  ["a plain name", line("git.example", ed1), 22, "trusted"],
  ["one of several names", line("other,git.example,10.0.0.1", ed1), 22, "trusted"],
  ["upper case", line("Git.Example", ed1), 22, "trusted"],
  ["a hashed name", line(hashed("git.example"), ed1), 22, "trusted"],
  ["a hashed name with port", line(hashed("[git.example]:2222"), ed1), 2222, "trusted"],
  ["another hashed name", line(hashed("evil.example"), ed1), 22, "unknown"],
  ["[host]:port", line("[git.example]:2222", ed1), 2222, "trusted"],
  ["the name without the port", line("git.example", ed1), 2222, "unknown"],
  ["the port without being asked", line("[git.example]:2222", ed1), 22, "unknown"],
  ["a pattern", line("*.example", ed1), 22, "trusted"],
  ["a pattern with ?", line("git.exampl?", ed1), 22, "trusted"],
  ["a pattern that excludes", line("*.example,!git.example", ed1), 22, "unknown"],
  ["another key", line("git.example", ed2), 22, "changed"],
  [
    "several keys",
    `${line("git.example", ed2)}\n# c\n\n${line("git.example", ed1)}\r\n`,
    22,
    "trusted",
  ],
  ["a revoked key", `${line("git.example", ed1)}\n@revoked ${line("*", ed1)}`, 22, "revoked"],
  ["a certificate authority", `@cert-authority ${line("git.example", ed1)}`, 22, "unknown"],
  ["nothing", "", 22, "unknown"],
];
for (const [name, text, port, verdict] of cases) {
  test(`G4 known_hosts with ${name}: ${verdict}`, () => {
    assert.equal(judge(text, "git.example", port), verdict);
  });
}

test("the server is asked for the kinds of key that are known, RSA never with SHA-1", () => {
  const text = `${line("h", rsa, "ssh-rsa")}\n${line("h", ed1)}\n${line("other", ed2)}`;
  const { algorithms } = hostKeysOf(text, { host: "h", port: 22 }, "s");
  assert.deepEqual(algorithms, ["rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519"]);
});

test("a line that cannot be read is an error, not passed over", () => {
  for (const text of [
    "git.example",
    "git.example ssh-ed25519",
    "git.example ssh-rsa AAAA",
    line("h", rsa),
  ])
    assert.throws(() => judge(text), { code: "SecretInvalid", message: /^s: known_hosts line 1 / });
  assert.throws(() => judge("# x\n".repeat(3000)), { code: "SecretInvalid" });
});

test("G5 a hostile pattern takes no time", () => {
  const started = performance.now();
  const pattern = `${"*a".repeat(20_000)}b`;
  assert.equal(judge(line(pattern, ed1), "a".repeat(250)), "unknown");
  assert.ok(performance.now() - started < 2_000);
});
