import { groupOf, versionOf } from "../../pkg/object/index.ts";
import type { Resource } from "../../pkg/object/index.ts";

/** `group/version` ("v1" for the core group), kind and plural. */
function resource(apiVersion: string, kind: string, plural: string, namespaced = true): Resource {
  return { group: groupOf(apiVersion), version: versionOf(apiVersion), kind, plural, namespaced };
}

/** The kinds that the lab itself reads and writes. */
export const resources = {
  cluster: resource("cluster.x-k8s.io/v1beta2", "Cluster", "clusters"),
  labCluster: resource("infrastructure.cluster.x-k8s.io/v1", "LabCluster", "labclusters"),
  labControlPlane: resource(
    "controlplane.cluster.x-k8s.io/v1",
    "LabControlPlane",
    "labcontrolplanes",
  ),
  clusterClass: resource("cluster.x-k8s.io/v1beta2", "ClusterClass", "clusterclasses"),
  labClusterTemplate: resource(
    "infrastructure.cluster.x-k8s.io/v1",
    "LabClusterTemplate",
    "labclustertemplates",
  ),
  labControlPlaneTemplate: resource(
    "controlplane.cluster.x-k8s.io/v1",
    "LabControlPlaneTemplate",
    "labcontrolplanetemplates",
  ),
  devCluster: resource("infrastructure.cluster.x-k8s.io/v1beta2", "DevCluster", "devclusters"),
  devMachineTemplate: resource(
    "infrastructure.cluster.x-k8s.io/v1beta2",
    "DevMachineTemplate",
    "devmachinetemplates",
  ),
  kubeadmControlPlane: resource(
    "controlplane.cluster.x-k8s.io/v1beta2",
    "KubeadmControlPlane",
    "kubeadmcontrolplanes",
  ),
  machine: resource("cluster.x-k8s.io/v1beta2", "Machine", "machines"),
  provider: resource("clusterctl.cluster.x-k8s.io/v1alpha3", "Provider", "providers"),
  crd: resource(
    "apiextensions.k8s.io/v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    false,
  ),
  validatingWebhook: resource(
    "admissionregistration.k8s.io/v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    false,
  ),
  mutatingWebhook: resource(
    "admissionregistration.k8s.io/v1",
    "MutatingWebhookConfiguration",
    "mutatingwebhookconfigurations",
    false,
  ),
  namespace: resource("v1", "Namespace", "namespaces", false),
  secret: resource("v1", "Secret", "secrets"),
  configMap: resource("v1", "ConfigMap", "configmaps"),
  serviceAccount: resource("v1", "ServiceAccount", "serviceaccounts"),
  deployment: resource("apps/v1", "Deployment", "deployments"),
  pod: resource("v1", "Pod", "pods"),
  fleet: resource("capitan.dev/v1alpha1", "Fleet", "fleets"),
  keyRotation: resource("capitan.dev/v1alpha1", "KeyRotation", "keyrotations"),
  secretRotation: resource("capitan.dev/v1alpha1", "SecretRotation", "secretrotations"),
  fleetMember: resource("capitan.dev/v1alpha1", "FleetMember", "fleetmembers"),
  fleetRevision: resource("capitan.dev/v1alpha1", "FleetRevision", "fleetrevisions"),
  receiver: resource("capitan.dev/v1alpha1", "Receiver", "receivers"),
  event: resource("events.k8s.io/v1", "Event", "events"),
} as const;
