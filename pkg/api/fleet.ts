import type { ObjectMeta } from "../object/index.ts";
import {
  deletionPolicyWords,
  duration,
  durationFrom,
  gitRef,
  gitUrl,
  label,
  labelSelector,
  objectName,
  registryAccess,
  secretRef,
} from "./common.ts";
import { conditions } from "./conditions.ts";
import { ref, sync } from "./flux-sync.ts";
import { rotatedDecryption, rotatedRepository } from "./key-rotation.ts";
import { perCluster, valuesFrom } from "./per-cluster.ts";
import { anyObject, boolean, integer, list, object, oneOf, string, type TypeOf } from "./schema.ts";

const adopt = boolean({
  description:
    "Take over objects that something else manages, such as another Flux, Helm or an operator.",
});

const oci = object(
  { required: registryAccess.required, optional: { ...registryAccess.optional, ref } },
  {
    description:
      "An OCI artifact in Flux's format; every .yaml, .yml and .json file in it is applied as it is.",
  },
);

const git = object(
  {
    required: { url: gitUrl },
    optional: {
      ref: gitRef,
      secretRef: secretRef(
        "A Secret that may read: username and password or bearerToken, and ca.crt, for https; identity and known_hosts for ssh.",
      ),
      insecure: boolean({
        description:
          "Plain HTTP, only for servers on a trusted network. Default: true on loopback, else false.",
      }),
    },
  },
  {
    description:
      "A Git repository; every .yaml, .yml and .json file below path is applied as it is.",
  },
);

const flux = object(
  {
    required: {
      version: string({
        description:
          "An exact version or a version range over the tags of the artifact; a leading v is ignored.",
        minLength: 1,
        maxLength: 128,
      }),
      artifact: object(registryAccess, {
        description: "Where Flux's install manifests come from.",
        default: { url: "oci://ghcr.io/fluxcd/flux-manifests" },
      }),
      tenancy: oneOf(["Single", "Lockdown"], {
        description:
          "Lockdown sets Flux's multi-tenancy flags: no references across namespaces, no remote bases, and the account default unless a tenant names one.",
        default: "Single",
      }),
    },
    optional: {
      registry: string({
        description:
          "Where the controllers' images come from, in place of the registry in the manifests.",
        maxLength: 255,
        pattern: "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9._-]+)*$",
      }),
      components: list(label("A Flux controller."), {
        description: "Which controllers to install; all that the artifact contains when not set.",
        maxItems: 16,
        minItems: 1,
        "x-kubernetes-list-type": "set",
      }),
      adopt,
      sync,
      imagePullSecret: objectName(
        "A kubernetes.io/dockerconfigjson Secret in the Fleet's namespace; it is planted beside the controllers and their pods use it.",
      ),
    },
  },
  { description: "Flux itself, from the artifact that Flux publishes." },
);

const layer = object(
  {
    required: {
      name: label("The layer's name, unique in the Fleet."),
      wait: boolean({
        description: "Whether the layer is ready only when all its objects are healthy (kstatus).",
        default: true,
      }),
      timeout: duration(
        "How long objects may take to become healthy before HealthTimeout is reported.",
        "5m",
      ),
    },
    optional: {
      dependsOn: list(label("A layer of this Fleet."), {
        description: "Layers that must be ready before this one starts.",
        maxItems: 16,
        "x-kubernetes-list-type": "set",
      }),
      oci,
      git,
      flux,
      inline: list(
        anyObject({
          "x-kubernetes-embedded-resource": true,
          description: "A whole Kubernetes object.",
        }),
        { description: "Objects written here in the Fleet.", maxItems: 128, minItems: 1 },
      ),
      include: labelSelector("Only objects that match."),
      ...perCluster,
      valuesFrom,
      adopt,
      deletionPolicy: oneOf(deletionPolicyWords, {
        description:
          "What becomes of the layer's objects when it leaves a cluster. Default: the Fleet's; Orphan for a flux layer.",
      }),
    },
  },
  {
    description: "One step of what a cluster runs.",
    rules: [
      {
        rule: "[has(self.oci), has(self.git), has(self.flux), has(self.inline)].filter(x, x).size() == 1",
        message: "exactly one of oci, git, flux and inline",
      },
      {
        rule: "has(self.oci) || has(self.git) || !(has(self.path) || has(self.valuesFrom) || has(self.valuesFiles) || has(self.values) || has(self.decryption))",
        message: "path, values and decryption need a source with files: oci or git",
      },
    ],
  },
);

