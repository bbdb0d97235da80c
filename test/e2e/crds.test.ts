import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import { crds } from "../../pkg/api/index.ts";
import { asMap } from "../../pkg/json/index.ts";
import type { KubeClient } from "../../pkg/kube/index.ts";
import { parseManifests, type KubeObject } from "../../pkg/object/index.ts";
import { root } from "../../hack/lab/paths.ts";
import {
  configMap,
  deleteNow,
  inline,
  namespace,
  resources,
  sharedHub,
  sharedLab,
} from "../harness/index.ts";

let hub: KubeClient;
before(async () => {
  hub = await sharedHub();
});
after(() => hub.close());

const good = {
  clusterSelector: { matchLabels: { env: "nowhere" } },
  layers: [inline("l", [configMap("a")])],
};
const fleet = (spec: object, name = "crd-test"): KubeObject => ({
  apiVersion: "capitan.dev/v1alpha1",
  kind: "Fleet",
  metadata: { namespace, name },
  spec,
});
const apply = (spec: object) => hub.apply(resources.fleet, fleet(spec), { manager: "test" });
const layer = (more: object) => ({ ...good, layers: [{ name: "l", ...more }] });

test("defaults are filled in by the API server", async () => {
  const { object } = await apply(good);
  const spec = object["spec"] as {
    suspend: boolean;
    interval: string;
    deletionPolicy: string;
    layers: { wait: boolean; timeout: string }[];
  };
  assert.deepEqual(
    [
      spec.suspend,
      spec.interval,
      spec.deletionPolicy,
      spec.layers[0]?.wait,
      spec.layers[0]?.timeout,
    ],
    [false, "10m", "Delete", true, "5m"],
  );
  assert.equal((object["status"] as { observedGeneration: number }).observedGeneration, -1);
});

const refused: readonly (readonly [what: string, spec: object, field: RegExp])[] = [
  ["no selector", { layers: good.layers }, /exactly one of clusterSelector and target/],
  ["no list of layers", { clusterSelector: good.clusterSelector }, /spec\.layers/],
  [
    "two layers of one name",
    { ...good, layers: [...good.layers, ...good.layers] },
    /spec\.layers|name="l"/,
  ],
  ["a layer without a source", layer({}), /exactly one of oci, git, flux and inline/],
  [
    "a layer with two sources",
    layer({ inline: [configMap("a")], oci: { url: "oci://a/b" } }),
    /exactly one of oci, git, flux and inline/,
  ],
  ["a layer name with capitals", { ...good, layers: [inline("Layer", [configMap("a")])] }, /name/],
  ["a URL without oci://", layer({ oci: { url: "https://a/b" } }), /oci\.url/],
  ["a URL with a tag", layer({ oci: { url: "oci://a/b:v1" } }), /oci\.url/],
  [
    "a tag and a digest",
    layer({ oci: { url: "oci://a/b", ref: { tag: "a", digest: `sha256:${"a".repeat(64)}` } } }),
    /at most one of tag, semver and digest/,
  ],
  [
    "a short digest",
    layer({ oci: { url: "oci://a/b", ref: { digest: "sha256:12" } } }),
    /ref\.digest/,
  ],
  [
    "a Git URL with a login",
    layer({ git: { url: "https://user:password@git.example/r" } }),
    /git\.url/,
  ],
  ["a Git URL that is an option", layer({ git: { url: "--upload-pack=id" } }), /git\.url/],
  [
    "a branch and a tag",
    layer({ git: { url: "https://git.example/r", ref: { branch: "a", tag: "b" } } }),
    /at most one of branch, tag, semver and name/,
  ],
  [
    "a short name of a reference",
    layer({ git: { url: "https://git.example/r", ref: { name: "main" } } }),
    /name begins with refs\//,
  ],
  [
    "a path that leads out",
    layer({ oci: { url: "oci://a/b" }, path: "./../x" }),
    /must be a relative path inside the source/,
  ],
  [
    "a path of what has none",
    layer({ inline: [configMap("a")], path: "./x" }),
    /path, values and decryption need a source with files: oci or git/,
  ],
  ["flux without a version", layer({ flux: { artifact: { url: "oci://a/b" } } }), /flux\.version/],
  [
    "a selector and a target",
    { ...good, target: "Management" },
    /exactly one of clusterSelector and target/,
  ],
  ["another target", { layers: good.layers, target: "Everything" }, /target/],
  [
    "Flux for the hub itself",
    { target: "Management", layers: [{ name: "l", flux: { version: "2.9.4" } }] },
    /target: Management takes oci, git and inline layers/,
  ],
  ["an interval that is no duration", { ...good, interval: "soon" }, /spec\.interval/],
  ["an interval of nothing", { ...good, interval: "0s" }, /between 1s and 8760h/],
  ["an unknown deletionPolicy", { ...good, deletionPolicy: "Maybe" }, /deletionPolicy/],
  ["a field that does not exist yet", { ...good, rollout: {} }, /rollout/],
  [
    "a serviceAccountName that leaves the namespace",
    { ...good, serviceAccountName: "other:admin" },
    /serviceAccountName/,
  ],
  [
    "an inline object without kind",
    layer({ inline: [{ apiVersion: "v1", metadata: { name: "a" } }] }),
    /kind/,
  ],
  [
    "an unknown selector operator",
    { ...good, clusterSelector: { matchExpressions: [{ key: "a", operator: "Gt" }] } },
    /operator/,
  ],
];

