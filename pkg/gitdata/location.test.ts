import assert from "node:assert/strict";
import { test } from "node:test";
import { formatGitUrl, parseGitUrl } from "./index.ts";

const good: readonly (readonly [string, string, string])[] = [
  ["https://git.example/team/repo.git", "https://git.example/team/repo.git", "/team/repo.git"],
  ["https://GIT.example:8443/r/", "https://git.example:8443/r", "/r"],
  ["ssh://git.example/team/repo", "ssh://git@git.example/team/repo", "/team/repo"],
  ["ssh://me@git.example:2222/~me/a%20b", "ssh://me@git.example:2222/~me/a b", "/~me/a b"],
  [
    "https://dev.azure.com/o/p%20q/_git/r",
    "https://dev.azure.com/o/p%20q/_git/r",
    "/o/p%20q/_git/r",
  ],
  ["http://127.0.0.1:3000/r", "http://127.0.0.1:3000/r", "/r"],
  ["ssh://[::1]:22/r", "ssh://git@[::1]/r", "/r"],
];
for (const [url, shown, path] of good) {
  test(`reads ${url}`, () => {
    const location = parseGitUrl(url, undefined);
    assert.equal(formatGitUrl(location), shown);
    assert.equal(location.path, path);
  });
}

const bad: readonly (readonly [string, RegExp])[] = [
  ["ext::sh -c id", /it is not https/],
  ["file:///etc", /it is not https/],
  ["/etc/passwd", /it is not https/],
  ["--upload-pack=id", /it is not https/],
  ["-c core.sshCommand=id", /it is not https/],
  ["git://git.example/r", /it is not https/],
  ["https://-oProxyCommand=id/r", /it is not https/],
  ["ssh://-oProxyCommand=id/r", /it is not https/],
  ["ssh://-oProxyCommand=id@h/r", /name of a user/],
  ["ssh://u:secret@h/r", /name of a user/],
  ["https://h;id/r", /it is not https/],
  ["https://h/r?x=--upload-pack=id", /it is not https/],
  ["https://h/r#x", /it is not https/],
  ["https://h/../r", /not a plain one/],
  ["https://h/a/%2e%2e/r", /not a plain one/],
  ["ssh://h/a%2f..%2fr", /not a plain one/],
  ["ssh://h/a%0ab", /not a plain one/],
  ["ssh://h/a%5cb", /not a plain one/],
  ["https://h/%zz", /not a plain one/],
  ["https://h", /it is not https/],
  ["https://h:70000/r", /the port/],
  ["http://git.example/r", /needs insecure: true/],
  ["https://h/r\nr", /it is not https/],
  [`https://h/${"a".repeat(2000)}`, /it is not https/],
  ["git@git.example:team/repo.git", /write it as ssh:\/\/git@git\.example\/team\/repo\.git/],
];
for (const [url, message] of bad) {
  test(`G6 refuses ${JSON.stringify(url.slice(0, 60))}`, () => {
    assert.throws(() => parseGitUrl(url, undefined), { code: "RefInvalid", message });
  });
}

test("G6 a login in a URL is refused and not repeated", () => {
  for (const url of [
    "https://user:s3cr3t@h/r",
    "https://s3cr3t@h/r",
    "ssh://u:s3cr3t@h/r",
    "xx://s3cr3t@h",
  ])
    assert.throws(
      () => parseGitUrl(url, undefined),
      (error: Error) => !error.message.includes("s3cr3t"),
    );
});

test("plain http is spoken when it is asked for, and on loopback unless it is not", () => {
  assert.equal(parseGitUrl("http://git.example/r", true).port, 80);
  assert.throws(() => parseGitUrl("http://127.0.0.1/r", false), { code: "RefInvalid" });
});
