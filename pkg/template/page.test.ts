import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import {
  compileTemplate,
  helpers,
  layerShape,
  limits,
  parseValues,
  renderTemplate,
} from "./index.ts";
import type { LayerContext } from "./index.ts";

const page = await readFile(join(import.meta.dirname, "../../docs/templates.md"), "utf8");
const blocks = [...page.matchAll(/```(\w+)\n([\s\S]*?)```/g)].map(([, , text = ""]) => text);
const [values = "", template = "", result = ""] = blocks;

const context: LayerContext = {
  cluster: {
    name: "prod-eu-1",
    namespace: "fleet",
    labels: { region: "eu", "topology.kubernetes.io/zone": "eu-1a" },
    annotations: {},
    version: "v1.34.1",
    topology: { class: "small", version: "v1.34.1", variables: {} },
    controlPlaneEndpoint: { host: "10.0.0.1", port: 6443 },
    kinds: { infrastructure: "DockerCluster", controlPlane: "KubeadmControlPlane" },
  },
  fleet: { name: "platform", namespace: "fleet" },
  values: parseValues(values, "values"),
};
const render = (text: string) =>
  renderTemplate(compileTemplate(text, "web.yaml.hbs", layerShape), context);

/** The rows of the table under a heading; `\|` is a bar, ⏎ the end of a line. */
function rowsOf(heading: string): readonly (readonly string[])[] {
  const section = page.split(`\n## ${heading}\n`)[1]?.split("\n## ")[0] ?? "";
  const rows = section.split("\n").filter((line) => line.startsWith("| `"));
  return rows.map((row) =>
    row
      .split(/(?<!\\)\|/)
      .slice(1)
      .map((cell) =>
        cell
          .trim()
          .replace(/^`(.*)`$/, "$1")
          .replaceAll("⏎", "\n")
          .replaceAll("\\|", "|"),
      ),
  );
}

test("the first example of the page is true", () => {
  assert.equal(render(template), result);
});

for (const heading of ["Helpers", "Blocks"]) {
  for (const [text = "", want] of rowsOf(heading)) {
    test(`the page is right about ${text}`, () => assert.equal(render(text), want));
  }
}

for (const [text = "", code, message] of rowsOf("Messages")) {
  test(`the page is right about the message for ${text}`, () => {
    assert.throws(() => render(text), { code, message });
  });
}

test("the page shows every helper, every root and every limit", () => {
  const shown = rowsOf("Helpers").map(([text = ""]) => text);
  for (const name of Object.keys(helpers))
    assert.ok(
      shown.some((text) => new RegExp(`[{(]${name} `).test(text)),
      name,
    );
  const roots = new Set(
    rowsOf("What a template can read").map(([cell = ""]) => cell.split(".")[0]),
  );
  assert.deepEqual([...roots], ["cluster", "fleet", "values"]);
  const said = page.split("\n## Limits\n")[1]?.split("\n## ")[0] ?? "";
  for (const limit of [
    limits.depthMax,
    limits.stepsMax,
    limits.outputCharsMax,
    limits.layerCharsMax,
    limits.pathCharsMax,
  ])
    assert.ok(said.includes(`| ${limit.toLocaleString("en")}`), String(limit));
  assert.equal(limits.templateBytesMax, 256 * 1024);
});
