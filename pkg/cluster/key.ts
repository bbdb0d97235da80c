type Named = { readonly namespace: string; readonly name: string };

/** `namespace/name` of a Cluster, the key of its queue; `management` for the hub itself. */
export function clusterKey({ namespace, name }: Named): string {
  return namespace === "" ? name : `${namespace}/${name}`;
}

/** The reverse of `clusterKey`. */
export function clusterNamed(key: string): Named {
  const [first = "", name] = key.split("/");
  return name === undefined ? { namespace: "", name: first } : { namespace: first, name };
}
