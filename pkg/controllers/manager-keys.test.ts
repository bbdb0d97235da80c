import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import type { KubeObject } from "../object/index.ts";
import { generateIdentity } from "../sops/index.ts";
import { identitySecret } from "./identities.ts";
import { managerKeys, newestActive } from "./manager-keys.ts";

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
