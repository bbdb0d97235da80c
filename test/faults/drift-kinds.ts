// The table of drift, for the other kinds and for custom resources.
import type { KubeObject } from "../../pkg/object/index.ts";
import {
  account,
  at,
  binding,
  c,
  cr,
  crd,
  definition,
  doc,
  has,
  hook,
  hpa,
  int,
  kept,
  merged,
  network,
  one,
  quota,
  rbac,
  roleRef,
  rule,
  service,
  set,
  drop,
  subject,
  text,
  group,
  kindOf,
  type Case,
  type Foreigner,
  type Objects,
  type Target,
  type Version,
} from "./drift-target.ts";

const webhooks = (t: Target, patch: readonly object[]) => t.json(patch);
const port = "spec.ports.0";

export const kinds: readonly Case[] = [
  c("Service targetPort", service(), (t) => t.json([set(`${port}.targetPort`, 1)]), "repaired"),
  c(
    "Service selector (+key: atomic)",
    service(),
    (t) => t.merge({ spec: { selector: { b: "2" } } }),
    "repaired",
    {
      back: has("spec.selector", { app: "a" }),
    },
  ),
  c(
    "Service declared type",
    service({ type: "ClusterIP" }),
    (t) => t.merge({ spec: { type: "NodePort" } }),
    "repaired",
  ),
  c(
    "Service undeclared type: addition",
    service(),
    (t) => t.merge({ spec: { type: "NodePort" } }),
    "untouched",
    kept("spec.type", "NodePort"),
  ),
  c(
    "Service externalIPs: addition",
    service(),
    (t) => t.merge({ spec: { externalIPs: ["192.0.2.1"] } }),
    "untouched",
    kept("spec.externalIPs", ["192.0.2.1"]),
  ),
  c(
    "Service extra port: addition",
    service(),
    (t) => t.json([set("spec.ports.-", { name: "x", port: 99 })]),
    "untouched",
    kept("spec.ports.1.port", 99),
  ),
  c(
    "Service port changed: 422 Duplicate value, cured",
    service(),
    (t) => t.json([set(`${port}.port`, 81)]),
    "repaired",
    { writes: 4 },
  ),
  c(
    "Service protocol changed: 422, cured",
    service(),
    (t) => t.json([set(`${port}.protocol`, "UDP")]),
    "repaired",
    { writes: 4 },
  ),
  c(
    'clusterIP: "" in manifest',
    service({ clusterIP: "" }),
    (t) => t.merge({ metadata: { labels: { x: "1" } } }),
    "untouched",
    kept("metadata.labels.x", "1"),
  ),
  c(
    "two ports 53, UDP and without protocol",
    service({
      ports: [
        { name: "u", port: 53, protocol: "UDP" },
        { name: "t", port: 53 },
      ],
    }),
    (t) => t.merge({ metadata: { labels: { x: "1" } } }),
    "untouched",
    kept("metadata.labels.x", "1"),
  ),
  c(
    "ClusterRole rule added",
    one(rbac, "ClusterRole", { rules: [rule] }),
    (t) => t.json([set("rules.-", rule)]),
    "repaired",
  ),
  c(
    "Role verb added",
    one(rbac, "Role", { rules: [rule] }),
    (t) => t.json([set("rules.0.verbs.-", "delete")]),
    "repaired",
  ),
  c(
    "Binding subject added",
    binding,
    (t) => t.json([set("subjects.-", { ...subject, name: "evil" })]),
    "repaired",
  ),
  c(
    "aggregationRule, no rules key: the controller fills rules",
    one(rbac, "ClusterRole", {
      aggregationRule: { clusterRoleSelectors: [{ matchLabels: { none: "1" } }] },
    }),
    (t) => t.apply({ rules: [rule], aggregationRule: null }, "clusterrole-aggregation-controller"),
    "untouched",
    kept("rules.0.verbs", ["get"]),
  ),
  c(
    "aggregationRule with rules: [] in manifest: the controller fills rules",
    one(rbac, "ClusterRole", {
      rules: [],
      aggregationRule: { clusterRoleSelectors: [{ matchLabels: { none: "1" } }] },
    }),
    (t) => t.apply({ rules: [rule], aggregationRule: null }, "clusterrole-aggregation-controller"),
    "untouched",
    kept("rules.0.verbs", ["get"]),
  ),
  c(
    "Binding recreated with another roleRef: 422, deleted and created",
    binding,
    (t) => t.recreate({ roleRef: { ...roleRef, name: "admin" } }),
    "repaired",
    { frozen: true, writes: 5 },
  ),
  ...(
    [
      ["absent in manifest", {}],
      ["Cg== in manifest", { caBundle: "Cg==" }],
      ['"" in manifest', { caBundle: "" }],
      ["null in manifest", { caBundle: null }],
    ] as const
  ).map(([what, config]) =>
    c(
      `webhook caBundle injected, ${what}`,
      hook(config),
      (t) => webhooks(t, [set("webhooks.0.clientConfig.caBundle", t.api.caBundle)]),
      "untouched",
      {
        kept: (live) => String(at(live, "webhooks.0.clientConfig.caBundle")).length > 100,
      },
    ),
  ),
  c(
    "webhook failurePolicy",
    hook(),
    (t) => webhooks(t, [set("webhooks.0.failurePolicy", "Fail")]),
    "repaired",
  ),
  c(
    "webhook rules (atomic)",
    hook(),
    (t) => webhooks(t, [set("webhooks.0.rules.0.apiVersions.-", "v2")]),
    "repaired",
  ),
  c("webhook removed", hook(), (t) => webhooks(t, [drop("webhooks.1")]), "repaired"),
  c(
    "webhook namespaceSelector added",
    hook(),
    (t) => webhooks(t, [set("webhooks.0.namespaceSelector", { matchLabels: { x: "1" } })]),
    "untouched",
    kept("webhooks.0.namespaceSelector.matchLabels.x", "1"),
  ),
  c(
    "CRD schema changed",
    crd(),
    (t) =>
      t.json([set("spec.versions.0.schema.openAPIV3Schema.properties.spec.properties.more", int)]),
    "repaired",
  ),
  c(
    "CRD version added",
    crd(),
    async (t) => {
      const [version] = at(await t.live(), "spec.versions") as readonly object[];
      return t.json([set("spec.versions.-", { ...version, name: "v2", storage: false })]);
    },
    "repaired",
  ),
  c(
    "CRD printer column added",
    crd(),
    (t) =>
      t.json([
        set("spec.versions.0.additionalPrinterColumns", [
          { name: "x", type: "string", jsonPath: ".spec.x" },
        ]),
      ]),
    "repaired",
  ),
  c(
    "CRD status and storedVersions",
    crd(),
    (t) => t.merge({ status: { storedVersions: ["v1", "v0"] } }, { sub: "status" }),
    "untouched",
    {
      ...kept("status.storedVersions", ["v1", "v0"]),
    },
  ),
  ...(
    [
      ["absent", {}],
      ["placeholder in manifest", { caBundle: "Cg==" }],
    ] as const
  ).map(([what, config]) =>
    c(
      `CRD conversion caBundle injected, ${what}`,
      crd({
        conversion: {
          strategy: "Webhook",
          webhook: {
            conversionReviewVersions: ["v1"],
            clientConfig: { service: { namespace: "default", name: "w" }, ...config },
          },
        },
      }),
      (t) => t.json([set("spec.conversion.webhook.clientConfig.caBundle", t.api.caBundle)]),
      "untouched",
      {
        kept: (live) =>
          String(at(live, "spec.conversion.webhook.clientConfig.caBundle")).length > 100,
      },
    ),
  ),
  c(
    "NetworkPolicy podSelector {} narrowed",
    network,
    (t) => t.merge({ spec: { podSelector: { matchLabels: { x: "1" } } } }),
    "repaired",
    {
      back: (live) => Object.keys(at(live, "spec.podSelector") as object).length === 0,
    },
  ),
  c("NetworkPolicy rule added", network, (t) => t.json([set("spec.ingress.-", {})]), "repaired"),
  c(
    "NetworkPolicy policyTypes changed",
    network,
    (t) => t.json([set("spec.policyTypes.-", "Egress")]),
    "repaired",
  ),
  c(
    'ResourceQuota "1000" stored as 1k',
    quota({ pods: "1000" }),
    (t) => t.merge({ metadata: { labels: { x: "1" } } }),
    "untouched",
    kept("metadata.labels.x", "1"),
  ),
  c(
    "ResourceQuota raised",
    quota({ pods: "1000" }),
    (t) => t.merge({ spec: { hard: { pods: "9k" } } }),
    "repaired",
    { back: has("spec.hard.pods", "1k") },
  ),
  c(
    "ResourceQuota key added",
    quota({ pods: "10" }),
    (t) => t.merge({ spec: { hard: { services: "1" } } }),
    "untouched",
    kept("spec.hard.services", "1"),
  ),
  c(
    "ResourceQuota bare number in the manifest",
    quota({ pods: 1000 }),
    (t) => t.merge({ spec: { hard: { pods: "2k" } } }),
    "repaired",
    { back: has("spec.hard.pods", "1k") },
  ),
  c(
    "Namespace label",
    one("v1", "Namespace", { metadata: { labels: { a: "1" } } }),
    (t) => t.merge({ metadata: { labels: { a: "2" } } }),
    "repaired",
  ),
  c(
    "Namespace automatic name label: no event",
    one("v1", "Namespace"),
    (t) => t.merge({ metadata: { labels: { "kubernetes.io/metadata.name": null } } }),
    "untouched",
    {
      kept: (live) => live.metadata.labels?.["kubernetes.io/metadata.name"] === live.metadata.name,
      writes: 0,
    },
  ),
  c(
    "Namespace spec.finalizers through /finalize: apply cannot restore it",
    one("v1", "Namespace", { spec: { finalizers: ["kubernetes"] } }),
    async (t) =>
      t.api.send("PUT", `/api/v1/namespaces/${t.declared.metadata.name}/finalize`, {
        body: merged(await t.live(), { spec: { finalizers: [] } }),
      }),
    "unseen",
  ),
  c(
    "ServiceAccount imagePullSecrets added",
    account,
    (t) => t.json([set("imagePullSecrets.-", { name: "b" })]),
    "repaired",
  ),
  c(
    "ServiceAccount imagePullSecrets removed",
    account,
    (t) => t.json([drop("imagePullSecrets.0")]),
    "repaired",
  ),
  c(
    "ServiceAccount automount and secrets filled",
    account,
    (t) => t.merge({ automountServiceAccountToken: false, secrets: [{ name: "s" }] }),
    "untouched",
    kept("secrets.0.name", "s"),
  ),
  c(
    "HPA applied as v1, changed via v2",
    hpa,
    (t) =>
      t.json([set("spec.metrics.0.resource.target.averageUtilization", 90)], {
        apiVersion: "autoscaling/v2",
      }),
    "repaired",
  ),
  c(
    "HPA applied as v1, behavior added via v2",
    hpa,
    (t) =>
      t.merge(
        { spec: { behavior: { scaleDown: { stabilizationWindowSeconds: 9 } } } },
        { apiVersion: "autoscaling/v2" },
      ),
    "untouched",
    {
      kept: (live) => JSON.stringify(live).includes("ehavior"),
    },
  ),
];

