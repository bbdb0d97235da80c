/** How a kind is reached over HTTP. */
export type Resource = {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
};

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
