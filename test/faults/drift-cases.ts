// The table of drift, for objects of any kind and for Deployments: objects of a layer, what somebody
// else does to the first of them, and what has to come of it.
import { asList, asMap } from "../../pkg/json/index.ts";
import type { KubeObject } from "../../pkg/object/index.ts";
import {
  Refused,
  type Target,
  annotated,
  at,
  c,
  cm,
  dep,
  doc,
  drop,
  first,
  has,
  kept,
  lastApplied,
  merged,
  ours,
  p,
  pathOf,
  podOf,
  secret,
  set,
  type Case,
} from "./drift-target.ts";

// ---------------------------------------------------------------- any kind

const changed = { data: { k: "x" } };

export const anyKind: readonly Case[] = [
  c("value changed by PATCH (merge)", cm(), (t) => t.merge(changed), "repaired"),
  c("value changed by PATCH (strategic)", cm(), (t) => t.strategic(changed), "repaired"),
  c("value changed by PATCH (JSON)", cm(), (t) => t.json([set("data.k", "x")]), "repaired"),
  c("value changed by PUT", cm(), (t) => t.put(changed), "repaired"),
  c("key removed by PATCH (merge)", cm(), (t) => t.merge({ data: { k: null } }), "repaired"),
  c(
    "key removed by PATCH (strategic)",
    cm(),
    (t) => t.strategic({ data: { k: null } }),
    "repaired",
  ),
  c("key removed by PATCH (JSON)", cm(), (t) => t.json([drop("data.k")]), "repaired"),
  c("key removed by PUT", cm(), (t) => t.put({ data: { k: null } }), "repaired"),
  c("all data removed", cm(), (t) => t.merge({ data: null }), "repaired"),
  c(
    "our label changed, our annotation removed",
    cm({ k: "v" }, { labels: { l: "1" }, annotations: { a: "1" } }),
    (t) => t.merge({ metadata: { labels: { l: "2" }, annotations: { a: null } } }),
    "repaired",
  ),
  c(
    "same by manager capitan with operation Update",
    cm(),
    (t) => t.merge(changed, { manager: "capitan" }),
    "repaired",
  ),
  c(
    "PUT without managedFields",
    cm(),
    (t) => t.put({ ...changed, metadata: { managedFields: null } }),
    "repaired",
  ),
  c(
    "PUT with the old managedFields",
    cm(),
    (t) => t.put({ ...changed, metadata: { managedFields: t.before.metadata.managedFields } }),
    "repaired",
  ),
  c("key added", cm(), (t) => t.merge({ data: { x: "1" } }), "untouched", kept("data.x", "1")),
  c(
    "label and annotation added",
    cm(),
    (t) => t.merge({ metadata: { labels: { x: "1" }, annotations: { y: "2" } } }),
    "untouched",
    kept("metadata.labels.x", "1"),
  ),
  c(
    "finalizer added",
    cm(),
    (t) => t.merge({ metadata: { finalizers: ["drift.test/x"] } }),
    "untouched",
    kept("metadata.finalizers", ["drift.test/x"]),
  ),
  c(
    "owner reference added",
    cm(),
    (t) =>
      t.merge({
        metadata: { ownerReferences: [{ apiVersion: "v1", kind: "Pod", name: "p", uid: "u" }] },
      }),
    "untouched",
    kept("metadata.ownerReferences.0.name", "p"),
  ),
  c("managedFields: [{}], values same", cm(), (t) => t.owners(() => [{}]), "repaired", {
    back: ({ metadata }) => metadata.managedFields?.length === 1,
    writes: 2,
  }),
  c(
    "managedFields: [{}], values changed",
    cm(),
    async (t) => {
      await t.owners(() => [{}]);
      await t.merge(changed);
    },
    "repaired",
    { writes: 6 },
  ),
  c(
    "our entry trimmed",
    cm(),
    (t) =>
      t.owners((entries) =>
        entries.map((e) => (ours(e) ? { ...e, fieldsV1: { "f:data": { "f:k2": {} } } } : e)),
      ),
    "repaired",
  ),
  c(
    "changed, then changed back (ABA)",
    cm(),
    async (t) => {
      await t.merge(changed);
      await t.merge({ data: { k: "v" } });
    },
    "repaired",
    { writes: 3 },
  ),
  c("Apply by other, force, other value, once", cm(), (t) => t.apply(changed, "other"), "repaired"),
  c(
    "Apply by other without force: 409, nothing happens",
    cm(),
    async (t) => {
      const status = await t.apply(changed, "other", false).then(
        () => 200,
        (error: unknown) => (error instanceof Refused ? error.status : 0),
      );
      if (status !== 409) throw new Error(`the other's apply was answered ${status}, not 409`);
    },
    "untouched",
    { ...kept("data.k", "v"), writes: 0 },
  ),
  c("Apply by other, same value (co-owned)", cm(), (t) => t.apply({}, "other"), "untouched", {
    ...kept("data.k", "v"),
  }),
  c(
    "co-owned; other then drops it: value stays",
    cm(),
    async (t) => {
      await t.apply({}, "other");
      await t.apply({ data: { k: null } }, "other");
    },
    "untouched",
    { ...kept("data.k", "v"), writes: 2 },
  ),
  c(
    "co-owned; a third party removes it",
    cm(),
    async (t) => {
      await t.apply({}, "other");
      await t.merge({ data: { k: null } }, { manager: "third" });
    },
    "repaired",
    { writes: 3 },
  ),
  c(
    "✗ Apply as capitan by someone else, same paths, other values",
    cm(),
    (t) => t.apply({ ...changed, metadata: { labels: t.before.metadata.labels } }, "capitan"),
    "repaired",
  ),
  c(
    "Apply as capitan by someone else, other paths, once",
    cm(),
    (t) => t.apply({ data: { k: null, z: "1" } }, "capitan"),
    "repaired",
  ),
  c(
    "✗ backup tool: recreate with old values, then patch managedFields back",
    cm(),
    async (t) => {
      await t.recreate({ data: { k: "old" } }, "velero");
      await t.owners(() => t.before.metadata.managedFields ?? []);
    },
    "repaired",
    { frozen: true, writes: 4 },
  ),
  c(
    "✗ value changed, then managedFields patched to the former list",
    cm(),
    async (t) => {
      await t.merge(changed);
      await t.owners(() => t.before.metadata.managedFields ?? []);
    },
    "repaired",
    { frozen: true, writes: 2 },
  ),
  c("deleted", cm(), (t) => t.delete(), "repaired"),
  c(
    "owner label removed",
    cm(),
    (t) => t.merge({ metadata: { labels: { "capitan.dev/owner": null } } }),
    "repaired",
  ),
  c(
    "owner label changed",
    cm(),
    (t) => t.merge({ metadata: { labels: { "capitan.dev/owner": "x" } } }),
    "repaired",
    { back: (live) => live.metadata.labels?.["capitan.dev/owner"] !== "x" },
  ),
  c(
    "kubectl replace (drops label)",
    cm(),
    (t) => t.put({ metadata: { labels: null } }, "kubectl-replace"),
    "repaired",
  ),
  c(
    "deleted and recreated by other, label kept",
    cm(),
    (t) => t.recreate({ data: { k: "x" } }),
    "repaired",
    { frozen: true, writes: 4 },
  ),
  c(
    "deleted and recreated by other, label kept, with managedFields in the POST",
    cm(),
    (t) => t.recreate({ metadata: { managedFields: t.before.metadata.managedFields } }),
    "repaired",
    { frozen: true, writes: 4 },
  ),
  c(
    "kubectl apply (client-side), same values",
    cm(),
    (t) => t.merge(annotated(t), { manager: "kubectl-client-side-apply" }),
    "untouched",
    { kept: (live) => live.metadata.annotations?.[lastApplied] !== undefined },
  ),
  c(
    "kubectl apply (client-side), other value",
    cm(),
    (t) => t.merge({ ...annotated(t), ...changed }, { manager: "kubectl-client-side-apply" }),
    "repaired",
  ),
  c(
    "kubectl apply --server-side, same",
    cm(),
    (t) => t.apply({}, "kubectl", false),
    "untouched",
    kept("data.k", "v"),
  ),
  c(
    "kubectl apply --server-side --force-conflicts, other value",
    cm(),
    (t) => t.apply(changed, "kubectl"),
    "repaired",
  ),
  c(
    "our empty map (data: {}) gets foreign keys",
    cm({}),
    (t) => t.merge({ data: { x: "1" } }),
    "untouched",
    kept("data.x", "1"),
  ),
  c(
    "Secret data changed",
    secret({ data: { k: "djE=" } }),
    (t) => t.merge({ data: { k: "djI=" } }),
    "repaired",
  ),
  c(
    "Secret data changed, also when written through stringData",
    secret({ data: { k: "djE=" } }),
    (t) => t.merge({ stringData: { k: "v2" } }),
    "repaired",
  ),
  c(
    "Secret base64 with a newline inside: no loop",
    secret({ data: { k: "djE=\n" } }),
    (t) => t.merge({ metadata: { labels: { x: "1" } } }),
    "untouched",
    kept("metadata.labels.x", "1"),
  ),
  c(
    "✗ Secret applied with stringData: value changed in data",
    secret({ stringData: { k: "v1", k2: "v2" } }),
    (t) => t.merge({ data: { k: "djI=" } }),
    "repaired",
    { back: has("data", { k: "djE=", k2: "djI=" }) },
  ),
  c(
    "✗ Secret applied with stringData: key removed in data",
    secret({ stringData: { k: "v1", k2: "v2" } }),
    (t) => t.merge({ data: { k: null } }),
    "repaired",
    { back: has("data", { k: "djE=", k2: "djI=" }) },
  ),
];

