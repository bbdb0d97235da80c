import { group } from "../api/index.ts";
import type { KubeObject } from "../object/index.ts";
import { controllerAccount, labels, systemNamespace } from "./names.ts";

const rbac = "rbac.authorization.k8s.io";

export type Rule = {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  /** Only objects of these names. */
  readonly resourceNames?: readonly string[];
};

/** A rule about kinds of one API group. */
export function rule(
  apiGroup: string,
  resources: readonly string[],
  verbs: readonly string[],
): Rule {
  return { apiGroups: [apiGroup], resources, verbs };
}

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

/** A role of the controller. */
function bound(
  kind: "ClusterRole" | "Role",
  namespace: string,
  rules: readonly Rule[],
): readonly KubeObject[] {
  // In the controller's own namespace both roles may be wanted, if that is a platform namespace too.
  const isPlatform = rules === platformRules;
  const name = isPlatform ? `${controllerAccount}-platform` : controllerAccount;
  return boundRole({ kind, namespace, name, account: controllerAccount }, rules);
}

type Bound = {
  readonly kind: "ClusterRole" | "Role";
  /** Empty for a ClusterRole. */
  readonly namespace: string;
  readonly name: string;
  readonly account: string;
};

/** A role and its binding to one of our ServiceAccounts. */
export function boundRole(
  { kind, namespace, name, account }: Bound,
  rules: readonly Rule[],
): readonly KubeObject[] {
  const metadata = { name, ...(namespace === "" ? {} : { namespace }), labels };
  const subject = { kind: "ServiceAccount", name: account, namespace: systemNamespace };
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
