import type { KubeObject } from "./types.ts";

/** Which object, whatever its API version: group and kind stay the same over an upgrade. */
export type ObjectId = {
  readonly group: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
};

/** The API group of an apiVersion; "" is the core group. */
export function groupOf(apiVersion: string): string {
  const slash = apiVersion.indexOf("/");
  return slash < 0 ? "" : apiVersion.slice(0, slash);
}

/** The version of an apiVersion. */
export function versionOf(apiVersion: string): string {
  return apiVersion.slice(apiVersion.indexOf("/") + 1);
}

/** The identity of an object. */
export function idOf(object: KubeObject): ObjectId {
  const { name, namespace = "" } = object.metadata;
  return { group: groupOf(object.apiVersion), kind: object.kind, namespace, name };
}

/** `group/Kind/namespace/name`: unique, sortable, the key in maps and in the inventory. */
export function keyOf({ group, kind, namespace, name }: ObjectId): string {
  return `${group}/${kind}/${namespace}/${name}`;
}

/** The reverse of `keyOf`; undefined when the text is not a key. */
export function parseKey(key: string): ObjectId | undefined {
  const parts = key.split("/");
  const [group, kind, namespace, name] = parts;
  if (parts.length !== 4 || group === undefined || namespace === undefined) return undefined;
  if (kind === undefined || kind === "" || name === undefined || name === "") return undefined;
  return { group, kind, namespace, name };
}

/** What people read: `Deployment/flux-system/source-controller`, `Namespace/flux-system`. */
export function nameOf({ kind, namespace, name }: ObjectId): string {
  return namespace === "" ? `${kind}/${name}` : `${kind}/${namespace}/${name}`;
}

/** `apiVersion Kind`: what a cluster is asked about. */
export function kindOf({ apiVersion, kind }: KubeObject): string {
  return `${apiVersion} ${kind}`;
}