for (const [what, spec, field] of refused) {
  test(`the API server refuses ${what}, and names it`, async () => {
    await assert.rejects(apply(spec), { message: field });
  });
}

const receiver = (more: object) =>
  hub.apply(
    resources.receiver,
    {
      apiVersion: "capitan.dev/v1alpha1",
      kind: "Receiver",
      metadata: { namespace, name: "crd-test" },
      spec: {
        type: "github",
        secretRef: { name: "receiver-token" },
        resources: [{ kind: "Fleet", name: "a" }],
        ...more,
      },
    },
    { manager: "test", dryRun: true },
  );
const refusedReceivers: readonly (readonly [what: string, spec: object, field: RegExp])[] = [
  ["an unknown type", { type: "bitbucket" }, /spec\.type/],
  ["no resources", { resources: [] }, /spec\.resources/],
  ["another kind", { resources: [{ kind: "Secret", name: "a" }] }, /kind/],
  ["a resource without name and labels", { resources: [{ kind: "Fleet" }] }, /exactly one of name/],
  [
    "a resource with both",
    { resources: [{ kind: "Fleet", name: "a", matchLabels: {} }] },
    /exactly one of name and matchLabels/,
  ],
  [
    "a resource of another namespace",
    { resources: [{ kind: "Fleet", name: "a", namespace: "b" }] },
    /namespace/,
  ],
  [
    "events of what names none",
    { type: "distribution", events: ["push"] },
    /events is for github, gitlab and gitea/,
  ],
];

test("the API server refuses Receivers that make no sense, and names why; one that does has defaults", async () => {
  for (const [what, spec, field] of refusedReceivers)
    await assert.rejects(receiver(spec), { message: field }, what);
  const { object } = await receiver({ events: ["push", "release"] });
  assert.equal((object["spec"] as { suspend: boolean }).suspend, false);
});

test("every Receiver of docs/receivers.md and the Fleet of docs/install.md are accepted as they are", async () => {
  const pages = { "receivers.md": resources.receiver, "install.md": resources.fleet };
  for (const [page, resource] of Object.entries(pages)) {
    const text = await readFile(join(root, "docs", page), "utf8");
    const blocks = [...text.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, yaml = ""]) => yaml);
    const found = blocks.filter((yaml) => yaml.includes(`kind: ${resource.kind}\n`));
    assert.ok(found.length > 0);
    for (const object of found.flatMap((yaml) => parseManifests(yaml, page)))
      await hub.apply(resource, object, { manager: "test", dryRun: true });
  }
});

test("a FleetRevision cannot be changed", async () => {
  const revision = (name: string): KubeObject => ({
    apiVersion: "capitan.dev/v1alpha1",
    kind: "FleetRevision",
    metadata: { namespace, name: "crd-rev" },
    spec: { fleetRef: { name }, layers: [] },
  });
  await hub.apply(resources.fleetRevision, revision("a"), { manager: "test" });
  await assert.rejects(hub.apply(resources.fleetRevision, revision("b"), { manager: "test" }), {
    message: /immutable/,
  });
});

test("a KeyRotation says how to deliver and prove by default, and cannot be changed", async () => {
  const rotation = (ends: number): KubeObject => ({
    apiVersion: "capitan.dev/v1alpha1",
    kind: "KeyRotation",
    metadata: { namespace, name: "crd-rotation" },
    spec: {
      clusters: [{ name: "nobody", ends }],
      repository: { url: "https://git.example/fleet", secretRef: { name: "none" } },
      decryption: { secretRef: { name: "none" } },
    },
  });
  const options = { manager: "test" };
  const { object } = await hub.apply(resources.keyRotation, rotation(1), options);
  const spec = asMap(object["spec"]);
  const { branch, delivery } = asMap(spec["repository"]);
  assert.deepEqual([branch, delivery], ["main", "Push"]);
  assert.deepEqual(
    [spec["rollout"], spec["reason"], spec["dryRun"]],
    ["Proven", "Scheduled", false],
  );
  await assert.rejects(hub.apply(resources.keyRotation, rotation(2), options), {
    message: /immutable/,
  });
  await assert.rejects(hub.apply(resources.keyRotation, rotation(0), options), {
    message: /clusters\[0\]\.ends/,
  });
  const nobodys = { ...asMap(rotation(1)["spec"]), clusters: [] };
  const nobody = { ...rotation(1), metadata: { namespace, name: "crd-nobody" }, spec: nobodys };
  await assert.rejects(hub.apply(resources.keyRotation, nobody, options), {
    message: /clusters, manager or both/,
  });
  const managers = { ...nobody, spec: { ...nobodys, manager: { ends: 1 } } };
  await hub.apply(resources.keyRotation, managers, { ...options, dryRun: true });
  const live = await hub.get(resources.keyRotation, { namespace, name: "crd-rotation" });
  assert.ok(live);
  await hub.delete(resources.keyRotation, live);
});

