import { group } from "../api/index.ts";
import type { KubeObject } from "../object/index.ts";
import { controllerAccount, labels, systemNamespace } from "./names.ts";

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

/** On the whole hub: a Fleet in the wrong namespace is told so; nothing but that is written. */
const clusterRules: readonly Rule[] = [
  rule(group, ["fleets", "fleetmembers"], ["list", "watch"]),
  rule(group, ["fleets/status"], ["patch"]),
  rule("cluster.x-k8s.io", ["clusters"], ["get", "list", "watch"]),
  rule("events.k8s.io", ["events"], ["create"]),
];

/** In each platform namespace. */
const platformRules: readonly Rule[] = [
  // For the finalizer, which RBAC cannot tell from the rest of a Fleet.
  rule(group, ["fleets", "fleetmembers/status"], ["patch"]),
  rule(group, ["fleetmembers"], ["get", "create", "patch", "delete"]),
  rule(group, ["fleetrevisions"], ["get", "list", "create", "patch", "delete"]),
  // Kubeconfigs and what Fleets refer to are Secrets of any name; RBAC cannot select by label.
  // The identities of clusters are made once, never written again, never deleted.
  rule("", ["secrets"], ["get", "list", "watch", "create"]),
  rule("", ["configmaps"], ["get", "list", "watch"]),
];

const systemRules: readonly Rule[] = [
  rule("coordination.k8s.io", ["leases"], ["get", "create", "update"]),
];

/** The controller's rights: no wildcard, no write on Clusters, Secrets in platform namespaces only. */
export function rightsOf(platformNamespaces: readonly string[]): readonly KubeObject[] {
  return [
    bound("ClusterRole", "", clusterRules),
    bound("Role", systemNamespace, systemRules),
    ...platformNamespaces.map((namespace) => bound("Role", namespace, platformRules)),
  ].flat();
}

/** A role and its binding to the controller; no namespace for a ClusterRole. */
function bound(
  kind: "ClusterRole" | "Role",
  namespace: string,
  rules: readonly Rule[],
): readonly KubeObject[] {
  // In the controller's own namespace both roles may be wanted, if that is a platform namespace too.
  const isPlatform = rules === platformRules;
  const name = isPlatform ? `${controllerAccount}-platform` : controllerAccount;
  const metadata = { name, ...(namespace === "" ? {} : { namespace }), labels };
  const subject = { kind: "ServiceAccount", name: controllerAccount, namespace: systemNamespace };
  return [
    { apiVersion: `${rbac}/v1`, kind, metadata, rules },
    {
      apiVersion: `${rbac}/v1`,
      kind: `${kind}Binding`,
      metadata,
      roleRef: { apiGroup: rbac, kind, name },
      subjects: [subject],
    },
  ];
}
