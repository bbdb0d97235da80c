import { crds, group } from "../api/index.ts";
import type { KubeObject } from "../object/index.ts";

/** Where the controller runs. */
export const systemNamespace = "capitan-system";
/** The controller's ServiceAccount. */
export const controllerAccount = "capitan-controller";

const labels = { "app.kubernetes.io/part-of": "capitan" };
const rbac = "rbac.authorization.k8s.io";

type Rule = {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
};

const rule = (apiGroup: string, resources: readonly string[], verbs: readonly string[]): Rule => ({
  apiGroups: [apiGroup],
  resources,
  verbs,
});

/** What the controller may do on the hub: no wildcard, no write on Clusters. */
const clusterRules: readonly Rule[] = [
  rule(group, ["fleets"], ["get", "list", "watch", "patch"]),
  rule(group, ["fleets/status", "fleetmembers/status"], ["patch"]),
  rule(group, ["fleetmembers"], ["get", "list", "watch", "create", "patch", "delete"]),
  rule(group, ["fleetrevisions"], ["get", "list", "create", "patch", "delete"]),
  rule("cluster.x-k8s.io", ["clusters"], ["get", "list", "watch"]),
  // Kubeconfigs are Secrets of any name in any namespace of Clusters; RBAC cannot select by label.
  rule("", ["secrets"], ["get", "list", "watch"]),
  rule("events.k8s.io", ["events"], ["create"]),
];

const systemRules: readonly Rule[] = [
  rule("coordination.k8s.io", ["leases"], ["get", "create", "update"]),
];

/** Every object, in the order in which it is to be applied. */
export function installManifests(): readonly KubeObject[] {
  const named = (apiVersion: string, kind: string, name: string, namespace?: string) => ({
    apiVersion,
    kind,
    metadata: { name, ...(namespace === undefined ? {} : { namespace }), labels },
  });
  const subject = { kind: "ServiceAccount", name: controllerAccount, namespace: systemNamespace };
  return [
    {
      ...named("v1", "Namespace", systemNamespace),
      metadata: {
        name: systemNamespace,
        labels: { ...labels, "pod-security.kubernetes.io/enforce": "restricted" },
      },
    },
    ...(crds as unknown as readonly KubeObject[]),
    named("v1", "ServiceAccount", controllerAccount, systemNamespace),
    { ...named(`${rbac}/v1`, "ClusterRole", controllerAccount), rules: clusterRules },
    {
      ...named(`${rbac}/v1`, "ClusterRoleBinding", controllerAccount),
      roleRef: { apiGroup: rbac, kind: "ClusterRole", name: controllerAccount },
      subjects: [subject],
    },
    { ...named(`${rbac}/v1`, "Role", controllerAccount, systemNamespace), rules: systemRules },
    {
      ...named(`${rbac}/v1`, "RoleBinding", controllerAccount, systemNamespace),
      roleRef: { apiGroup: rbac, kind: "Role", name: controllerAccount },
      subjects: [subject],
    },
  ];
}
