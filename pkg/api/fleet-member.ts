import type { ObjectMeta } from "../object/index.ts";
import { objectName } from "./common.ts";
import { conditions } from "./conditions.ts";
import { integer, list, object, oneOf, string, type TypeOf } from "./schema.ts";

const spec = object({
  required: {
    fleetRef: object({
      required: {
        namespace: objectName("The Fleet's namespace."),
        name: objectName("The Fleet's name."),
      },
    }),
    clusterRef: object({
      required: { name: objectName("A Cluster of this namespace, or management.") },
      optional: {
        kind: oneOf(["Cluster", "Management"], {
          description: "Management: the management cluster itself. Default: Cluster.",
        }),
      },
    }),
    revision: objectName("The FleetRevision that the cluster is to run."),
    state: oneOf(["Present", "Removed"], {
      description: "Removed withdraws the Fleet's objects.",
      default: "Present",
    }),
  },
});

const layerStatus = object({
  required: {
    name: string(),
    state: oneOf(["Pending", "Applying", "Waiting", "Ready", "Failed"]),
    objects: integer({ description: "How many objects the layer has." }),
  },
  optional: {
    reason: string({ description: "The error code when the layer is not ready." }),
    message: string({ maxLength: 1024 }),
    revision: string({
      description: "Where the layer's objects come from: a version, or <tag>@<digest>.",
    }),
  },
});

const status = object({
  required: { observedGeneration: integer({ default: -1 }) },
  optional: {
    state: oneOf(["Present", "Removed"], { description: "The state that has been reached." }),
    currentRevision: string({ description: "The FleetRevision that has been applied completely." }),
    lastHandledReconcileAt: string({
      description: "The last reconcile.fluxcd.io/requestedAt that was handled.",
    }),
    lastAppliedTime: string({
      format: "date-time",
      description: "When the last object of the revision was applied.",
    }),
    objects: integer({ description: "How many objects the Fleet owns in the cluster." }),
    clusterID: string({
      description:
        "uid of the namespace kube-system of the cluster that was last reached: another one is another cluster.",
    }),
    inventoryDigest: string({ description: "Digest of the inventory in the workload cluster." }),
    layers: list(layerStatus, {
      maxItems: 32,
      "x-kubernetes-list-type": "map",
      "x-kubernetes-list-map-keys": ["name"],
    }),
    conditions,
  },
});

export const fleetMemberSchema = object({
  required: { spec, status: { ...status, default: { observedGeneration: -1 } } },
});

export type FleetMemberSpec = TypeOf<typeof spec>;
export type FleetMemberStatus = TypeOf<typeof status>;
export type LayerStatus = TypeOf<typeof layerStatus>;

/** One cluster's membership in one Fleet, pinned to one revision. Only the Fleet reconciler writes spec. */
export type FleetMember = {
  readonly apiVersion: string;
  readonly kind: "FleetMember";
  readonly metadata: ObjectMeta;
  readonly spec: FleetMemberSpec;
  readonly status?: FleetMemberStatus;
};