const items = (...list: object[]) => ({ items: list });
const keyed = (n: number, more: object = {}) => ({ port: n, proto: "TCP", ...more });
const embedded = { apiVersion: "v1", kind: "X", metadata: { name: "x" }, a: "1" };

export const customs: readonly Case[] = [
  c("CR scalar", cr({ size: 1 }), (t) => t.merge({ spec: { size: 2 } }), "repaired"),
  c(
    'CR int-or-string 80 to "80"',
    cr({ port: 80 }),
    (t) => t.merge({ spec: { port: "80" } }),
    "repaired",
  ),
  c(
    "CR atomic list item removed",
    cr({ list: ["a", "b"] }),
    (t) => t.json([drop("spec.list.0")]),
    "repaired",
  ),
  c(
    "CR atomic list item added",
    cr({ list: ["a", "b"] }),
    (t) => t.json([set("spec.list.-", "c")]),
    "repaired",
  ),
  c(
    "CR set list item removed",
    cr({ tags: ["a", "b"] }),
    (t) => t.json([drop("spec.tags.0")]),
    "repaired",
    { back: (live) => JSON.stringify(at(live, "spec.tags")).length === 9 },
  ),
  c(
    "CR map item removed",
    cr(items(keyed(1), keyed(2))),
    (t) => t.json([drop("spec.items.0")]),
    "repaired",
    { back: (live) => JSON.stringify(at(live, "spec.items")).split("port").length === 3 },
  ),
  c(
    "CR map value changed",
    cr({ map: { a: "1" } }),
    (t) => t.merge({ spec: { map: { a: "2" } } }),
    "repaired",
  ),
  c(
    "CR preserve-unknown value",
    cr({ free: { a: { b: 1 } } }),
    (t) => t.merge({ spec: { free: { a: { b: 2 } } } }),
    "repaired",
  ),
  c(
    "CR embedded value",
    cr({ embedded }),
    (t) => t.merge({ spec: { embedded: { a: "2" } } }),
    "repaired",
  ),
  c(
    "CR 1 to 1.0: event, no change",
    cr({ ratio: 1 }),
    (t) => t.merge({ spec: { ratio: 1.0 } }),
    "untouched",
    kept("spec.ratio", 1),
  ),
  c(
    "CR default changed, not declared",
    cr({ size: 1 }),
    (t) => t.merge({ spec: { mode: "x" } }),
    "untouched",
    kept("spec.mode", "x"),
  ),
  c(
    "CR default changed, declared",
    cr({ mode: "auto" }),
    (t) => t.merge({ spec: { mode: "x" } }),
    "repaired",
  ),
  c(
    "CR key field proto changed",
    cr(items(keyed(1))),
    (t) => t.json([set("spec.items.0.proto", "UDP")]),
    "repaired",
    { writes: 4, back: (live) => JSON.stringify(at(live, "spec.items")).includes("TCP") },
  ),
  c(
    "✗ CR map list reordered",
    cr(items(keyed(1), keyed(2))),
    (t) => t.json([{ op: "move", from: "/spec/items/1", path: "/spec/items/0" }]),
    "repaired",
  ),
  c(
    "✗ CR set list reordered",
    cr({ tags: ["a", "b"] }),
    (t) => t.json([{ op: "move", from: "/spec/tags/1", path: "/spec/tags/0" }]),
    "repaired",
  ),
  c(
    "CR null (nullable) in manifest, then set",
    cr({ note: null }),
    (t) => t.merge({ spec: { note: "x" } }),
    "repaired",
  ),
  c(
    "CR empty list in manifest, then set",
    cr({ list: [] }),
    (t) => t.merge({ spec: { list: ["x"] } }),
    "repaired",
  ),
  c(
    "CR /status write",
    cr({ size: 1 }),
    (t) => t.merge({ status: { x: 1 } }, { sub: "status" }),
    "untouched",
    { ...kept("status.x", 1), writes: 0 },
  ),
  c(
    "CR /status write with metadata in the body",
    cr({ size: 1 }, { annotations: { a: "1" } }),
    (t) =>
      t.merge(
        { metadata: { annotations: { a: "2" }, labels: { x: "1" } }, status: { x: 1 } },
        { sub: "status" },
      ),
    "untouched",
    { ...kept("metadata.annotations.a", "1"), writes: 1 },
  ),
  c(
    "CR embedded metadata.creationTimestamp: null",
    cr({ embedded: { ...embedded, metadata: { name: "x", creationTimestamp: null } } }),
    (t) => t.merge({ metadata: { labels: { x: "1" } } }),
    "untouched",
    kept("metadata.labels.x", "1"),
  ),
];

