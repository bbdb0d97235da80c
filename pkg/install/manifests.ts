import { crds } from "../api/index.ts";
import type { KubeObject } from "../object/index.ts";
import { controllerAccount, labels, systemNamespace } from "./names.ts";
import { processManifests, type ProcessOptions } from "./process.ts";
import { rightsOf, type RightsOptions } from "./rights.ts";

/** A platform namespace holds Clusters: no tool that prunes what is no longer in this set may take it away. */
const keepAnnotations = {
  "kustomize.toolkit.fluxcd.io/prune": "disabled",
  "argocd.argoproj.io/sync-options": "Prune=false",
};

/** Everything that `capitan install` applies, in the order in which it is to be applied. */
export function installManifests(options: ProcessOptions & RightsOptions): readonly KubeObject[] {
  return [...groundManifests(options), ...processManifests(options)];
}

/** The same without the Deployment and what belongs to it: for a controller that runs elsewhere. */
export function groundManifests(options: RightsOptions): readonly KubeObject[] {
  return [
    ...namespaces(options.platformNamespaces),
    ...(crds as unknown as readonly KubeObject[]),
    {
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { name: controllerAccount, namespace: systemNamespace, labels },
      automountServiceAccountToken: false,
    },
    ...rightsOf(options),
  ];
}

function namespaces(platformNamespaces: readonly string[]): readonly KubeObject[] {
  const restricted = { "pod-security.kubernetes.io/enforce": "restricted" };
  const others = platformNamespaces.filter((name) => name !== systemNamespace);
  const namespace = (metadata: KubeObject["metadata"]): KubeObject => ({
    apiVersion: "v1",
    kind: "Namespace",
    metadata,
  });
  return [
    namespace({ name: systemNamespace, labels: { ...labels, ...restricted } }),
    ...others.map((name) => namespace({ name, annotations: keepAnnotations })),
  ];
}
