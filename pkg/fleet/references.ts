import type { FleetSpec } from "../api/index.ts";

/** The ConfigMaps of its namespace that a Fleet names. */
export function configMapsOf({ layers }: FleetSpec): ReadonlySet<string> {
  return new Set(valuesFrom(layers, "ConfigMap"));
}

/** The Secrets of its namespace that a Fleet names, for whatever. */
export function secretsOf({ layers }: FleetSpec): ReadonlySet<string> {
  const places = layers.flatMap(({ oci, git, flux, decryption }) => [
    oci,
    git,
    flux?.artifact,
    flux?.sync?.oci,
    flux?.sync?.git,
    decryption,
    flux?.imagePullSecret === undefined ? undefined : { secretRef: { name: flux.imagePullSecret } },
  ]);
  const names = places.flatMap(referred);
  return new Set([...names, ...valuesFrom(layers, "Secret")]);
}

type Place = {
  readonly secretRef?: { readonly name: string } | undefined;
  readonly certSecretRef?: { readonly name: string } | undefined;
};

const referred = (place: Place = {}) =>
  [place.secretRef, place.certSecretRef].flatMap((ref) => (ref === undefined ? [] : [ref.name]));

function valuesFrom(layers: FleetSpec["layers"], wanted: "ConfigMap" | "Secret"): string[] {
  return layers.flatMap(({ valuesFrom: from = [] }) =>
    from.filter(({ kind }) => kind === wanted).map(({ name }) => name),
  );
}
