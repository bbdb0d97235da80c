import assert from "node:assert/strict";
import { test } from "node:test";
import { parseGitUrl } from "../../pkg/gitdata/index.ts";
import { isSame } from "./git-clone.ts";
import { isLocked } from "./git-login.ts";

const location = parseGitUrl("https://git.example/team/fleet.git", undefined);
const cases: readonly (readonly [string, boolean])[] = [
  ["https://git.example/team/fleet.git", true],
  ["https://git.example/team/fleet", true],
  ["https://ada:token@git.example/team/fleet.git", true],
  ["git@git.example:team/fleet.git", true],
  ["ssh://git@git.example:2222/team/fleet.git", true],
  ["https://git.example:8443/team/fleet.git", false],
  ["https://git.example/team/other.git", false],
  ["https://other.example/team/fleet.git", false],
  ["/srv/git/team/fleet.git", false],
  ["../fleet.git", false],
  ["ext::sh -c true", false],
];
for (const [url, same] of cases) {
  test(`a remote ${url} is ${same ? "" : "not "}the repository`, () => {
    assert.equal(isSame(url, location), same);
  });
}

test("a key with a passphrase is known from outside", () => {
  const body = (cipher: string) =>
    Buffer.concat([
      Buffer.from("openssh-key-v1\0"),
      Buffer.from([0, 0, 0, cipher.length]),
      Buffer.from(cipher),
    ]).toString("base64");
  const key = (cipher: string) =>
    `-----BEGIN OPENSSH PRIVATE KEY-----\n${body(cipher)}\n-----END OPENSSH PRIVATE KEY-----\n`;
  assert.equal(isLocked(key("none")), false);
  assert.equal(isLocked(key("aes256-ctr")), true);
  assert.equal(isLocked("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), true);
  assert.equal(isLocked("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"), true);
  assert.equal(isLocked("-----BEGIN RSA PRIVATE KEY-----\nMII\n"), false);
});
