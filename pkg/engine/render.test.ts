import assert from "node:assert/strict";
import { test } from "node:test";
import type { RevisionLayer } from "../api/index.ts";
import { parseManifests, type KubeObject } from "../object/index.ts";
import { parseFiles, orderLayers, placeLayers, renderLayer, renderLayers } from "./index.ts";

const files = (map: Record<string, string>) =>
  new Map(Object.entries(map).map(([name, text]) => [name, { content: Buffer.from(text) }]));
const configMap = (name: string) =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}, namespace: a}\n`;

test("reads .yaml, .yml and .json, and nothing else", () => {
  const objects = parseFiles(
    files({
      "a.yaml": configMap("a"),
      "b/b.yml": configMap("b"),
      "c.json": JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "c" } }),
      "README.md": "# no",
    }),
  );
  assert.deepEqual(
    objects.map((o) => o.metadata.name),
    ["a", "b", "c"],
  );
});

for (const [what, map, code] of [
  [
    "a kustomization",
    { "a.yaml": configMap("a"), "x/kustomization.yaml": "resources: []" },
    "KustomizeNotRendered",
  ],
  [
    "the same object twice",
    { "a.yaml": configMap("a"), "b.yaml": configMap("a") },
    "DuplicateObject",
  ],
  ["a file that is no YAML", { "a.yaml": "a: [" }, "ManifestInvalid"],
] as const) {
  test(`refuses an artifact with ${what}`, () =>
    assert.throws(() => parseFiles(files(map)), { code }));
}

const labels = (component: string) =>
  `labels: {app.kubernetes.io/component: ${component}, app.kubernetes.io/version: v2.9.4}`;
const flux = parseManifests(
  `
