import assert from "node:assert/strict";
import { test } from "node:test";
import { codes, CapitanError, type Code } from "./index.ts";

for (const [code, { meaning, remedy }] of Object.entries(codes)) {
  test(`${code} is a condition reason that says what it means and what to do`, () => {
    assert.match(code, /^[A-Z][A-Za-z0-9]+$/);
    assert.match(meaning, /^\w.*\.$/s);
    assert.match(remedy, /^[A-Z].*\.$/s);
  });
}

test("an outer noun keeps code and cause", () => {
  const inner = new CapitanError("ManifestInvalid" satisfies Code, "a.yaml:3: x");
  const outer = inner.within("layer flux");
  assert.deepEqual(
    [outer.code, outer.message, outer.cause],
    ["ManifestInvalid", "layer flux: a.yaml:3: x", inner],
  );
});