// ------------------------------------------------ kinds of their own: each case in its Fleet

const own =
  (spec: object, version = "v1"): Objects =>
  (name) => [doc(`${group}/${version}`, kindOf(name), name, { spec })];
const defined = (versions: readonly Version[]) => (api: Foreigner, name: string) =>
  api.define(definition(kindOf(name), versions));
const crdOf = (name: string) => definition(kindOf(name), []);
const patchCrd = (t: Target, ops: readonly object[]) =>
  t.api.send(
    "PATCH",
    `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${crdOf(t.declared.metadata.name).metadata.name}`,
    { body: ops, type: "application/json-patch+json" },
  );

/** Stores everything at v1, and takes v1beta1 out of the definition. */
async function dropOldVersion(t: Target): Promise<void> {
  const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${crdOf(t.declared.metadata.name).metadata.name}`;
  const body = { status: { storedVersions: ["v1"] } };
  await t.api.send("PATCH", `${path}/status`, { body, type: "application/merge-patch+json" });
  await patchCrd(t, [drop("spec.versions.0")]);
  const old = `/apis/${group}/v1beta1/`;
  const isGone = async () =>
    t.api.send("GET", `${old}${kindOf(t.declared.metadata.name).toLowerCase()}s`).then(
      () => false,
      () => true,
    );
  for (let i = 0; i < 200 && !(await isGone()); i++)
    await new Promise((resolve) => setTimeout(resolve, 25));
}

const both = (spec: object, oldSpec: object = spec): readonly Version[] => [
  { name: "v1beta1", spec: oldSpec },
  { name: "v1", spec },
];
const via = { apiVersion: `${group}/v1beta1` };
const label = { metadata: { labels: { x: "1" } } };

export const definitions: readonly Case[] = [
  c(
    "CRD without status subresource, status.x in manifest",
    (name) => own({ size: 1 })(name).map((d): KubeObject => ({ ...d, status: { x: 1 } })),
    (t) => t.merge({ status: { x: 2 } }),
    "untouched",
    {
      ...kept("status.x", 2),
      prepare: defined([{ name: "v1", spec: { size: int }, more: { subresources: {} } }]),
    },
  ),
  c(
    "entry at v1beta1, no longer served",
    own({ size: 1 }),
    async (t) => {
      await t.merge(label, via);
      await patchCrd(t, [set("spec.versions.0.served", false)]);
      return t.merge({ spec: { size: 2 } });
    },
    "repaired",
    { prepare: defined(both({ size: int })), writes: 4 },
  ),
  c(
    "v1beta1 removed from the CRD, another's entry at it: 500, cured",
    own({ size: 1 }),
    async (t) => {
      await t.merge(label, via);
      await dropOldVersion(t);
      return t.merge({ spec: { size: 2 } }, { manager: "third" });
    },
    "repaired",
    { prepare: defined(both({ size: int })), writes: 6 },
  ),
  c(
    "✗ foreign write of a label via an older version whose schema lacks our field: 500, cured",
    own({ size: 1, plain: "a" }),
    (t) => t.merge(label, via),
    "repaired",
    {
      prepare: defined(both({ size: int, plain: text }, { size: int })),
      writes: 6,
    },
  ),
  c(
    "✗ same, but a /status write: nothing tells",
    own({ size: 1, plain: "a" }),
    (t) => t.merge({ status: { x: 1 } }, { ...via, sub: "status" }),
    "unseen",
    {
      prepare: defined(both({ size: int, plain: text }, { size: int })),
      writes: 6,
    },
  ),
  c(
    "/status write via a version where a field has another type: all entries gone",
    own({ size: 1, plain: "a" }),
    (t) => t.merge({ status: { x: 1 } }, { ...via, sub: "status" }),
    "repaired",
    {
      prepare: defined(both({ size: int, plain: text }, { size: text, plain: text })),
      writes: 4,
    },
  ),
  c(
    "list type changed in the CRD: one repair at the next foreign write",
    own({ list: ["a"] }),
    async (t) => {
      await patchCrd(t, [
        set(
          "spec.versions.0.schema.openAPIV3Schema.properties.spec.properties.list.x-kubernetes-list-type",
          "set",
        ),
      ]);
      return t.merge({ spec: { list: ["b"] } });
    },
    "repaired",
    {
      prepare: defined([{ name: "v1", spec: { list: { type: "array", items: text } } }]),
      otherFields: true,
      writes: 4,
      back: (live) => JSON.stringify(at(live, "spec.list")).includes("a"),
    },
  ),
];
