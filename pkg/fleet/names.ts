import { canonicalJson, sha256Hex } from "../json/index.ts";
import type { FleetRevisionSpec } from "../api/index.ts";

/** Names of objects are at most this long, so that they are label values too. */
const nameMax = 63;
const hashLength = 8;

const shortHash = (text: string) => sha256Hex(text).slice(0, hashLength);

/** `<prefix>-<8 hex>`, cut in the prefix to fit. */
function hashed(prefix: string, hash: string): string {
  return `${prefix.slice(0, nameMax - hashLength - 1).replace(/[-.]+$/, "")}-${hash}`;
}

type Named = { readonly namespace: string; readonly name: string };

/**
 * `<fleet>-<cluster>-<8 hex of sha256(namespace/fleet/cluster)>`: stable, and never somebody else's.
 * The hub itself, which has no namespace, is `/management` there.
 */
export function memberName(fleet: Named, { namespace, name }: Named): string {
  const cluster = namespace === "" ? `/${name}` : name;
  return hashed(`${fleet.name}-${name}`, shortHash(`${fleet.namespace}/${fleet.name}/${cluster}`));
}

/** `<fleet>-<8 hex of its content>`: the same content always has the same name. */
export function revisionName(fleet: string, spec: FleetRevisionSpec): string {
  return hashed(fleet, shortHash(canonicalJson(spec)));
}

/** `<fleet>-<8 hex of whose keys end>`: the same ones are never rotated twice. */
export function rotationName(fleet: Named, targets: readonly object[]): string {
  return hashed(fleet.name, shortHash(canonicalJson([fleet.namespace, fleet.name, targets])));
}

/** The owner label's value: from names that survive a move of the hub, never from a UID. */
export function ownerOf(fleet: Named): string {
  return sha256Hex(`${fleet.namespace}/${fleet.name}`).slice(0, 16);
}
