import { groupOf, type KubeObject } from "../../pkg/object/index.ts";

const clusterScoped = new Set([
  "APIService",
  "CSIDriver",
  "CSINode",
  "CertificateSigningRequest",
  "ClusterRole",
  "ClusterRoleBinding",
  "ClusterTrustBundle",
  "CustomResourceDefinition",
  "DeviceClass",
  "FlowSchema",
  "IngressClass",
  "MutatingAdmissionPolicy",
  "MutatingAdmissionPolicyBinding",
  "MutatingWebhookConfiguration",
  "Namespace",
  "Node",
  "PersistentVolume",
  "PriorityClass",
  "PriorityLevelConfiguration",
  "RuntimeClass",
  "ServiceCIDR",
  "StorageClass",
  "ValidatingAdmissionPolicy",
  "ValidatingAdmissionPolicyBinding",
  "ValidatingWebhookConfiguration",
  "VolumeAttachment",
  "VolumeAttributesClass",
]);

/** Whether Kubernetes itself has this kind without namespaces: for when no API server can be asked. */
export function isBuiltInClusterScoped({
  apiVersion,
  kind,
}: Pick<KubeObject, "apiVersion" | "kind">): boolean {
  const group = groupOf(apiVersion);
  return (!group.includes(".") || group.endsWith(".k8s.io")) && clusterScoped.has(kind);
}
