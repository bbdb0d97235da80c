import assert from "node:assert/strict";
import { test } from "node:test";
import { RE2JS } from "re2js";
import { regexTest } from "./rules.ts";

const patterns = [
  "^(data|stringData)$",
  "^(a)$",
  "^(a|)$",
  "^()$",
  "^a$",
  "^a|b$",
  "^clusters/one/",
  "^clusters/one-2",
  "^clusters/.*/a",
  "^clusters\\/one/",
  "^a.b$",
  "a",
  "^",
  "$",
];
const texts = [
  "",
  "a",
  "b",
  "ab",
  "a\n",
  "\na",
  "data",
  "stringData",
  "Data",
  "data ",
  "clusters/one/s.yaml",
  "clusters/one",
  "clusters/one-2/s.yaml",
  "x/clusters/one/s.yaml",
  "clusters/two/a",
];

test("patterns of a plain form match what RE2 says", () => {
  for (const pattern of patterns) {
    const found = texts.filter(regexTest(pattern));
    const expected = texts.filter((text) => RE2JS.compile(pattern).matcher(text).find());
    assert.deepEqual(found, expected, pattern);
  }
});
