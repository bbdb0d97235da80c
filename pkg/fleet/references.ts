import type { FleetSpec } from "../api/index.ts";

/** The ConfigMaps of its namespace that a Fleet names. */
export function configMapsOf({ layers }: FleetSpec): ReadonlySet<string> {
  return new Set(valuesFrom(layers, "ConfigMap"));
}

/** The Secrets of its namespace that a Fleet names, for whatever. */
export function secretsOf({ layers }: FleetSpec): ReadonlySet<string> {
  const refs = layers.flatMap(({ oci, flux, decryption }) => [
    oci?.secretRef,
    oci?.certSecretRef,
    flux?.artifact.secretRef,
    flux?.artifact.certSecretRef,
    flux?.sync?.oci?.secretRef,
    flux?.sync?.oci?.certSecretRef,
    flux?.sync?.git?.secretRef,
    flux?.imagePullSecret === undefined ? undefined : { name: flux.imagePullSecret },
    decryption?.secretRef,
  ]);
  const names = refs.flatMap((ref) => (ref === undefined ? [] : [ref.name]));
  return new Set([...names, ...valuesFrom(layers, "Secret")]);
}

function valuesFrom(layers: FleetSpec["layers"], wanted: "ConfigMap" | "Secret"): string[] {
  return layers.flatMap(({ valuesFrom: from = [] }) =>
    from.filter(({ kind }) => kind === wanted).map(({ name }) => name),
  );
}
