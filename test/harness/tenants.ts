import assert from "node:assert/strict";
import { clusterInitialized, clusterKubeconfig, createCluster } from "../../hack/lab/clusters.ts";
import { connect, type KubeClient } from "../../pkg/kube/index.ts";
import { parseWorkloadKubeconfig } from "../../pkg/kubeconfig/index.ts";
import type { Resource } from "../../pkg/object/index.ts";
import { applyFleet, capitan, deleteNow, fleetOf, until } from "./index.ts";

/** A namespace of a tenant with one cluster in it. */
export type Tenant = {
  readonly namespace: string;
  readonly cluster: string;
  /** The ServiceAccount as a user. */
  readonly user: string;
  /** An admin's client of the cluster. */
  readonly workload: KubeClient;
};

export const clusterRoles: Resource = {
  group: "rbac.authorization.k8s.io",
  version: "v1",
  kind: "ClusterRole",
  plural: "clusterroles",
  namespaced: false,
};

const manager = { manager: "test" };
const rules = [
  { apiGroups: [""], resources: ["configmaps", "secrets", "services"] },
  { apiGroups: ["apps"], resources: ["deployments"] },
  // Only with `escalate` or `bind` could it give away what it does not have.
  { apiGroups: ["rbac.authorization.k8s.io"], resources: ["roles", "rolebindings"] },
].map((rule) => ({ ...rule, verbs: ["get", "create", "patch", "delete"] }));

/** Sets a tenant up as the platform's people do, with the command; `secrets` may be read by its ServiceAccount. */
export async function newTenant(
  hub: KubeClient,
  { namespace, cluster, secrets = [] }: { namespace: string; cluster: string; secrets?: string[] },
): Promise<Tenant> {
  const args = ["create", "tenant", namespace, ...secrets.flatMap((name) => ["--secret", name])];
  await succeeds(args);
  await createCluster(hub, { namespace, name: cluster }, { labels: { cluster } });
  const kubeconfig = await clusterKubeconfig(hub, { namespace, name: cluster });
  await clusterInitialized(hub, { namespace, name: cluster });
  const workload = connect(parseWorkloadKubeconfig(kubeconfig, cluster));
  // Nobody fills the aggregated role "admin" here: that does the controller manager.
  const role = {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRole",
    metadata: { name: "lab-tenant" },
    rules,
  };
  await workload.apply(clusterRoles, role, manager);
  await succeeds([...args, "--cluster", cluster, "--cluster-role", "lab-tenant"]);
  const user = `system:serviceaccount:${namespace}:${namespace}`;
  return { namespace, cluster, user, workload };
}

async function succeeds(args: readonly string[]): Promise<void> {
  const { code, stderr } = await capitan(args);
  assert.equal(code, 0, stderr);
}

/** Applies a Fleet of the tenant, for its cluster and as its ServiceAccount. */
export function tenantFleet(
  hub: KubeClient,
  { namespace, cluster }: Pick<Tenant, "namespace" | "cluster">,
  name: string,
  layers: readonly object[],
  more: object = {},
): Promise<unknown> {
  const spec = { serviceAccountName: namespace, ...more };
  return applyFleet(hub, name, cluster, layers, spec, namespace);
}

/** Deletes a Fleet and waits until it has gone. */
export async function fleetGoes(
  hub: KubeClient,
  resource: Resource,
  name: { readonly namespace: string; readonly name: string },
): Promise<void> {
  await deleteNow(hub, resource, name);
  await until(async () => (await fleetOf(hub, name.name, name.namespace)) === undefined, {
    deadlineMs: 30_000,
    what: `Fleet ${name.namespace}/${name.name} to go`,
  });
}
