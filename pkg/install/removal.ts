import type { KubeObject } from "../object/index.ts";
import { actingRole, controllerAccount, labels, tenantRole } from "./names.ts";

type Kind = { readonly apiVersion: string; readonly kind: string };

const rbac = "rbac.authorization.k8s.io/v1";

/** What `capitan uninstall` takes away once the controller has stopped, in this order. */
export const removedKinds: readonly Kind[] = [
  { apiVersion: "policy/v1", kind: "PodDisruptionBudget" },
  { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy" },
  { apiVersion: "v1", kind: "Service" },
  { apiVersion: rbac, kind: "ClusterRoleBinding" },
  { apiVersion: rbac, kind: "RoleBinding" },
  { apiVersion: rbac, kind: "ClusterRole" },
  { apiVersion: rbac, kind: "Role" },
  { apiVersion: "v1", kind: "ServiceAccount" },
  { apiVersion: "coordination.k8s.io/v1", kind: "Lease" },
];

/** How objects of those kinds are listed; the Lease, which the controller made, carries no label. */
export const installedSelector = Object.entries(labels)
  .map(([key, value]) => `${key}=${value}`)
  .join(",");

/** Whether an object that carries our label is one that `capitan install` has made. */
export function isInstalled({ metadata }: KubeObject): boolean {
  const { name } = metadata;
  const roles = [controllerAccount, `${controllerAccount}-platform`, tenantRole];
  return roles.includes(name) || name.startsWith(actingRole);
}
