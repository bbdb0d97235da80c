import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { decryptSops } from "sops-age";
import { parse } from "yaml";
import { generateIdentity } from "../../pkg/sops/index.ts";
import { encrypted } from "../harness/secrets.ts";

test("another reader of SOPS opens what we write: sops-age", async () => {
  const { identity, recipient } = generateIdentity(randomBytes);
  const text =
    "a:\n    b: text\n    n: 12\n    t: true\nlist:\n    - one\n    - two: x\nunicode: grüezi\n";
  const file = await encrypted(text, "x.yaml", [recipient]);
  const opened: unknown = await decryptSops(file, { secretKey: identity, fileType: "yaml" });
  assert.deepEqual(opened, parse(text));
});
