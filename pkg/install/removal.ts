import type { KubeObject } from "../object/index.ts";
import { actingRole, labels, receiverAccount, roleNames, tenantRole } from "./names.ts";

type Kind = { readonly apiVersion: string; readonly kind: string };

const admission = "admissionregistration.k8s.io/v1";
const rbac = "rbac.authorization.k8s.io/v1";

/** What `capitan uninstall` takes away once the controller has stopped, in this order. */
export const removedKinds: readonly Kind[] = [
  { apiVersion: "apps/v1", kind: "Deployment" },
  { apiVersion: "policy/v1", kind: "PodDisruptionBudget" },
  { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy" },
  { apiVersion: "v1", kind: "Service" },
  { apiVersion: rbac, kind: "ClusterRoleBinding" },
  { apiVersion: rbac, kind: "RoleBinding" },
  { apiVersion: rbac, kind: "ClusterRole" },
  { apiVersion: rbac, kind: "Role" },
  // After the roles: without it the receiver's role would allow more.
  { apiVersion: admission, kind: "ValidatingAdmissionPolicyBinding" },
  { apiVersion: admission, kind: "ValidatingAdmissionPolicy" },
  { apiVersion: "v1", kind: "ServiceAccount" },
  { apiVersion: "coordination.k8s.io/v1", kind: "Lease" },
];

/** How objects of those kinds are listed; the Lease, which the controller made, carries no label. */
export const installedSelector = Object.entries(labels)
  .map(([key, value]) => `${key}=${value}`)
  .join(",");

const installedNames = new Set<string>([...Object.values(roleNames), receiverAccount, tenantRole]);

/** Whether an object that carries our label is one that `capitan install` has made. */
export function isInstalled({ metadata }: KubeObject): boolean {
  return installedNames.has(metadata.name) || metadata.name.startsWith(actingRole);
}
