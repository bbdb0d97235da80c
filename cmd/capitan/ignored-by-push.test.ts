import assert from "node:assert/strict";
import { test } from "node:test";
import { ignoredByPush } from "./ignored-by-push.ts";

test("leaves out of a push what Flux leaves out", () => {
  const names = [
    ".git/config",
    "a/.git/x",
    ".gitignore",
    "logo.png",
    "x.tar.gz",
    "a/b.zip",
    "deploy.yaml",
    "a/.sops.yaml",
  ];
  assert.deepEqual(
    names.filter((name) => !ignoredByPush(name)),
    ["deploy.yaml", "a/.sops.yaml"],
  );
});
