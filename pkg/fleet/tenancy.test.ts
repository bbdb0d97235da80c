import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fleet } from "../api/index.ts";
import { userOf } from "./tenancy.ts";

const fleet = (namespace: string, serviceAccountName?: string) =>
  ({ metadata: { namespace, name: "f" }, spec: { serviceAccountName } }) as unknown as Fleet;
const platformNamespaces = new Set(["fleet"]);
const withDefault = { platformNamespaces, defaultServiceAccount: "deployer" };

test("a Fleet acts as the ServiceAccount that it names, wherever it is", () => {
  assert.equal(
    userOf(fleet("team-a", "x"), { platformNamespaces }),
    "system:serviceaccount:team-a:x",
  );
  assert.equal(userOf(fleet("fleet", "x"), withDefault), "system:serviceaccount:fleet:x");
});

test("only a Fleet of a platform namespace acts as the controller, and the default does not change that", () => {
  assert.equal(userOf(fleet("fleet"), { platformNamespaces }), undefined);
  assert.equal(userOf(fleet("fleet"), withDefault), undefined);
});

test("elsewhere a Fleet without ServiceAccount has the default one, or is refused", () => {
  assert.equal(userOf(fleet("team-a"), withDefault), "system:serviceaccount:team-a:deployer");
  assert.throws(() => userOf(fleet("team-a"), { platformNamespaces }), {
    code: "NamespaceNotAllowed",
    message: /team-a\/f names no serviceAccountName/,
  });
});
