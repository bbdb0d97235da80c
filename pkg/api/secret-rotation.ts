import type { ObjectMeta } from "../object/index.ts";
import { gitUrl, objectName } from "./common.ts";
import { conditions } from "./conditions.ts";
import { boolean, integer, list, object, oneOf, string, type TypeOf } from "./schema.ts";

const repository = object(
  {
    required: { url: gitUrl },
    optional: {
      path: string({
        description: "The directory that CI pushes as an artifact. Default: the whole repository.",
        maxLength: 255,
        pattern: "^(\\./)?([A-Za-z0-9_-][A-Za-z0-9._-]*/?)*$",
      }),
    },
  },
  { description: "The Git repository with the files. It is not read: only what clusters run is." },
);

const digest = (description: string) => string({ description, pattern: "^[a-f0-9]{64}$" });

const file = object({
  required: {
    path: string({ description: "The file, in the repository.", minLength: 1, maxLength: 1024 }),
    key: string({
      description: 'Where the value stands in the file: ["stringData"]["password"].',
      maxLength: 1024,
      pattern: "^\\[",
    }),
    value: digest("SHA-256 of the value's new ciphertext."),
    replaces: digest("SHA-256 of the ciphertext that was there before."),
    modified: string({
      description: "When the file was written, by SOPS' own date.",
      format: "date-time",
    }),
  },
});

const spec = object(
  {
    required: {
      repository,
      commit: string({
        description: "The commit that brought the values, for people.",
        pattern: "^[a-f0-9]{40}$",
      }),
      files: list(file, {
        description: "The values; capitan rotate secret writes the list.",
        minItems: 1,
        maxItems: 500,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["path", "key"],
      }),
      restart: boolean({
        description:
          "Restart the workloads that ask for it by capitan.dev/restart-on: secret/NAME, each once.",
        default: true,
      }),
    },
    optional: {
      clusters: list(objectName("A Cluster of this namespace."), {
        description:
          "Who is to run them. Default: each cluster of this namespace that gets one of the files.",
        minItems: 1,
        maxItems: 1000,
        "x-kubernetes-list-type": "set",
      }),
    },
  },
  {
    rules: [
      { rule: "self == oldSelf", message: "a SecretRotation is immutable: make another one" },
    ],
  },
);

const clusterStatus = object({
  required: { name: string(), state: oneOf(["Waiting", "Stalled", "Done", "Gone"]) },
  optional: {
    reason: string({ description: "What is waited for, or the error code." }),
    message: string({ maxLength: 1024 }),
    revision: string({ description: "What the cluster ran when it was done." }),
    restarted: integer({ description: "How many workloads were told to restart." }),
  },
});

const status = object({
  required: { observedGeneration: integer({ default: -1 }) },
  optional: {
    summary: string({ description: "How many clusters run the values: 37/40 run it." }),
    clusters: list(clusterStatus, {
      maxItems: 1000,
      "x-kubernetes-list-type": "map",
      "x-kubernetes-list-map-keys": ["name"],
    }),
    completedTime: string({ format: "date-time" }),
    conditions,
  },
});

export const secretRotationSchema = object({
  required: { spec, status: { ...status, default: { observedGeneration: -1 } } },
});

export type SecretRotationSpec = TypeOf<typeof spec>;
export type SecretRotationStatus = TypeOf<typeof status>;
export type ClusterOfSecret = TypeOf<typeof clusterStatus>;

/** Values that were changed in encrypted files, and the clusters that are to run them. */
export type SecretRotation = {
  readonly apiVersion: string;
  readonly kind: "SecretRotation";
  readonly metadata: ObjectMeta;
  readonly spec: SecretRotationSpec;
  readonly status?: SecretRotationStatus;
};
