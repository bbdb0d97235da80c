import { group } from "../api/index.ts";
import type { KubeObject } from "../object/index.ts";
import { controllerAccount, labels, roleNames, systemNamespace } from "./names.ts";

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

/** On the whole hub: a Fleet or a rotation in the wrong namespace is told so; nothing but that is written. */
const clusterRules: readonly Rule[] = [
  rule(group, ["fleets", "fleetmembers", "keyrotations", "secretrotations"], ["list", "watch"]),
  rule(group, ["fleets/status", "keyrotations/status", "secretrotations/status"], ["patch"]),
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
  // For Fleets whose keys are to be rotated every so often.
  rule(group, ["keyrotations"], ["create"]),
  // Kubeconfigs and what Fleets refer to are Secrets of any name; RBAC cannot select by label.
  // The identities of clusters, and the marks of ended ones, are made once, never written again, never deleted.
  rule("", ["secrets"], ["get", "list", "watch", "create"]),
  rule("", ["configmaps"], ["get", "list", "watch"]),
];

const systemRules: readonly Rule[] = [
  rule("coordination.k8s.io", ["leases"], ["get", "create", "update"]),
];

const made = ["get", "list", "watch", "create", "patch"];
/** What Capitan itself is made of, in its own namespace and without. */
const parts: readonly (readonly [string, readonly string[]])[] = [
  ["", ["serviceaccounts", "services"]],
  ["apps", ["deployments"]],
  ["policy", ["poddisruptionbudgets"]],
  ["networking.k8s.io", ["networkpolicies"]],
  [rbac, ["roles", "rolebindings"]],
];

/** For Fleets with `target: Management`: Namespaces, and Capitan itself, but for their removal. A watch of a kind is one of all namespaces. */
const managementClusterRules: readonly Rule[] = [
  rule("", ["namespaces"], made),
  rule("", ["configmaps", "secrets"], ["list", "watch"]),
  rule(group, ["clustertemplates", "receivers"], ["list", "watch"]),
  ...parts.map(([apiGroup, kinds]) => rule(apiGroup, kinds, ["list", "watch"])),
  rule("apiextensions.k8s.io", ["customresourcedefinitions"], made),
  rule(
    "admissionregistration.k8s.io",
    ["validatingadmissionpolicies", "validatingadmissionpolicybindings"],
    made,
  ),
  rule(rbac, ["clusterroles", "clusterrolebindings"], made),
];

/** The same in Capitan's own namespace, with the inventory of what was brought to the hub. */
const managementSystemRules: readonly Rule[] = [
  rule("", ["configmaps"], ["get", "create", "update"]),
  rule("", ["secrets"], ["get", "create"]),
  ...parts.map(([apiGroup, kinds]) => rule(apiGroup, kinds, ["get", "create", "patch"])),
];

/** The same in each platform namespace: what clusters are made of there. */
const managementPlatformRules: readonly Rule[] = [
  rule(group, ["fleets"], ["get", "create", "delete"]),
  rule(group, ["clustertemplates", "receivers"], ["get", "create", "patch", "delete"]),
  // For the receiver's Role among what is delivered: nobody gives a right that they do not have.
  rule(group, ["receivers/status"], ["patch"]),
  rule("cluster.x-k8s.io", ["clusters"], ["create", "patch", "delete"]),
  rule("", ["secrets"], ["patch", "delete"]),
  rule("", ["configmaps"], ["create", "patch", "delete"]),
  rule(rbac, ["roles", "rolebindings"], ["get", "create", "patch"]),
];

export type RightsOptions = {
  readonly platformNamespaces: readonly string[];
  /** Whether Fleets may deliver to the hub itself. */
  readonly management: boolean;
};

/** The controller's rights: no wildcard; Secrets and Clusters are written in platform namespaces only. */
export function rightsOf({ platformNamespaces, management }: RightsOptions): readonly KubeObject[] {
  return [
    own("ClusterRole", "", roleNames.own, clusterRules),
    own("Role", systemNamespace, roleNames.own, systemRules),
    ...platformNamespaces.map((name) => own("Role", name, roleNames.platform, platformRules)),
    ...(management ? managementRights(platformNamespaces) : []),
  ].flat();
}

function managementRights(platformNamespaces: readonly string[]) {
  const { management, managementPlatform } = roleNames;
  return [
    own("ClusterRole", "", management, managementClusterRules),
    own("Role", systemNamespace, management, managementSystemRules),
    ...platformNamespaces.map((name) =>
      own("Role", name, managementPlatform, managementPlatformRules),
    ),
  ];
}

/** A role of the controller; no namespace for a ClusterRole. */
function own(
  kind: "ClusterRole" | "Role",
  namespace: string,
  name: string,
  rules: readonly Rule[],
): readonly KubeObject[] {
  return boundRole({ kind, namespace, name, account: controllerAccount }, rules);
}

/** A role for one of our ServiceAccounts; no namespace for a ClusterRole. */
export function boundRole(
  {
    kind,
    namespace,
    name,
    account,
  }: Pick<Role, "kind"> & {
    readonly namespace: string;
    readonly name: string;
    readonly account: string;
  },
  rules: readonly Rule[],
): readonly KubeObject[] {
  const metadata = { name, ...(namespace === "" ? {} : { namespace }), labels };
  return bound({ kind, metadata, rules }, { name: account, namespace: systemNamespace });
}

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
