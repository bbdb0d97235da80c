import type { ObjectMeta } from "../object/index.ts";
import {
  deletionPolicyWords,
  duration,
  gitRef,
  gitUrl,
  label,
  labelSelector,
  objectName,
  registryAccess,
  secretRef,
} from "./common.ts";
import { resolvedSync } from "./flux-sync.ts";
import { perCluster, resolvedValuesFrom } from "./per-cluster.ts";
import { anyObject, boolean, list, object, oneOf, string, type TypeOf } from "./schema.ts";

const digest = string({
  description: "Digest of the artifact's manifest.",
  pattern: "^sha256:[a-f0-9]{64}$",
});
const revision = string({ description: "What was resolved, in Flux's form: <tag>@<digest>." });

const oci = object({
  required: { ...registryAccess.required, digest, revision },
  optional: registryAccess.optional,
});

const git = object({
  required: {
    url: gitUrl,
    commit: string({ description: "The commit.", pattern: "^[a-f0-9]{40}$" }),
    revision: string({ description: "What was resolved, in Flux's form: main@sha1:<commit>." }),
  },
  optional: { ref: gitRef, secretRef: secretRef("Copied from the Fleet."), insecure: boolean() },
});

const flux = object({
  required: { ...registryAccess.required, digest, revision, version: string() },
  optional: {
    ...registryAccess.optional,
    registry: string(),
    components: list(string(), { maxItems: 16 }),
    tenancy: oneOf(["Single", "Lockdown"]),
    sync: resolvedSync,
    imagePullSecret: objectName("Copied from the Fleet."),
    adopt: boolean(),
  },
});

const layer = object({
  required: {
    name: label("The layer's name."),
    wait: boolean(),
    timeout: duration("Copied from the Fleet.", "5m"),
    deletionPolicy: oneOf(deletionPolicyWords),
    dependsOn: list(string(), { maxItems: 16 }),
  },
  optional: {
    oci,
    git,
    flux,
    inline: list(anyObject({ "x-kubernetes-embedded-resource": true }), { maxItems: 128 }),
    include: labelSelector("Copied from the Fleet."),
    ...perCluster,
    valuesFrom: resolvedValuesFrom,
    adopt: boolean(),
  },
});

const spec = object(
  {
    required: {
      fleetRef: object({ required: { name: objectName("The Fleet.") } }),
      layers: list(layer, { maxItems: 32 }),
    },
  },
  { rules: [{ rule: "self == oldSelf", message: "a FleetRevision is immutable" }] },
);

export const fleetRevisionSchema = object({ required: { spec } });

export type RevisionLayer = TypeOf<typeof layer>;
export type FleetRevisionSpec = TypeOf<typeof spec>;

/** What a Fleet resolved to at one time: immutable, everything by digest. */
export type FleetRevision = {
  readonly apiVersion: string;
  readonly kind: "FleetRevision";
  readonly metadata: ObjectMeta;
  readonly spec: FleetRevisionSpec;
};
