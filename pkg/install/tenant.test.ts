import assert from "node:assert/strict";
import { test } from "node:test";
import { nameOf, idOf } from "../object/index.ts";
import { isInstalled, tenantManifests, tenantOnCluster } from "./index.ts";

const tenant = { namespace: "team-a", serviceAccount: "deployer", secrets: ["registry"] };
const names = (objects: ReturnType<typeof tenantManifests>) =>
  objects.map((object) => nameOf(idOf(object)));

type Rule = { verbs: string[]; resources: string[]; resourceNames?: string[] };
const rulesIn = (objects: ReturnType<typeof tenantManifests>) =>
  objects.flatMap(({ rules }) => (rules ?? []) as Rule[]);

test("a tenant is a namespace, an account, and who may do what there", () => {
  assert.deepEqual(names(tenantManifests(tenant)), [
    "Namespace/team-a",
    "ServiceAccount/team-a/deployer",
    "Role/team-a/capitan-controller-tenant",
    "RoleBinding/team-a/capitan-controller-tenant",
    "Role/team-a/capitan-controller-as-deployer",
    "RoleBinding/team-a/capitan-controller-as-deployer",
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
  const rules = rulesIn(tenantManifests(tenant));
  const named = rules.filter((rule) => rule.resourceNames !== undefined);
  assert.deepEqual(
    named.map(({ verbs, resources, resourceNames }) => ({ verbs, resources, resourceNames })),
    [
      { verbs: ["impersonate"], resources: ["serviceaccounts"], resourceNames: ["deployer"] },
      { verbs: ["get"], resources: ["secrets"], resourceNames: ["registry"] },
    ],
  );
  const impersonates = rules.filter((rule) => rule.verbs.includes("impersonate"));
  assert.equal(impersonates.length, 1);
  const none = tenantManifests({ ...tenant, secrets: [] });
  // An empty list of names would be every Secret.
  assert.equal(rulesIn(none).length, rules.length - 1);
});

test("uninstall takes the controller's rights, and leaves the tenant's own", () => {
  assert.deepEqual(names(tenantManifests(tenant).filter(isInstalled)), [
    "Role/team-a/capitan-controller-tenant",
    "RoleBinding/team-a/capitan-controller-tenant",
    "Role/team-a/capitan-controller-as-deployer",
    "RoleBinding/team-a/capitan-controller-as-deployer",
  ]);
});
