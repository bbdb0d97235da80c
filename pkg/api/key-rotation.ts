import type { ObjectMeta } from "../object/index.ts";
import { gitUrl, objectName, secretRef } from "./common.ts";
import { conditions } from "./conditions.ts";
import { boolean, integer, list, object, oneOf, string, type TypeOf } from "./schema.ts";

/** The repository of a rotation; the same for one that a Fleet asks for. */
export const rotatedRepository = object(
  {
    required: {
      url: gitUrl,
      branch: string({
        description: "The branch that is released from.",
        default: "main",
        maxLength: 255,
        pattern: "^[A-Za-z0-9_][A-Za-z0-9._/+@#-]*$",
      }),
      secretRef: secretRef(
        "A Secret that may write: username and password or bearerToken, and ca.crt, for https; identity and known_hosts for ssh. What Fleets read with stays as it is.",
      ),
      delivery: oneOf(["Push", "Branch"], {
        description:
          "Push: commits go to the branch. Branch: the branch is protected, so each commit goes to a branch of its own, capitan/rotate-…, that a person or a bot merges.",
        default: "Push",
      }),
    },
    optional: {
      path: string({
        description:
          "The directory that CI pushes as an artifact; the canary of a cluster is put below it. Default: the whole repository.",
        maxLength: 255,
        pattern: "^(\\./)?([A-Za-z0-9_-][A-Za-z0-9._-]*/?)*$",
      }),
      insecure: boolean({
        description:
          "Plain HTTP, only for servers on a trusted network. Default: true on loopback, else false.",
      }),
    },
  },
  { description: "The Git repository with the encrypted files and .sops.yaml." },
);

/** What opens the files of a rotation; the same for one that a Fleet asks for. */
export const rotatedDecryption = object(
  {
    required: {
      secretRef: secretRef(
        "The manager's identity: a Secret with keys that end in .agekey. Later generations are beside it.",
      ),
    },
  },
  { description: "What opens every file." },
);

const generation = (whose: string) =>
  integer({
    description: `${whose} age identity, and all before it, are to end.`,
    minimum: 1,
    maximum: 999_999_999,
  });

const target = object({
  required: {
    name: objectName("A Cluster of this namespace."),
    ends: generation("This generation of its"),
  },
});

const spec = object(
  {
    required: {
      clusters: list(target, {
        description: "Whose keys are rotated; capitan rotate keys writes the list.",
        default: [],
        maxItems: 1000,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
      }),
      repository: rotatedRepository,
      decryption: rotatedDecryption,
      dryRun: boolean({
        description: "Write nothing: only the plan, into the status.",
        default: false,
      }),
      rollout: oneOf(["Proven", "Immediate"], {
        description:
          "Proven: the old key goes when the new one was seen to work on the cluster. Immediate: as soon as the cluster has the new one.",
        default: "Proven",
      }),
      reason: oneOf(["Scheduled", "Compromise"], {
        description:
          "Compromise: the status also lists the values that the old key could read, by file and names of keys.",
        default: "Scheduled",
      }),
    },
    optional: {
      manager: object(
        { required: { ends: generation("This generation of the manager's") } },
        { description: "The manager's own key, over all files, is rotated too." },
      ),
    },
  },
  {
    rules: [
      { rule: "self == oldSelf", message: "a KeyRotation is immutable: make another one" },
      {
        rule: "size(self.clusters) > 0 || has(self.manager)",
        message: "clusters, manager or both say whose keys are rotated",
      },
    ],
  },
);

const proof = object({
  required: {
    generation: integer(),
    uid: string({ description: "Of the namespace kube-system of the cluster that showed it." }),
    revision: string({ description: "What the cluster ran." }),
    time: string({ format: "date-time" }),
  },
});

const clusterStatus = object({
  required: {
    name: string({ description: "A Cluster, or (manager)." }),
    state: oneOf(["Working", "Waiting", "Stalled", "Done", "Gone"]),
  },
  optional: {
    generation: integer({ description: "The generation that is used from now on." }),
    reason: string({ description: "What is waited for, or the error code." }),
    message: string({ maxLength: 1024 }),
    proof,
  },
});

const recipients = list(string({ maxLength: 2048 }), { maxItems: 1000 });

const plan = object(
  {
    required: {
      clusters: list(
        object({
          required: {
            name: string(),
            ends: integer(),
            generation: integer({ description: "The generation that is used then." }),
            files: integer({ description: "How many files it opens." }),
            expires: list(string(), {
              description: "Revisions that cannot be gone back to afterwards.",
              maxItems: 100,
            }),
          },
        }),
        { maxItems: 1001 },
      ),
      files: list(
        object({
          required: { path: string(), recipients, stale: recipients, unknown: recipients },
          optional: { trouble: string({ description: "Why it would stop the rotation." }) },
        }),
        { maxItems: 500 },
      ),
    },
  },
  { description: "What a rotation would do, of a dry run." },
);

const status = object({
  required: { observedGeneration: integer({ default: -1 }) },
  optional: {
    summary: string({ description: "How many clusters have come how far: 37/40 proven, 30 done." }),
    clusters: list(clusterStatus, {
      maxItems: 1001,
      "x-kubernetes-list-type": "map",
      "x-kubernetes-list-map-keys": ["name"],
    }),
    filesLeft: integer({
      description: "Files at the tip of the branch that an ending key still opens.",
    }),
    lastCommit: string({ description: "The last commit of this rotation." }),
    exposed: list(
      object({
        required: { file: string(), values: list(string({ maxLength: 512 }), { maxItems: 64 }) },
      }),
      {
        description: "What the old keys could read, to be changed at its origin.",
        maxItems: 500,
      },
    ),
    exposedFiles: integer({
      description: "In how many files that is; the list has room for 500.",
    }),
    plan,
    completedTime: string({ format: "date-time" }),
    conditions,
  },
});

export const keyRotationSchema = object({
  required: { spec, status: { ...status, default: { observedGeneration: -1 } } },
});

export type KeyRotationSpec = TypeOf<typeof spec>;
export type KeyRotationStatus = TypeOf<typeof status>;
export type ClusterRotation = TypeOf<typeof clusterStatus>;

/** One run of the rotation protocol over clusters and a repository. */
export type KeyRotation = {
  readonly apiVersion: string;
  readonly kind: "KeyRotation";
  readonly metadata: ObjectMeta;
  readonly spec: KeyRotationSpec;
  readonly status?: KeyRotationStatus;
};
