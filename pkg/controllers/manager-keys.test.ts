import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import type { Fleet } from "../api/index.ts";
import { bareCluster } from "../template/index.ts";
import type { KubeObject } from "../object/index.ts";
import { encryptFile, generateIdentity } from "../sops/index.ts";
import { identitySecret } from "./identities.ts";
import { managerKeys, newestActive } from "./manager-keys.ts";
import { Sources } from "./sources.ts";

const namespace = "fleet";
const name = "manager-key";
const made = () => ({ ...generateIdentity(randomBytes), created: new Date(0) });
const first = made();
const second = made();
const signal = new AbortController().signal;
const reader = { namespace, as: undefined };

const firstSecret: KubeObject = {
  apiVersion: "v1",
  kind: "Secret",
  metadata: { namespace, name, uid: "u" },
  data: { "manager.agekey": Buffer.from(`${first.identity}\n`).toString("base64") },
};
const manager = { namespace, name, isManager: true };

function mark(generation: number, state: string): KubeObject {
  const { metadata, ...secret } = identitySecret(manager, generation, second);
  const annotations = { "capitan.dev/age-state": state };
  const marked = `${name}-age-${generation}-${state}`;
  return { ...secret, data: {}, metadata: { ...metadata, name: marked, annotations } };
}

/** Everything is given, whatever was asked for: what is the manager's is seen here. */
const secretsOf = (...secrets: readonly KubeObject[]) => ({
  secretAs: (_: unknown, wanted: { readonly name: string }) =>
    Promise.resolve(wanted.name === name ? firstSecret : undefined),
  identitySecrets: () => Promise.resolve(secrets),
});

const statesIn = async (...secrets: readonly KubeObject[]) => {
  const { generations } = await managerKeys(secretsOf(...secrets), reader, name, signal);
  return generations.map(
    ({ generation, state, identity }) =>
      `${generation} ${state} ${identity.recipient === first.recipient ? "first" : "second"}`,
  );
};

const later = identitySecret(manager, 2, second);
const table: readonly [what: string, secrets: readonly KubeObject[], states: readonly string[]][] =
  [
    ["the first is what the Secret of that name holds", [], ["1 active first"]],
    ["later ones are beside it", [later], ["1 active first", "2 active second"]],
    [
      "marks say what has become of the first too, and retired is the last word",
      [later, mark(1, "retired"), mark(1, "ending")],
      ["1 retired first", "2 active second"],
    ],
    [
      "a Cluster of the same name has keys of its own",
      [identitySecret({ namespace, name }, 2, second)],
      ["1 active first"],
    ],
    [
      "another Secret is never the first generation",
      [identitySecret(manager, 1, second)],
      ["1 active first"],
    ],
  ];
for (const [what, secrets, states] of table)
  test(`the manager's keys: ${what}`, async () => {
    assert.deepEqual(await statesIn(...secrets), states);
  });

test("one encrypts to the newest key of the manager that does not end", async () => {
  const recipients = async (...secrets: readonly KubeObject[]) =>
    newestActive(await managerKeys(secretsOf(...secrets), reader, name, signal)).map(
      ({ identity }) => identity.recipient,
    );
  assert.deepEqual(await recipients(), [first.recipient]);
  assert.deepEqual(await recipients(later), [second.recipient]);
  assert.deepEqual(await recipients(later, mark(2, "ending")), [first.recipient]);
});

test("SecretNotFound: without the Secret that Fleets name there is no manager", async () => {
  const none = { ...secretsOf(later), secretAs: () => Promise.resolve(undefined) };
  await assert.rejects(managerKeys(none, reader, name, signal), { code: "SecretNotFound" });
});

const fleet: Fleet = {
  apiVersion: "capitan.dev/v1alpha1",
  kind: "Fleet",
  metadata: { namespace, name: "f" },
  spec: {
    clusterSelector: {},
    suspend: false,
    interval: "10m",
    deletionPolicy: "Delete",
    layers: [
      {
        name: "config",
        wait: true,
        timeout: "5m",
        oci: { url: "oci://registry.example/config", ref: { tag: "stable" } },
        decryption: { provider: "sops", secretRef: { name } },
      },
    ],
  },
};

/** Sources whose one file is encrypted to the first key of the manager. */
async function sourcesWith(...secrets: readonly KubeObject[]): Promise<Sources> {
  const text = JSON.stringify({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "s" },
    data: {},
  });
  const chance = { random: randomBytes, now: () => new Date() };
  const options = { format: "json", groups: [[first.recipient]] } as const;
  const rule = { kind: "encrypted_regex", pattern: "^data$" } as const;
  const content = await encryptFile(Buffer.from(text), { ...options, rule }, chance);
  return new Sources({
    secrets: secretsOf(...secrets),
    configMaps: { configMapAs: () => Promise.resolve(undefined) },
    renderer: { render: () => Promise.reject(new Error("there is no template here")) },
    gitRepositories: () => assert.fail("no Git here"),
    repositories: () => ({
      resolve: () => Promise.resolve(`sha256:${"2".repeat(64)}`),
      tags: () => Promise.resolve([]),
      pull: () => Promise.resolve(new Map([["s.sops.json", { content }]])),
      close: () => Promise.resolve(),
    }),
  });
}

test("KeyRetired: with a key that ends nothing new is pinned, and what is pinned is opened until it is retired", async () => {
  const cluster = bareCluster("c", namespace);
  const audience = { fleet: { namespace, name: "f" }, as: undefined, cluster };
  const [layer] = (await (await sourcesWith(later)).resolve(fleet, undefined, signal)).layers;
  assert.ok(layer);
  const ending = await sourcesWith(later, mark(1, "ending"));
  const loaded = await ending.load(layer, audience, signal);
  assert.equal(loaded.artifact?.length, 1);
  // What was opened for one is not there for the other.
  const refused = { code: "KeyRetired", message: /layer config: .*of the manager only/ };
  await assert.rejects(ending.resolve(fleet, undefined, signal), refused);
  const retired = await sourcesWith(later, mark(1, "ending"), mark(1, "retired"));
  await assert.rejects(retired.load(layer, audience, signal), refused);
});
