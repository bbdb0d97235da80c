import assert from "node:assert/strict";
import { test } from "node:test";
import { formatRepositoryFile, parseRepositoryFile } from "./repository-file.ts";

const head = "apiVersion: capitan.dev/v1alpha1\nkind: Repository\n";

test("what is not said is where bootstrap puts it; what is written reads back", () => {
  const settings = parseRepositoryFile(`${head}url: https://git.example/fleet.git\n`, "f");
  assert.deepEqual(settings, {
    url: "https://git.example/fleet.git",
    branch: "main",
    templates: "management/templates",
    clusters: "management/clusters",
    namespace: "fleet",
  });
  assert.deepEqual(parseRepositoryFile(formatRepositoryFile(settings), "f"), settings);
});

const wrong: readonly (readonly [string, string, RegExp])[] = [
  ["another kind", "kind: Fleet\napiVersion: capitan.dev/v1alpha1\nurl: x", /^f: it is not/],
  ["no url", head, /^f: url is missing or wrong/],
  ["an unknown field", `${head}url: x\nbranhc: y\n`, /no field "branhc"; there are url, branch/],
  ["a way out", `${head}url: x\nclusters: ../elsewhere\n`, /clusters is missing or wrong/],
  ["a way into Git", `${head}url: x\ntemplates: .git/hooks\n`, /templates is missing or wrong/],
  ["an absolute path", `${head}url: x\nclusters: /etc\n`, /clusters is missing or wrong/],
  ["no namespace's name", `${head}url: x\nnamespace: A_b\n`, /namespace is missing or wrong/],
  ["a list", "- 1\n", /^f: it is not/],
];
for (const [name, text, message] of wrong) {
  test(`a .capitan.yaml with ${name} is refused`, () => {
    assert.throws(() => parseRepositoryFile(text, "f"), { code: "FileInvalid", message });
  });
}