apiVersion: v1
kind: Namespace
metadata: {name: flux-system}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: source-controller, namespace: flux-system, ${labels("source-controller")}}
spec: {template: {spec: {containers: [{name: manager, image: "ghcr.io/fluxcd/source-controller:v1.9.4"}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: helm-controller, namespace: flux-system, ${labels("helm-controller")}}
spec: {template: {spec: {containers: [{name: manager, image: "ghcr.io/fluxcd/helm-controller:v1.6.3"}]}}}
`,
  "f",
);

const layer = (more: object): RevisionLayer => ({
  name: "flux",
  wait: true,
  timeout: "5m",
  deletionPolicy: "Orphan",
  dependsOn: [],
  ...more,
});
const fluxLayer = (more: object) =>
  layer({ flux: { url: "oci://a/b", digest: "d", revision: "r", version: "v2.9.4", ...more } });
const deploymentsOf = (objects: readonly KubeObject[]) =>
  objects.filter((o) => o.kind === "Deployment");

test("components filters what is labelled and keeps what is shared", () => {
  const objects = renderLayer(fluxLayer({ components: ["source-controller"] }), { artifact: flux });
  assert.deepEqual(
    objects.map((o) => o.metadata.name),
    ["flux-system", "source-controller"],
  );
});

test("without components everything in the artifact is installed", () => {
  assert.equal(renderLayer(fluxLayer({}), { artifact: flux }).length, 3);
});

test("an unknown component is named, with those that there are", () => {
  assert.throws(() => renderLayer(fluxLayer({ components: ["nope"] }), { artifact: flux }), {
    code: "ComponentUnknown",
    message: /nope; it has helm-controller, source-controller/,
  });
});

test("registry relocates every image and keeps its tag", () => {
  const text = JSON.stringify(
    deploymentsOf(
      renderLayer(fluxLayer({ registry: "mirror.example:5000/flux" }), { artifact: flux }),
    ),
  );
  assert.match(text, /mirror\.example:5000\/flux\/source-controller:v1\.9\.4/);
  assert.doesNotMatch(text, /ghcr/);
});

test("Lockdown sets Flux's multi-tenancy flags, each once, and nothing else", () => {
  const argsOf = (tenancy: "Single" | "Lockdown", name: string) => {
    const objects = renderLayer(fluxLayer({ tenancy }), { artifact: flux });
    const found = deploymentsOf(objects).find(({ metadata }) => metadata.name === name);
    const { containers } = (found as unknown as Pods).spec.template.spec;
    return containers[0]?.args ?? [];
  };
  const added = (name: string) =>
    argsOf("Lockdown", name).filter((arg) => !argsOf("Single", name).includes(arg));
  assert.deepEqual(added("helm-controller"), [
    "--no-cross-namespace-refs=true",
    "--default-service-account=default",
  ]);
  assert.deepEqual(added("source-controller"), []);
});

type Pods = {
  readonly spec: {
    readonly template: {
      readonly spec: { readonly containers: readonly { readonly args: readonly string[] }[] };
    };
  };
};

test("sync becomes a source and a Kustomization by the names that flux bootstrap gives", () => {
  const render = (more: object) =>
    renderLayer(fluxLayer({ ...more }), { artifact: flux }).slice(-2) as readonly KubeObject[];
  const place = { path: "./clusters/a", interval: "10m" };
  const url = "oci://registry.example/config";
  const digest = `sha256:${"a".repeat(64)}`;
  const secretRef = { name: "s" };
  const [source, kustomization] = render({
    tenancy: "Lockdown",
    sync: { ...place, oci: { url, ref: { digest }, secretRef } },
  });
  const metadata = { name: "flux-system", namespace: "flux-system" };
  assert.deepEqual(source, {
    apiVersion: "source.toolkit.fluxcd.io/v1",
    kind: "OCIRepository",
    metadata,
    spec: { interval: "10m", url, ref: { digest }, secretRef },
  });
  assert.deepEqual(kustomization, {
    apiVersion: "kustomize.toolkit.fluxcd.io/v1",
    kind: "Kustomization",
    metadata,
    spec: {
      interval: "10m",
      path: "./clusters/a",
      prune: true,
      sourceRef: { kind: "OCIRepository", name: "flux-system" },
      serviceAccountName: "kustomize-controller",
    },
  });
  const [git] = render({ sync: { ...place, git: { url: "https://git.example/a" } } });
  assert.equal(git?.kind, "GitRepository");
  assert.deepEqual(git?.["spec"], {
    interval: "10m",
    url: "https://git.example/a",
    ref: { branch: "main" },
  });
});

test("sync without the controllers that act on it is refused", () => {
  const sync = { path: "./", interval: "10m", git: { url: "https://git.example/a" } };
  const layer = fluxLayer({ sync, components: ["source-controller"] });
  assert.throws(() => renderLayer(layer, { artifact: flux }), /sync needs kustomize-controller/);
});

test("imagePullSecret is named in each Deployment and planted beside them", () => {
  const imagePullSecret: KubeObject = {
    apiVersion: "v1",
    kind: "Secret",
    type: "kubernetes.io/dockerconfigjson",
    metadata: { name: "pull", namespace: "fleet", uid: "x" },
    data: { ".dockerconfigjson": "e30=" },
  };
  const objects = renderLayer(fluxLayer({ imagePullSecret: "pull" }), {
    artifact: flux,
    planted: [imagePullSecret],
  });
  for (const d of deploymentsOf(objects))
    assert.match(JSON.stringify(d), /"imagePullSecrets":\[\{"name":"pull"\}\]/);
  assert.deepEqual(objects.at(-1), {
    apiVersion: "v1",
    kind: "Secret",
    type: "kubernetes.io/dockerconfigjson",
    metadata: { name: "pull", namespace: "flux-system" },
    data: { ".dockerconfigjson": "e30=" },
  });
});

test("include keeps what matches; matching nothing is an error, not an empty layer", () => {
  const include = { matchLabels: { "app.kubernetes.io/component": "helm-controller" } };
  assert.equal(renderLayer(layer({ oci: {}, include }), { artifact: flux }).length, 1);
  assert.throws(
    () => renderLayer(layer({ oci: {}, include: { matchLabels: { a: "b" } } }), { artifact: flux }),
    { code: "ManifestInvalid", message: /^layer flux: include matches no object/ },
  );
});

test("layers come after those they depend on, else in their order", () => {
  const names = orderLayers([{ name: "c", dependsOn: ["a"] }, { name: "b" }, { name: "a" }]).map(
    (l) => l.name,
  );
  assert.deepEqual(names, ["b", "a", "c"]);
});

const circles: readonly (readonly [string, readonly { name: string; dependsOn: string[] }[]])[] = [
  ["a layer that is not there", [{ name: "a", dependsOn: ["b"] }]],
  ["itself", [{ name: "a", dependsOn: ["a"] }]],
  [
    "each other",
    [
      { name: "a", dependsOn: ["b"] },
      { name: "b", dependsOn: ["a"] },
    ],
  ],
];
for (const [what, layers] of circles) {
  test(`a layer that depends on ${what} is DependencyInvalid`, () =>
    assert.throws(() => orderLayers(layers), { code: "DependencyInvalid" }));
}

const revision = {
  apiVersion: "v",
  kind: "FleetRevision",
  metadata: { name: "r" },
  spec: { fleetRef: { name: "f" }, layers: [fluxLayer({})] },
} as const;
const placement = { owner: "me", secretKey: Buffer.from("k"), isHub: false };

test("a kind that the cluster does not know is UnknownKind, and the layer has no object", () => {
  const [rendered] = renderLayers(revision, new Map([["flux", { artifact: flux }]]));
  assert.ok(rendered !== undefined);
  const [placed] = placeLayers(
    [rendered],
    placement,
    new Map([["v1 Namespace", { namespaced: false }]]),
  );
  assert.equal(placed?.objects.length, 0);
  assert.deepEqual(placed?.problem, {
    code: "UnknownKind",
    message: "the cluster does not serve apps/v1 Deployment",
  });
});

test("namespaced objects without a namespace go to default, cluster-scoped ones to none, digests of Secrets need the key", () => {
  const objects = parseManifests(
    `${configMap("a")}---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: b}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: ns1, namespace: x}\n`,
    "f",
  );
  const scopes = new Map([
    ["v1 ConfigMap", { namespaced: true }],
    ["v1 Secret", { namespaced: true }],
    ["v1 Namespace", { namespaced: false }],
  ]);
  const rendered = {
    name: "l",
    dependsOn: [],
    wait: true,
    timeoutMs: 1,
    policy: "Delete",
    adopt: false,
    isFlux: false,
    objects,
  } as const;
  const place = (secretKey: string) => {
    const placement = { owner: "me", secretKey: Buffer.from(secretKey), isHub: false };
    return placeLayers([rendered], placement, scopes)[0]?.objects ?? [];
  };
  assert.deepEqual(
    place("k").map((o) => o.key),
    ["/Namespace//ns1", "/ConfigMap/a/a", "/Secret/default/s"],
  );
  const digests = (secretKey: string) => place(secretKey).map((o) => o.digest);
  assert.deepEqual(digests("k").slice(0, 2), digests("other").slice(0, 2));
  assert.notEqual(digests("k")[2], digests("other")[2]);
});

test("an object in two layers is DuplicateObject in the later one; Capitan's own objects are refused", () => {
  const place = (...names: readonly (readonly [string, string])[]) => {
    const layers = names.map(([name, ns]) => ({
      name,
      dependsOn: [],
      wait: true,
      timeoutMs: 1,
      policy: "Delete" as const,
      adopt: false,
      isFlux: false,
      objects: parseManifests(configMap("a").replace("namespace: a", `namespace: ${ns}`), "f"),
    }));
    return placeLayers(layers, placement, new Map([["v1 ConfigMap", { namespaced: true }]]));
  };
  const codes = (layers: ReturnType<typeof place>) => layers.map((l) => l.problem?.code);
  assert.deepEqual(codes(place(["x", "a"], ["y", "a"])), [undefined, "DuplicateObject"]);
  assert.deepEqual(codes(place(["x", "capitan-system"])), ["ManifestInvalid"]);
});
