import type { KubeObject } from "../object/index.ts";
import { actingRole, controllerAccount, labels, systemNamespace, tenantRole } from "./names.ts";
import { bound, ownRules, rule } from "./rights.ts";

/** A tenant: a namespace with Fleets that act as one of its ServiceAccounts. */
export type TenantOptions = {
  readonly namespace: string;
  readonly serviceAccount: string;
  /** Secrets that the ServiceAccount may read; kubeconfigs lie in the same namespace. */
  readonly secrets: readonly string[];
};

/** On what is the tenant's own: Capitan leaves it when it goes. */
const tenantLabels = ({ namespace }: TenantOptions) => ({ "capitan.dev/tenant": namespace });

/** What `capitan create tenant` applies to the hub, in order. */
export function tenantManifests(options: TenantOptions): readonly KubeObject[] {
  const { namespace, serviceAccount } = options;
  return [
    ...homeOf(options),
    ...bound(
      { kind: "Role", metadata: { name: tenantRole, namespace, labels }, rules: controllerRules },
      controller,
    ),
    // One for each account, so that a namespace may have several.
    ...bound(
      {
        kind: "Role",
        metadata: { name: `${actingRole}${serviceAccount}`, namespace, labels },
        rules: [
          { ...rule("", ["serviceaccounts"], ["impersonate"]), resourceNames: [serviceAccount] },
        ],
      },
      controller,
    ),
    ...bound(
      {
        kind: "Role",
        metadata: {
          name: `${serviceAccount}-fleets`,
          namespace,
          labels: tenantLabels(options),
        },
        rules: inputRules(options),
      },
      { name: serviceAccount, namespace },
    ),
  ];
}

/** What the same applies to a workload cluster: there the ServiceAccount has this ClusterRole, in its namespace only. */
export function tenantOnCluster(
  options: Omit<TenantOptions, "secrets">,
  clusterRole: string,
): readonly KubeObject[] {
  const { namespace, serviceAccount } = options;
  const all = { ...options, secrets: [] };
  return [
    ...homeOf(all),
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "RoleBinding",
      metadata: { name: `${serviceAccount}-fleets`, namespace, labels: tenantLabels(all) },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: clusterRole },
      subjects: [{ kind: "ServiceAccount", name: serviceAccount, namespace }],
    },
  ];
}

function homeOf(options: TenantOptions): readonly KubeObject[] {
  const { namespace, serviceAccount } = options;
  const metadata = { labels: tenantLabels(options) };
  return [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace, ...metadata } },
    {
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { name: serviceAccount, namespace, ...metadata },
      automountServiceAccountToken: false,
    },
  ];
}

const controller = { name: controllerAccount, namespace: systemNamespace };

/** The controller's, besides acting as the account. */
const controllerRules = [
  ...ownRules,
  // Read as itself are the kubeconfigs of Clusters; of everything else it watches metadata.
  rule("", ["secrets"], ["get", "list", "watch"]),
  rule("", ["configmaps"], ["list", "watch"]),
];

/** The ServiceAccount's: what Fleets may name. Secrets one by one, since a kubeconfig among them is every right. */
const inputRules = ({ secrets }: TenantOptions) => [
  rule("", ["configmaps"], ["get"]),
  ...(secrets.length === 0
    ? []
    : [{ ...rule("", ["secrets"], ["get"]), resourceNames: [...secrets] }]),
];