const rotation = object(
  {
    required: {
      rotateEvery: durationFrom("1h", {
        description: "The age at which a cluster's age identity is rotated: 2160h.",
      }),
      repository: rotatedRepository,
      decryption: rotatedDecryption,
    },
  },
  {
    description:
      "Rotates the age identities of the Fleet's clusters as they grow old: a KeyRotation is made for those that are due.",
  },
);

const spec = object(
  {
    required: {
      suspend: boolean({
        description: "Resolve nothing and change no member while true.",
        default: false,
      }),
      interval: duration("How often tags, version ranges and branches are resolved again.", "10m"),
      deletionPolicy: oneOf(deletionPolicyWords, {
        description:
          "What leaving (a Cluster no longer selected, the Fleet deleted, a layer removed) does to the objects that Capitan created.",
        default: "Delete",
      }),
      layers: list(layer, {
        description:
          "What each cluster runs; an empty list is nothing, and takes away what was there.",
        maxItems: 32,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
      }),
    },
    optional: {
      clusterSelector: labelSelector("Which Clusters of this namespace; {} is every one."),
      target: oneOf(["Management"], {
        description:
          "In place of clusterSelector: the layers go to the management cluster itself. Only in platform namespaces.",
      }),
      serviceAccountName: objectName(
        "A ServiceAccount of this namespace, as which everything is read and written for the Fleet, on the hub and on its clusters. Needed outside the platform namespaces.",
      ),
      rotation,
    },
  },
  {
    rules: [
      {
        rule: "has(self.clusterSelector) != has(self.target)",
        message: "exactly one of clusterSelector and target",
      },
      {
        rule: "!has(self.target) || self.layers.all(layer, !has(layer.flux))",
        message: "target: Management takes oci, git and inline layers",
      },
      {
        rule: "!has(self.rotation) || !(has(self.target) || has(self.serviceAccountName))",
        message:
          "rotation writes with the controller's rights, for clusters: it takes neither target nor serviceAccountName",
      },
    ],
  },
);

const status = object({
  required: { observedGeneration: integer({ default: -1 }) },
  optional: {
    summary: string({ description: "Ready and matched clusters: 39/40." }),
    currentRevision: string({ description: "The FleetRevision that every member has applied." }),
    updateRevision: string({ description: "The FleetRevision that members are pinned to." }),
    resolvedGeneration: integer({
      description:
        "The newest generation of the Fleet whose sources were resolved; what the Fleet wants after it is not known yet.",
    }),
    left: list(object({ required: { cluster: string(), time: string({ format: "date-time" }) } }), {
      description: "Clusters that left the Fleet within the last hour.",
      maxItems: 100,
    }),
    lastHandledReconcileAt: string({
      description: "The last reconcile.fluxcd.io/requestedAt that was handled.",
    }),
    lastResolvedTime: string({
      format: "date-time",
      description: "When the sources were last resolved.",
    }),
    clusters: object({
      required: { matched: integer(), ready: integer(), updating: integer(), failed: integer() },
    }),
    worst: list(object({ required: { cluster: string(), reason: string(), message: string() } }), {
      description: "Up to ten clusters that are not ready, and why.",
      maxItems: 10,
    }),
    conditions,
  },
});

export const fleetSchema = object({
  required: { spec, status: { ...status, default: { observedGeneration: -1 } } },
});

export type Layer = TypeOf<typeof layer>;
export type FleetSpec = TypeOf<typeof spec>;
export type FleetStatus = TypeOf<typeof status>;

/** A Fleet: which clusters, and what they run. */
export type Fleet = {
  readonly apiVersion: string;
  readonly kind: "Fleet";
  readonly metadata: ObjectMeta;
  readonly spec: FleetSpec;
  readonly status?: FleetStatus;
};