test("a Fleet rotates keys at the age of an hour or more, with the controller's rights", async () => {
  const wanted = (rotateEvery: string, more: object = {}) => {
    const secretRef = { name: "none" };
    const repository = { url: "https://git.example/fleet", secretRef };
    const rotation = { rotateEvery, repository, decryption: { secretRef } };
    return fleet({ ...good, rotation, ...more }, "crd-rotates");
  };
  const options = { manager: "test", dryRun: true };
  await hub.apply(resources.fleet, wanted("2160h"), options);
  await assert.rejects(hub.apply(resources.fleet, wanted("59m"), options), {
    message: /between 1h and 8760h/,
  });
  const owned = wanted("1h", { serviceAccountName: "team" });
  await assert.rejects(hub.apply(resources.fleet, owned, options), {
    message: /neither target nor serviceAccountName/,
  });
});

test("a SecretRotation restarts workloads by default, holds digests only, and cannot be changed", async () => {
  const rotation = (value: string): KubeObject => ({
    apiVersion: "capitan.dev/v1alpha1",
    kind: "SecretRotation",
    metadata: { namespace, name: "crd-value" },
    spec: {
      repository: { url: "https://git.example/fleet" },
      commit: "a".repeat(40),
      clusters: ["nobody"],
      files: [
        {
          path: "db.sops.yaml",
          key: '["stringData"]["password"]',
          value,
          replaces: "b".repeat(64),
          modified: "2026-01-02T03:04:05Z",
        },
      ],
    },
  });
  const options = { manager: "test" };
  await assert.rejects(hub.apply(resources.secretRotation, rotation("a password"), options), {
    message: /files\[0\]\.value/,
  });
  const { object } = await hub.apply(resources.secretRotation, rotation("c".repeat(64)), options);
  assert.equal(asMap(object["spec"])["restart"], true);
  await assert.rejects(hub.apply(resources.secretRotation, rotation("d".repeat(64)), options), {
    message: /immutable/,
  });
  await deleteNow(hub, resources.secretRotation, { namespace, name: "crd-value" });
});

test("kubectl get shows the columns that people need", async () => {
  const accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
  const columns = async (plural: string) => {
    const table = (await hub.raw(`/apis/capitan.dev/v1alpha1/namespaces/${namespace}/${plural}`, {
      accept,
    })) as { columnDefinitions: { name: string }[] };
    return table.columnDefinitions.map((c) => c.name);
  };
  assert.deepEqual(await columns("fleets"), ["Name", "Ready", "Revision", "Status", "Age"]);
  assert.deepEqual(await columns("keyrotations"), ["Name", "Ready", "Clusters", "Status", "Age"]);
  const sameColumns = await columns("secretrotations");
  assert.deepEqual(sameColumns, ["Name", "Ready", "Clusters", "Status", "Age"]);
  assert.deepEqual(await columns("fleetmembers"), [
    "Name",
    "Cluster",
    "Fleet",
    "Revision",
    "Ready",
    "Status",
    "Age",
  ]);
  assert.deepEqual(await columns("receivers"), ["Name", "Type", "Path", "Ready", "Status", "Age"]);
});

test("the CRDs in docs are those of the code", async () => {
  for (const crd of crds) {
    const text = await readFile(join(root, "docs", "crds", `${crd.metadata.name}.yaml`), "utf8");
    assert.deepEqual(parse(text), JSON.parse(JSON.stringify(crd)));
  }
});

test("the demo's Fleet is accepted as it is", async () => {
  const file = join(root, "hack", "demo", "platform.yaml");
  const text = (await readFile(file, "utf8")).replaceAll("REGISTRY", (await sharedLab()).registry);
  const [object] = parseManifests(text, file);
  const renamed = { ...(object as KubeObject), metadata: { namespace, name: "crd-demo" } };
  assert.equal((await hub.apply(resources.fleet, renamed, { manager: "test" })).created, true);
});

test("capitan install can be repeated", async () => {
  const { capitan } = await import("../harness/index.ts");
  const { code, stdout } = await capitan(["install"]);
  assert.equal(code, 0);
  assert.match(stdout, /CustomResourceDefinition\/fleets\.capitan\.dev applied/);
});
