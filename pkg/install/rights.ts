import { group } from "../api/index.ts";
import type { KubeObject } from "../object/index.ts";
import { controllerAccount, labels, systemNamespace } from "./names.ts";

const rbac = "rbac.authorization.k8s.io";

export type Rule = {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
};

export const rule = (
  apiGroup: string,
  resources: readonly string[],
  verbs: readonly string[],
): Rule => ({
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

/** Of Capitan's own kinds, in each namespace with Fleets. */
export const ownRules: readonly Rule[] = [
  // For the finalizer, which RBAC cannot tell from the rest of a Fleet.
  rule(group, ["fleets", "fleetmembers/status"], ["patch"]),
  rule(group, ["fleetmembers"], ["get", "create", "patch", "delete"]),
  rule(group, ["fleetrevisions"], ["get", "list", "create", "patch", "delete"]),
];

/** In each platform namespace. */
const platformRules: readonly Rule[] = [
  ...ownRules,
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
  const controller = { name: controllerAccount, namespace: systemNamespace };
  const role = (kind: "ClusterRole" | "Role", namespace: string, rules: readonly Rule[]) => {
    // In the controller's own namespace both roles may be wanted, if that is a platform namespace too.
    const name = rules === platformRules ? `${controllerAccount}-platform` : controllerAccount;
    return bound(
      { kind, metadata: { name, ...inNamespace(namespace), labels }, rules },
      controller,
    );
  };
  return [
    role("ClusterRole", "", clusterRules),
    role("Role", systemNamespace, systemRules),
    ...platformNamespaces.map((namespace) => role("Role", namespace, platformRules)),
  ].flat();
}

const inNamespace = (namespace: string) => (namespace === "" ? {} : { namespace });

type Role = {
  readonly kind: "ClusterRole" | "Role";
  readonly metadata: KubeObject["metadata"];
  readonly rules: readonly Rule[];
};

/** A role, and its binding to a ServiceAccount. */
export function bound(
  { kind, metadata, rules }: Role,
  account: { readonly name: string; readonly namespace: string },
): readonly KubeObject[] {
  const { name } = metadata;
  return [
    { apiVersion: `${rbac}/v1`, kind, metadata, rules },
    {
      apiVersion: `${rbac}/v1`,
      kind: `${kind}Binding`,
      metadata,
      roleRef: { apiGroup: rbac, kind, name },
      subjects: [{ kind: "ServiceAccount", ...account }],
    },
  ];
}
