import assert from "node:assert/strict";
import { test } from "node:test";
import { parse } from "yaml";
import { ago, clean, formatted, table } from "./text.ts";

test("W8 foreign text cannot move the cursor, set the title or turn the direction", () => {
  assert.equal(clean("a\u001b[31mred\u001b[0m\u0007b\u009bc\u202egnp.exe"), "aredbcgnp.exe");
  assert.equal(clean("two\nlines\tand a tab"), "two\nlines\tand a tab");
});

test("W8 json keeps foreign text but escapes it, yaml leaves out what a terminal obeys", () => {
  const value = { note: "a\u001b[31mred\u009b1m\u202egnp.exe" };
  const [json, yaml] = [formatted(value, "json"), formatted(value, "yaml")];
  for (const text of [json, yaml]) assert.equal(clean(text), text);
  assert.deepEqual(JSON.parse(json), value);
  assert.deepEqual(parse(yaml), { note: "a\u001b[31mred1mgnp.exe" });
});

test("columns are as wide as their content, the last is cut to the terminal", () => {
  const rows = [
    ["a", "b"],
    ["long name", "x".repeat(50)],
  ];
  assert.equal(
    table(["name", "status"], rows, 0),
    `NAME        STATUS\na           b\nlong name   ${"x".repeat(50)}\n`,
  );
  assert.ok(
    table(["name", "status"], rows, 40)
      .split("\n")
      .every((line) => line.length <= 40),
  );
  assert.equal(
    table(["name", "status"], rows, 30),
    table(["name", "status"], rows, 0),
    "too narrow",
  );
});

test("ages are short", () => {
  const now = new Date("2026-01-10T00:00:00Z");
  assert.deepEqual(
    [
      "2026-01-09T23:59:55Z",
      "2026-01-09T23:50:00Z",
      "2026-01-09T20:00:00Z",
      "2026-01-01T00:00:00Z",
      undefined,
    ].map((t) => ago(t, now)),
    ["5s", "10m", "4h", "9d", ""],
  );
});
