import assert from "node:assert/strict";
import { test } from "node:test";
import { apiErrorOf } from "./api-error.ts";
import { decodeWatch } from "./watch.ts";

const resource = {
  group: "",
  version: "v1",
  kind: "ConfigMap",
  plural: "configmaps",
  namespaced: true,
};
const event = (type: string, name: string) =>
  `${JSON.stringify({ type, object: { metadata: { name, resourceVersion: "5" } } })}\n`;

async function decode(...chunks: readonly (string | Buffer)[]): Promise<readonly string[]> {
  async function* stream() {
    for (const chunk of chunks) yield Buffer.from(chunk);
  }
  const seen: string[] = [];
  for await (const e of decodeWatch(stream(), resource))
    seen.push(
      e.type === "BOOKMARK"
        ? `B${e.resourceVersion}`
        : `${e.type} ${e.object.kind} ${e.object.metadata.name}`,
    );
  return seen;
}

test("decodes events however the bytes are cut, also inside a character", async () => {
  const text = Buffer.from(event("ADDED", "a") + event("MODIFIED", "ä") + event("BOOKMARK", ""));
  const want = ["ADDED ConfigMap a", "MODIFIED ConfigMap ä", "B5"];
  assert.deepEqual(await decode(text), want);
  assert.deepEqual(await decode(...[...text].map((byte) => Buffer.from([byte]))), want);
});

for (const [what, line] of [
  ["a line that is no JSON", "{\n"],
  ["an unknown type", event("SURPRISE", "a")],
  ["an object without a name", '{"type":"ADDED","object":{"metadata":{}}}\n'],
] as const) {
  test(`U9 ${what} ends the watch instead of losing an event`, async () => {
    await assert.rejects(decode(event("ADDED", "a"), line, event("ADDED", "b")), {
      reason: "PoisonEvent",
    });
  });
}

test("U9 a cut line ends the watch", async () => {
  await assert.rejects(decode(event("ADDED", "a"), '{"type":"ADD'), { reason: "CutLine" });
});

test("U6 an ERROR event throws with its code", async () => {
  await assert.rejects(
    decode('{"type":"ERROR","object":{"code":410,"reason":"Expired","message":"too old"}}\n'),
    { status: 410, reason: "Expired" },
  );
});

test("a single endless line is refused", async () => {
  const chunk = "x".repeat(1024 * 1024);
  await assert.rejects(decode(...Array.from({ length: 18 }, () => chunk)), { code: "Unreachable" });
});

test("L2 what an API server says about a Secret is never repeated", () => {
  const body = JSON.stringify({
    kind: "Status",
    reason: "Invalid",
    message: 'Secret "x": data: hunter2',
    details: {},
  });
  const patch = (path: string) => ({ method: "PATCH", path });
  const retryAfter = undefined;
  assert.doesNotMatch(
    apiErrorOf(patch("/api/v1/namespaces/a/secrets/x"), 422, { body, retryAfter }).message,
    /hunter2/,
  );
  assert.match(
    apiErrorOf(patch("/api/v1/namespaces/a/configmaps/x"), 422, { body, retryAfter }).message,
    /hunter2/,
  );
});

test("E2 Retry-After is obeyed within reason, and nonsense is ignored", () => {
  const after = (header: string) =>
    apiErrorOf({ method: "GET", path: "/x" }, 429, { body: "", retryAfter: header }).retryAfterMs;
  assert.deepEqual(["1", "3600", "-1", "garbage"].map(after), [1000, 10_000, undefined, undefined]);
});

test("a refusal says who lacks the right, and of a Secret nothing else", () => {
  const refused = (path: string, message: string, as?: string) => {
    const body = JSON.stringify({ kind: "Status", reason: "Forbidden", message });
    return apiErrorOf({ method: "PATCH", path, as }, 403, { body, retryAfter: undefined });
  };
  const user = "system:serviceaccount:team-a:deployer";
  const [secrets, maps] = ["/api/v1/namespaces/a/secrets/x", "/api/v1/namespaces/a/configmaps/x"];
  const right = (kind: string) =>
    `${kind} "x" is forbidden: User "${user}" cannot patch resource "${kind}" in API group "" in the namespace "a": hunter2`;
  const secret = refused(secrets, right("secrets"), user);
  assert.equal(secret.code, "AccessDenied");
  assert.match(secret.message, /HTTP 403 Forbidden: system:\S+ may not PATCH it$/);
  assert.equal(refused(maps, right("configmaps"), user).code, "AccessDenied");
  assert.equal(refused(maps, right("configmaps")).code, "ApplyFailed");
  const grant = `roles.rbac.authorization.k8s.io "x" is forbidden: user "${user}" (groups=["${"g".repeat(400)}"]) is attempting to grant RBAC permissions not currently held:`;
  assert.equal(refused("/apis/rbac.authorization.k8s.io/v1/x", grant, user).code, "AccessDenied");
  const impersonation = 'User "c" cannot impersonate resource "serviceaccounts"';
  assert.equal(refused("/api/v1/secrets/x", impersonation, user).code, "ImpersonationRefused");
});

test("what admission refuses is no missing right, and of a Secret it is not repeated", () => {
  const user = "system:serviceaccount:team-a:deployer";
  const refused = (path: string, message: string) => {
    const body = JSON.stringify({ kind: "Status", reason: "Forbidden", message });
    return apiErrorOf({ method: "PATCH", path, as: user }, 403, { body, retryAfter: undefined });
  };
  for (const why of [
    'configmaps "x" is forbidden: exceeded quota: few, requested: count/configmaps=1, used: 3, limited: 3',
    'pods "x" is forbidden: violates PodSecurity "restricted:latest": host namespaces',
    'admission webhook "w.example" denied the request: you cannot do that',
  ]) {
    const error = refused("/api/v1/namespaces/a/configmaps/x", why);
    assert.equal(error.code, "ApplyFailed");
    assert.ok(error.message.endsWith(why), error.message);
    const secret = refused("/api/v1/namespaces/a/secrets/x", why);
    assert.equal(secret.code, "ApplyFailed");
    assert.match(secret.message, /: \(message withheld: it may quote the Secret\)$/);
  }
});