// ---------------------------------------------------------------- Deployment

const env = [
  { name: "A", value: "1" },
  { name: "B", value: "2" },
];
const envDep = dep({ env });
const inits = ["i1", "i2"].map((name) => ({ name, image: "registry.example/i:1" }));
const inC = (t: Target, container: object, manager = "other") =>
  t.strategic(
    { spec: { template: { spec: { containers: [{ name: "c", ...container }] } } } },
    { manager },
  );
const inPod = (t: Target, spec: object) => t.strategic({ spec: { template: { spec } } });
const scale = (t: Target, manager: string) =>
  t.merge({ spec: { replicas: 3 } }, { sub: "scale", manager });

export const deployments: readonly Case[] = [
  c(
    "container added",
    dep(),
    (t) => inPod(t, { containers: [{ name: "x", image: "x" }] }),
    "untouched",
    {
      kept: (live) => JSON.stringify(at(live, `${podOf}.containers`)).includes('"x"'),
    },
  ),
  c(
    "env, port, command and securityContext added",
    dep(),
    (t) =>
      inC(t, {
        env: [{ name: "X", value: "1" }],
        ports: [{ containerPort: 99 }],
        command: ["sh"],
        securityContext: { runAsUser: 0 },
      }),
    "untouched",
    kept(`${first}.command`, ["sh"]),
  ),
  c("hostNetwork added", dep(), (t) => inPod(t, { hostNetwork: true }), "untouched", {
    ...kept(`${podOf}.hostNetwork`, true),
  }),
  c(
    "addition inside an atomic field: command",
    dep({ command: ["a"] }),
    (t) => t.json([set(`${first}.command.-`, "b")]),
    "repaired",
  ),
  c("kubectl set image", dep(), (t) => inC(t, { image: "evil:2" }, "kubectl-set"), "repaired"),
  c("kubectl scale", dep(), (t) => scale(t, "kubectl"), "repaired"),
  c(
    "kubectl rollout undo",
    dep(),
    (t) => t.json([set(`${first}.image`, "registry.example/x:0")], { manager: "kubectl-rollout" }),
    "repaired",
  ),
  c(
    "kubectl rollout restart: an annotation in the template",
    dep(),
    (t) =>
      t.strategic({ spec: { template: { metadata: { annotations: { restartedAt: "now" } } } } }),
    "untouched",
    kept("spec.template.metadata.annotations.restartedAt", "now"),
  ),
  c("env value", envDep, (t) => inC(t, { env: [{ name: "A", value: "9" }] }), "repaired"),
  c("env item removed", envDep, (t) => t.json([drop(`${first}.env.0`)]), "repaired", {
    back: (live) => asList(at(live, `${first}.env`)).length === 2,
  }),
  c(
    "args (atomic)",
    dep({ args: ["a"] }),
    (t) => t.json([set(`${first}.args.-`, "b")]),
    "repaired",
  ),
  c(
    "port name",
    dep({ ports: [{ name: "a", containerPort: 80 }] }),
    (t) => t.json([set(`${first}.ports.0.name`, "b")]),
    "repaired",
  ),
  c(
    "cpu 1 to 2",
    dep({ resources: { requests: { cpu: "1" } } }),
    (t) => inC(t, { resources: { requests: { cpu: "2" } } }),
    "repaired",
  ),
  c(
    "nodeSelector",
    dep({}, { nodeSelector: { a: "1" } }),
    (t) => t.json([set(`${podOf}.nodeSelector.b`, "2")]),
    "repaired",
  ),
  c(
    "toleration",
    dep({}, { tolerations: [{ key: "a", operator: "Exists" }] }),
    (t) => t.json([set(`${podOf}.tolerations.-`, { key: "b", operator: "Exists" })]),
    "repaired",
  ),
  c(
    "container removed, other added: ours comes back, theirs stays",
    dep(),
    (t) => t.json([set(`${podOf}.containers`, [{ name: "x", image: "x" }])]),
    "repaired",
    {
      back: (live) => {
        const names = asList(at(live, `${podOf}.containers`)).map((item) => asMap(item)["name"]);
        return names.includes("c") && names.includes("x");
      },
    },
  ),
  c(
    "cpu 1000m rewritten as 1: no event",
    dep({ resources: { requests: { cpu: "1000m" } } }),
    (t) => inC(t, { resources: { requests: { cpu: "1" } } }),
    "untouched",
    kept(`${first}.resources.requests.cpu`, "1"),
  ),
  c(
    "✗ env reordered (keyed list)",
    envDep,
    (t) => t.json([{ op: "move", from: p(`${first}.env.1`), path: p(`${first}.env.0`) }]),
    "repaired",
  ),
  c(
    "✗ initContainers reordered (keyed list)",
    dep({}, { initContainers: inits }),
    (t) =>
      t.json([
        {
          op: "move",
          from: p(`${podOf}.initContainers.1`),
          path: p(`${podOf}.initContainers.0`),
        },
      ]),
    "repaired",
  ),
  c(
    "env name duplicated by PUT (last wins)",
    envDep,
    async (t) => {
      const containers = asList(at(await t.live(), `${podOf}.containers`)).map((item) => ({
        ...asMap(item),
        env: [...env, { name: "A", value: "9" }],
      }));
      return t.put({ spec: { template: { spec: { containers } } } });
    },
    "repaired",
    { writes: 4 },
  ),
  c(
    "env value to valueFrom: 422, cured",
    envDep,
    (t) =>
      t.json([
        drop(`${first}.env.0.value`),
        set(`${first}.env.0.valueFrom`, { fieldRef: { fieldPath: "metadata.name" } }),
      ]),
    "repaired",
    { writes: 4 },
  ),
  c(
    "emptyDir to hostPath: 422, cured",
    dep({}, { volumes: [{ name: "v", emptyDir: {} }] }),
    (t) =>
      t.json([
        drop(`${podOf}.volumes.0.emptyDir`),
        set(`${podOf}.volumes.0.hostPath`, { path: "/" }),
      ]),
    "repaired",
    { writes: 4, back: (live) => at(live, `${podOf}.volumes.0.hostPath`) === undefined },
  ),
  c(
    "containerPort protocol: 422, cured",
    dep({ ports: [{ name: "dns", containerPort: 53 }] }),
    (t) => t.json([set(`${first}.ports.0.protocol`, "UDP")]),
    "repaired",
    { writes: 4 },
  ),
  c("/scale: replicas ours", dep(), (t) => scale(t, "other"), "repaired"),
  c("/scale as manager capitan, Update", dep(), (t) => scale(t, "capitan"), "repaired"),
  c(
    "/scale as manager capitan, Apply",
    dep(),
    (t) =>
      t.api.send("PATCH", pathOf(t.declared, { sub: "scale" }), {
        manager: "capitan",
        type: "application/apply-patch+yaml",
        query: { force: "true" },
        body: doc("autoscaling/v1", "Scale", t.declared.metadata.name, { spec: { replicas: 3 } }),
      }),
    "repaired",
  ),
  c(
    "/scale: replicas not in manifest",
    dep({}, {}, { replicas: undefined }),
    (t) => scale(t, "horizontal-pod-autoscaler"),
    "untouched",
    kept("spec.replicas", 3),
  ),
  c(
    "/status PATCH: our annotation",
    (name) =>
      dep()(name).map((d) => merged(d, { metadata: { annotations: { a: "1" } } }) as KubeObject),
    (t) => t.merge({ metadata: { annotations: { a: "2" } } }, { sub: "status" }),
    "repaired",
  ),
  c(
    "/status PATCH: our label and spec: no event",
    (name) => dep()(name).map((d) => merged(d, { metadata: { labels: { a: "1" } } }) as KubeObject),
    (t) => t.merge({ metadata: { labels: { a: "2" } }, spec: { replicas: 5 } }, { sub: "status" }),
    "untouched",
    { ...kept("spec.replicas", 1), writes: 1 },
  ),
  c(
    "status, creationTimestamp: null, strategy: {}, resources: {} in manifest",
    (name) =>
      dep(
        { resources: {} },
        {},
        { strategy: {} },
      )(name).map((d) => ({
        ...d,
        metadata: { ...d.metadata, creationTimestamp: null as unknown as string },
        status: { replicas: 9 },
      })),
    (t) => t.merge({ metadata: { annotations: { x: "1" } } }),
    "untouched",
    kept("metadata.annotations.x", "1"),
  ),
];
