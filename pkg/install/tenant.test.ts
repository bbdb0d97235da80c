import assert from "node:assert/strict";
import { test } from "node:test";
import { asList, asMap } from "../json/index.ts";
import { nameOf, idOf } from "../object/index.ts";
import { isInstalled, tenantManifests, tenantOnCluster } from "./index.ts";

const tenant = { namespace: "team-a", serviceAccount: "deployer", secrets: ["registry"] };
const names = (objects: ReturnType<typeof tenantManifests>) =>
  objects.map((object) => nameOf(idOf(object)));

test("a tenant is a namespace, an account, and who may do what there", () => {
  assert.deepEqual(names(tenantManifests(tenant)), [
    "Namespace/team-a",
    "ServiceAccount/team-a/deployer",
    "Role/team-a/capitan-controller-tenant",
    "RoleBinding/team-a/capitan-controller-tenant",
    "Role/team-a/deployer-fleets",
    "RoleBinding/team-a/deployer-fleets",
  ]);
  assert.deepEqual(names(tenantOnCluster(tenant, "admin")), [
    "Namespace/team-a",
    "ServiceAccount/team-a/deployer",
    "RoleBinding/team-a/deployer-fleets",
  ]);
});

test("the controller may act as exactly the one account, and the account reads exactly the Secrets that are named", () => {
  const rules = tenantManifests(tenant).flatMap((object) => asList(object["rules"]).map(asMap));
  const named = rules.filter((rule) => rule["resourceNames"] !== undefined);
  assert.deepEqual(
    named.map(({ verbs, resources, resourceNames }) => ({ verbs, resources, resourceNames })),
    [
      { verbs: ["impersonate"], resources: ["serviceaccounts"], resourceNames: ["deployer"] },
      { verbs: ["get"], resources: ["secrets"], resourceNames: ["registry"] },
    ],
  );
  const impersonates = rules.filter((rule) => asList(rule["verbs"]).includes("impersonate"));
  assert.equal(impersonates.length, 1);
  const none = tenantManifests({ ...tenant, secrets: [] });
  // An empty list of names would be every Secret.
  assert.equal(none.flatMap((o) => asList(o["rules"])).length, rules.length - 1);
});

test("uninstall takes the controller's rights, and leaves the tenant's own", () => {
  assert.deepEqual(names(tenantManifests(tenant).filter(isInstalled)), [
    "Role/team-a/capitan-controller-tenant",
    "RoleBinding/team-a/capitan-controller-tenant",
  ]);
});
