import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fleet, Layer } from "../api/index.ts";
import { CapitanError } from "../errors/index.ts";
import type { GitRef } from "../gitdata/index.ts";
import type { KubeObject } from "../object/index.ts";
import type { ArtifactFiles } from "../oci/index.ts";
import type { GitAccess } from "./ports.ts";
import { Sources } from "./sources.ts";

const cluster = {
  name: "c",
  namespace: "fleet",
  labels: {},
  annotations: {},
  version: null,
  topology: { class: null, version: null, variables: {} },
  controlPlaneEndpoint: { host: null, port: null },
  kinds: { infrastructure: null, controlPlane: null },
};
const audience = { fleet: { namespace: "fleet", name: "f" }, as: undefined, cluster };
const commit = "1".repeat(40);
const digest = `sha256:${"2".repeat(64)}`;
const signal = new AbortController().signal;
const configMap = (name: string) =>
  JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name } });
const filesOf = (files: Readonly<Record<string, string>>): ArtifactFiles =>
  new Map(Object.entries(files).map(([path, text]) => [path, { content: Buffer.from(text) }]));

/** Sources over one registry and one Git server that note what they are asked. */
function world(secrets: Readonly<Record<string, KubeObject>> = {}, isDown = false) {
  const asked: unknown[] = [];
  const accesses: GitAccess[] = [];
  const artifact = filesOf({ "a.yaml": configMap("a"), "dir/b.yaml": configMap("b") });
  const registry = {
    resolve: () => Promise.resolve(digest),
    tags: () => Promise.resolve(["v2.9.0"]),
    pull: () => Promise.resolve(artifact),
    close: () => Promise.resolve(),
  };
  const sources = new Sources({
    secrets: {
      secretAs: (_, { name }) => Promise.resolve(secrets[name]),
      identitySecrets: () => Promise.resolve([]),
    },
    configMaps: { configMapAs: () => Promise.resolve(undefined) },
    renderer: { render: () => Promise.reject(new Error("there is no template here")) },
    repositories: () => registry,
    gitRepositories: (_location, access) => {
      accesses.push(access);
      if (isDown) throw new CapitanError("GitUnreachable", "down");
      return {
        resolve: (ref: GitRef) => {
          asked.push(ref);
          return Promise.resolve({ commit, revision: `main@sha1:${commit}` });
        },
        fetch: (request) => {
          asked.push(request);
          return Promise.resolve(filesOf({ "c.yaml": configMap("c") }));
        },
      };
    },
  });
  return { sources, asked, accesses };
}

function fleetOf(...layers: readonly Partial<Layer>[]): Fleet {
  const base = { wait: true, timeout: "5m" };
  return {
    apiVersion: "capitan.dev/v1alpha1",
    kind: "Fleet",
    metadata: { namespace: "fleet", name: "f" },
    spec: {
      clusterSelector: {},
      suspend: false,
      interval: "10m",
      deletionPolicy: "Delete",
      layers: layers.map((layer, i) => ({ ...base, name: `l${i}`, ...layer })),
    },
  };
}

const git = { url: "https://git.example/r", secretRef: { name: "git" } };
const gitSecret = (data: Readonly<Record<string, string>>): KubeObject => ({
  apiVersion: "v1",
  kind: "Secret",
  metadata: { namespace: "fleet", name: "git" },
  data: Object.fromEntries(Object.entries(data).map(([key, value]) => [key, btoa(value)])),
});

test("a Git layer is pinned to its commit, and read by it with the Secret beside the Fleet", async () => {
  const { sources, asked, accesses } = world({ git: gitSecret({ bearerToken: "t" }) });
  const fleet = fleetOf({ git: { ...git, ref: { branch: "main" } }, path: "./config" });
  const { layers } = await sources.resolve(fleet, undefined, signal);
  const [layer] = layers;
  assert.deepEqual(
    [layer?.git?.commit, layer?.git?.revision, layer?.path],
    [commit, `main@sha1:${commit}`, "./config"],
  );
  assert.deepEqual(asked, [
    { branch: "main" },
    { commit, path: "./config", ref: { branch: "main" } },
  ]);
  const [{ namespace, credentials, secret } = { namespace: "", credentials: {}, secret: "" }] =
    accesses;
  assert.deepEqual(
    [namespace, credentials.authorization, secret],
    ["fleet", "Bearer t", "Secret fleet/git"],
  );
  assert.ok(layer !== undefined);
  const { artifact } = await sources.load(layer, audience, signal);
  assert.deepEqual(
    artifact?.map(({ metadata }) => metadata.name),
    ["c"],
  );
  assert.equal(asked.length, 2, "what was read is not read again");
});

test("what is wrong with a Git layer is said with its name", async () => {
  const cases: readonly (readonly [
    Partial<Layer>,
    Readonly<Record<string, KubeObject>>,
    string,
  ])[] = [
    [{ git }, {}, "SecretNotFound"],
    [{ git }, { git: gitSecret({ username: "u" }) }, "SecretInvalid"],
    [{ git: { url: "git@git.example:r" } }, {}, "RefInvalid"],
    [{ git: { url: "http://git.example/r" } }, {}, "RefInvalid"],
  ];
  for (const [layer, secrets, code] of cases)
    await assert.rejects(world(secrets).sources.resolve(fleetOf(layer), undefined, signal), {
      code,
      message: /^layer l0: /,
    });
  const down = world({}, true).sources.resolve(
    fleetOf({ git: { url: git.url } }),
    undefined,
    signal,
  );
  await assert.rejects(down, { code: "GitUnreachable" });
});

test("path is a directory of an OCI artifact too", async () => {
  const { sources } = world();
  const oci = { url: "oci://r.example/a" };
  const { layers } = await sources.resolve(fleetOf({ oci, path: "./dir" }), undefined, signal);
  const [layer] = layers;
  assert.ok(layer !== undefined);
  const { artifact } = await sources.load(layer, audience, signal);
  assert.deepEqual(
    artifact?.map(({ metadata }) => metadata.name),
    ["b"],
  );
  for (const path of ["./nope", "./../dir", "/dir"])
    await assert.rejects(sources.resolve(fleetOf({ oci, path }), undefined, signal), {
      code: "PathNotFound",
      message: `layer l0: the source has no file at ${JSON.stringify(path)}`,
    });
});

test("flux.sync.git is pinned to a commit, or followed by the cluster's own Flux", async () => {
  const { sources, asked } = world({ git: gitSecret({ bearerToken: "t" }) });
  const flux = (follow: "Pinned" | "Tag", ref: GitRef) => ({
    flux: {
      version: "2.x",
      artifact: { url: "oci://r.example/flux" },
      tenancy: "Single" as const,
      sync: { git: { ...git, ref }, path: "./", interval: "10m", follow },
    },
  });
  const syncOf = async (layer: Partial<Layer>) =>
    (await sources.resolve(fleetOf(layer), undefined, signal)).layers[0]?.flux?.sync?.git;
  assert.deepEqual(await syncOf(flux("Pinned", { branch: "main" })), {
    ...git,
    ref: { branch: "main", commit },
    revision: `main@sha1:${commit}`,
  });
  assert.deepEqual((await syncOf(flux("Pinned", { tag: "v1" })))?.ref, { commit });
  assert.equal(asked.length, 2);
  assert.deepEqual(await syncOf(flux("Tag", { tag: "v1" })), { ...git, ref: { tag: "v1" } });
  assert.equal(asked.length, 2);
});
