import type { RevisionLayer } from "../api/index.ts";
import type { KubeObject } from "../object/index.ts";
import { fluxSystemNamespace } from "./flux.ts";

type Sync = NonNullable<NonNullable<RevisionLayer["flux"]>["sync"]>;

/** Both objects carry the name that `flux bootstrap` gives them, so that its tools find them. */
const name = "flux-system";
const metadata = { name, namespace: fluxSystemNamespace };

/** The Secret by which the cluster's own Flux decrypts. */
const ageKeysName = "sops-age";

/**
 * The cluster's age identities as Flux reads them: every key that ends with `.agekey`, watched because
 * of the label. Values are base64.
 */
export function ageKeysSecret(data: Readonly<Record<string, string>>): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Secret",
    type: "Opaque",
    metadata: {
      name: ageKeysName,
      namespace: fluxSystemNamespace,
      labels: { "reconcile.fluxcd.io/watch": "Enabled" },
    },
    data,
  };
}

/**
 * The source and the Kustomization by which the cluster's own Flux pulls its configuration. Under
 * lockdown it acts as Flux's own account, since the default one may do nothing.
 */
export function syncObjects(sync: Sync, isLockdown: boolean): readonly KubeObject[] {
  const source = sync.oci === undefined ? gitSource(sync) : ociSource(sync, sync.oci);
  const secretRef = { name: ageKeysName };
  const decryption =
    sync.decryption === undefined ? {} : { decryption: { ...sync.decryption, secretRef } };
  const account = isLockdown ? { serviceAccountName: "kustomize-controller" } : {};
  const kustomization = {
    apiVersion: "kustomize.toolkit.fluxcd.io/v1",
    kind: "Kustomization",
    metadata,
    spec: {
      interval: sync.interval,
      path: sync.path,
      prune: true,
      sourceRef: { kind: source.kind, name },
      ...decryption,
      ...account,
    },
  };
  return [source, kustomization];
}

function ociSource(
  { interval }: Sync,
  { url, ref = { tag: "latest" }, secretRef, certSecretRef, insecure }: NonNullable<Sync["oci"]>,
): KubeObject {
  return {
    apiVersion: "source.toolkit.fluxcd.io/v1",
    kind: "OCIRepository",
    metadata,
    spec: {
      interval,
      url,
      ref,
      ...(secretRef === undefined ? {} : { secretRef }),
      ...(certSecretRef === undefined ? {} : { certSecretRef }),
      ...(insecure === undefined ? {} : { insecure }),
    },
  };
}

function gitSource({ interval, git }: Sync): KubeObject {
  const { url, ref = { branch: "main" }, secretRef } = git ?? { url: "" };
  return {
    apiVersion: "source.toolkit.fluxcd.io/v1",
    kind: "GitRepository",
    metadata,
    spec: { interval, url, ref, ...(secretRef === undefined ? {} : { secretRef }) },
  };
}
