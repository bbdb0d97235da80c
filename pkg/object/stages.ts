import { groupOf } from "./id.ts";
import type { KubeObject } from "./types.ts";

/** 0 is applied first; the objects of one stage are independent of each other. */
export type Stage = 0 | 1 | 2 | 3;

const first = new Set(["CustomResourceDefinition", "Namespace", "ClusterRole"]);
const last = new Set([
  "MutatingWebhookConfiguration",
  "ValidatingWebhookConfiguration",
  "ValidatingAdmissionPolicyBinding",
  "MutatingAdmissionPolicyBinding",
  "APIService",
]);
const supporting = new Set([
  "ResourceQuota",
  "LimitRange",
  "ServiceAccount",
  "Role",
  "RoleBinding",
  "ClusterRoleBinding",
  "ConfigMap",
  "Secret",
  "Service",
  "PersistentVolume",
  "PersistentVolumeClaim",
  "ValidatingAdmissionPolicy",
  "MutatingAdmissionPolicy",
]);

/** The stage of an object: definitions, then what workloads need, then workloads, then webhooks. DESIGN §5. */
export function stageOf({ apiVersion, kind }: Pick<KubeObject, "apiVersion" | "kind">): Stage {
  const builtIn = !groupOf(apiVersion).includes(".") || groupOf(apiVersion).endsWith(".k8s.io");
  if (builtIn && first.has(kind)) return 0;
  if ((builtIn && supporting.has(kind)) || kind.endsWith("Class")) return 1;
  return builtIn && last.has(kind) ? 3 : 2;
}

/** A stable order: by stage, then by group, kind, namespace, name. */
export function compareForApply(a: KubeObject, b: KubeObject): number {
  return stageOf(a) - stageOf(b) || compareText(sortText(a), sortText(b));
}

const compareText = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
const sortText = ({ apiVersion, kind, metadata }: KubeObject) =>
  [groupOf(apiVersion), kind, metadata.namespace ?? "", metadata.name].join("\u0000");
