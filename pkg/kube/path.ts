import type { KubeObject, Resource } from "../object/index.ts";

/** The URL path of a collection, or of one object, with every segment encoded. */
export function resourcePath(
  resource: Resource,
  namespace?: string,
  name?: string,
  subresource?: string,
): string {
  const { group, version, plural, namespaced } = resource;
  const root = group === "" ? ["api", version] : ["apis", group, version];
  const scope =
    namespaced && namespace !== undefined && namespace !== "" ? ["namespaces", namespace] : [];
  const segments = [...root, ...scope, plural, name, subresource].filter((s) => s !== undefined);
  return `/${segments.map(encodeURIComponent).join("/")}`;
}

/** What tells an object from all others of its kind. */
export const nameKey = ({ metadata }: Pick<KubeObject, "metadata">): string =>
  `${metadata.namespace ?? ""}/${metadata.name}`;
