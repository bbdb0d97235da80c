import assert from "node:assert/strict";
import { test } from "node:test";
import { normalize, type KubeObject } from "./index.ts";

const object = (fields: object): KubeObject => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: "a" },
  ...fields,
});
const labels = { "capitan.dev/owner": "o" };

const cases: readonly { name: string; given: KubeObject; want: object }[] = [
  { name: "puts the owner label in", given: object({}), want: { metadata: { name: "a", labels } } },
  {
    name: "keeps other labels",
    given: object({ metadata: { name: "a", labels: { x: "y" } } }),
    want: { metadata: { name: "a", labels: { x: "y", ...labels } } },
  },
  {
    name: "takes out status",
    given: object({ status: { x: 1 } }),
    want: { metadata: { name: "a", labels } },
  },
  {
    name: "takes out what the server owns",
    given: object({
      metadata: {
        name: "a",
        uid: "u",
        resourceVersion: "1",
        generation: 3,
        creationTimestamp: "t",
        managedFields: [],
      },
    }),
    want: { metadata: { name: "a", labels } },
  },
  {
    name: "takes out null creationTimestamps at any depth",
    given: object({ spec: { template: { metadata: { creationTimestamp: null, name: "x" } } } }),
    want: { metadata: { name: "a", labels }, spec: { template: { metadata: { name: "x" } } } },
  },
  {
    name: "keeps empty maps, which mean something",
    given: object({ spec: { emptyDir: {}, podSelector: {} } }),
    want: { metadata: { name: "a", labels }, spec: { emptyDir: {}, podSelector: {} } },
  },
  {
    name: "folds stringData of a Secret into data",
    given: object({ kind: "Secret", data: { a: "YQ==", b: "old" }, stringData: { b: "new" } }),
    want: { kind: "Secret", metadata: { name: "a", labels }, data: { a: "YQ==", b: "bmV3" } },
  },
  {
    name: "drops rules beside an aggregationRule, which would empty the role",
    given: object({
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRole",
      aggregationRule: {},
      rules: [],
    }),
    want: {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRole",
      metadata: { name: "a", labels },
      aggregationRule: {},
    },
  },
  ...[null, "", "Cg=="].map((caBundle) => ({
    name: `drops the placeholder caBundle ${JSON.stringify(caBundle)}`,
    given: object({
      kind: "ValidatingWebhookConfiguration",
      webhooks: [{ clientConfig: { caBundle, url: "x" } }],
    }),
    want: {
      kind: "ValidatingWebhookConfiguration",
      metadata: { name: "a", labels },
      webhooks: [{ clientConfig: { url: "x" } }],
    },
  })),
];

for (const { name, given, want } of cases) {
  test(name, () =>
    assert.deepEqual(normalize(given, "o"), { apiVersion: "v1", kind: "ConfigMap", ...want }),
  );
}

test("refuses a Secret whose stringData is not a string, without its value", () => {
  const secret = object({ kind: "Secret", stringData: { password: 12345678 } });
  assert.throws(
    () => normalize(secret, "o"),
    (error: Error & { code: string }) => {
      assert.equal(error.code, "ManifestInvalid");
      assert.doesNotMatch(error.message, /12345678/);
      return true;
    },
  );
});
