import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { canonicalJson, encodeJson, parseJson } from "./index.ts";

test("equal values have equal canonical text, whatever the order of their keys", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (map) => {
      const reversed = Object.fromEntries(Object.entries(map).reverse());
      assert.equal(canonicalJson(map), canonicalJson(reversed));
    }),
  );
});

test("what is written, read and written again is the same text", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = encodeJson(value);
      assert.equal(encodeJson(parseJson(text)), text);
    }),
  );
});

test("64-bit integers keep every digit", () => {
  assert.equal(
    encodeJson(parseJson('{"n":9223372036854775807,"s":7}')),
    '{"n":9223372036854775807,"s":7}',
  );
});

test("integers around the safe range keep every digit too", () => {
  const largest = BigInt(Number.MAX_SAFE_INTEGER);
  for (const n of [largest - 1n, largest, largest + 1n, largest + 2n, 10n ** 15n, 10n ** 16n])
    for (const text of [`[${n}]`, `[-${n}]`]) assert.equal(encodeJson(parseJson(text)), text);
});

test("characters that YAML changes or refuses are escaped; astral ones stay raw", () => {
  assert.equal(
    encodeJson("\u0085\u007f\u2028\ufeff\ufffe\u{1f600}"),
    '"\\u0085\\u007f\\u2028\\ufeff\\ufffe\u{1f600}"',
  );
});
