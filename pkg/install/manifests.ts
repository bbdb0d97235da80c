import { crds } from "../api/index.ts";
import type { KubeObject } from "../object/index.ts";
import { controllerManifests, type ControllerOptions } from "./controller.ts";
import { controllerAccount, labels, systemNamespace } from "./names.ts";
import { receiverManifests, receiverRights } from "./receiver.ts";
import { rightsOf, type RightsOptions } from "./rights.ts";

/** A platform namespace holds Clusters: no tool that prunes what is no longer in this set may take it away. */
const keepAnnotations = {
  "kustomize.toolkit.fluxcd.io/prune": "disabled",
  "argocd.argoproj.io/sync-options": "Prune=false",
};

export type InstallOptions = ControllerOptions &
  RightsOptions & {
    /** Names of the Secrets that Receivers may name; without any there is no receiver. */
    readonly tokenSecrets: readonly string[];
  };

/** Of what name the Secrets of Receivers are unless said otherwise. */
export const tokenSecretsDefault: readonly string[] = ["receiver-token"];

/** Everything that `capitan install` applies, in the order in which it is to be applied. */
export function installManifests(options: InstallOptions): readonly KubeObject[] {
  const { tokenSecrets } = options;
  return [
    ...groundManifests(options),
    ...controllerManifests(options),
    ...(tokenSecrets.length === 0 ? [] : receiverManifests(options)),
  ];
}

/** The same without Deployments and what belongs to them: for processes that run elsewhere. */
export function groundManifests(
  options: RightsOptions & Pick<Partial<InstallOptions>, "tokenSecrets">,
): readonly KubeObject[] {
  const { platformNamespaces, tokenSecrets = tokenSecretsDefault } = options;
  return [
    ...namespaces(platformNamespaces),
    ...(crds as unknown as readonly KubeObject[]),
    {
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { name: controllerAccount, namespace: systemNamespace, labels },
      automountServiceAccountToken: false,
    },
    ...rightsOf(options),
    ...(tokenSecrets.length === 0 ? [] : receiverRights(platformNamespaces, tokenSecrets)),
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
