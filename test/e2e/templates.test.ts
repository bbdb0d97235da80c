import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { parseManifests, type KubeObject } from "../../pkg/object/index.ts";
import { hubResources } from "../../pkg/api/index.ts";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { root } from "../../hack/lab/paths.ts";
import { namespace, sharedHub } from "../harness/index.ts";

let hub: KubeClient;
before(async () => {
  hub = await sharedHub();
});
after(() => hub.close());

const files = [{ path: "a.yaml", content: "a: 1\n" }];
const apply = (spec: object, name = "refused") => {
  const metadata = { namespace, name };
  const object = { apiVersion: "capitan.dev/v1alpha1", kind: "ClusterTemplate", metadata, spec };
  return hub.apply(hubResources.clusterTemplate, object, { manager: "test" });
};
const parameter = (one: object) => ({ files, parameters: { one } });

const refused: readonly (readonly [what: string, spec: object, why: RegExp])[] = [
  ["no files", { files: [] }, /spec\.files/],
  ["a path that leads out", { files: [{ path: "a/../../b.yaml", content: "" }] }, /relative path/],
  ["a type that there is not", parameter({ type: "object" }), /type/],
  ["a name with a dash", { files, parameters: { "a-b": { type: "string" } } }, /is a word/],
  ["a secret number", parameter({ type: "integer", secret: true }), /is a string/],
  ["a minimum of a string", parameter({ type: "string", minimum: 1 }), /minimum and maximum/],
  ["a pattern of a number", parameter({ type: "number", pattern: "a" }), /pattern, minLength/],
];

for (const [what, spec, why] of refused)
  test(`a ClusterTemplate with ${what} is refused by the API server`, async () => {
    await assert.rejects(apply(spec), why);
  });

test("templates/lab.yaml is a ClusterTemplate that the hub keeps as it is", async () => {
  const file = join(root, "templates", "lab.yaml");
  const [lab] = parseManifests(await readFile(file, "utf8"), file);
  const { object } = await hub.apply(hubResources.clusterTemplate, lab as KubeObject, {
    manager: "test",
  });
  assert.deepEqual(object["spec"], lab?.["spec"]);
});
