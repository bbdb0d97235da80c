import type { JsonMap } from "../json/index.ts";

/** Labels, annotations, variables, values: maps whose keys somebody else chooses. */
export const openMap = "open";

/** The names that a template may use: closed maps list theirs, open ones have any. */
export type Shape = typeof openMap | { readonly [name: string]: Shape | "scalar" };

/** What a template of a layer knows about its cluster. What a Cluster does not say is null. */
export type ClusterInput = {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** The Kubernetes version, as Cluster API writes it: `v1.34.1`. */
  readonly version: string | null;
  readonly topology: {
    readonly class: string | null;
    readonly version: string | null;
    readonly variables: JsonMap;
  };
  readonly controlPlaneEndpoint: { readonly host: string | null; readonly port: number | null };
  readonly kinds: { readonly infrastructure: string | null; readonly controlPlane: string | null };
};

/** A cluster that says nothing but its name. */
export const bareCluster = (name: string, namespace: string): ClusterInput => ({
  name,
  namespace,
  labels: {},
  annotations: {},
  version: null,
  topology: { class: null, version: null, variables: {} },
  controlPlaneEndpoint: { host: null, port: null },
  kinds: { infrastructure: null, controlPlane: null },
});

/** Everything that a template of a layer can read. There is no UID, so that a move changes nothing. */
export type LayerContext = {
  readonly cluster: ClusterInput;
  readonly fleet: { readonly name: string; readonly namespace: string };
  readonly values: JsonMap;
};

/** The names of `LayerContext`, by which templates are checked before there is a cluster. */
export const layerShape: Shape = {
  cluster: {
    name: "scalar",
    namespace: "scalar",
    labels: openMap,
    annotations: openMap,
    version: "scalar",
    topology: { class: "scalar", version: "scalar", variables: openMap },
    controlPlaneEndpoint: { host: "scalar", port: "scalar" },
    kinds: { infrastructure: "scalar", controlPlane: "scalar" },
  },
  fleet: { name: "scalar", namespace: "scalar" },
  values: openMap,
};
