import { duration, gitRef, gitUrl, registryAccess, secretRef } from "./common.ts";
import { syncDecryption } from "./per-cluster.ts";
import { boolean, object, oneOf, string } from "./schema.ts";

/** Which artifact of a repository. */
export const ref = object(
  {
    optional: {
      tag: string({
        description: "A tag.",
        maxLength: 128,
        pattern: "^[A-Za-z0-9_][A-Za-z0-9._-]*$",
      }),
      semver: string({
        description: "A version range over the tags; the highest wins.",
        maxLength: 128,
        minLength: 1,
      }),
      digest: string({ description: "sha256:<hex>", pattern: "^sha256:[a-f0-9]{64}$" }),
    },
  },
  {
    description:
      "Which artifact of the repository: a tag, the highest tag of a range, or a digest. Default: the tag latest.",
    rules: [
      {
        rule: "[has(self.tag), has(self.semver), has(self.digest)].filter(x, x).size() <= 1",
        message: "at most one of tag, semver and digest",
      },
    ],
  },
);

const syncSecret = secretRef(
  "A Secret in the Fleet's namespace that may read the source; it is planted beside Flux.",
);

const git = object(
  {
    required: {
      url: gitUrl,
    },
    optional: { ref: gitRef, secretRef: syncSecret },
  },
  { description: "A Git repository that the cluster's own Flux pulls." },
);

const place = {
  path: string({
    description:
      "The directory of the source that the cluster's own Flux applies; may name facts of the cluster: ./clusters/{{cluster.name}}.",
    default: "./",
    maxLength: 512,
    pattern: "^\\./",
    rules: [{ rule: "!self.contains('..')", message: "must stay inside the source" }],
  }),
  interval: duration("How often the cluster's own Flux looks at the source.", "10m"),
};

/** What the cluster's own Flux pulls, as people write it. */
export const sync = object(
  {
    required: {
      ...place,
      follow: oneOf(["Pinned", "Tag"], {
        description:
          "Pinned: the hub resolves the reference, and clusters move with the Fleet. Tag: the cluster's own Flux follows the tag, range or branch by itself.",
        default: "Pinned",
      }),
    },
    optional: {
      decryption: syncDecryption,
      oci: object(
        {
          required: registryAccess.required,
          optional: { ...registryAccess.optional, secretRef: syncSecret, ref },
        },
        { description: "An OCI artifact that the cluster's own Flux pulls." },
      ),
      git,
    },
  },
  {
    description:
      "What the cluster's own Flux pulls: a source and a Kustomization, both named flux-system.",
    rules: [{ rule: "has(self.oci) != has(self.git)", message: "exactly one of oci and git" }],
  },
);

/** The same in a FleetRevision: a source that is pinned carries its digest or commit. */
export const resolvedSync = object({
  required: place,
  optional: {
    decryption: syncDecryption,
    oci: object({
      required: registryAccess.required,
      optional: {
        secretRef: syncSecret,
        certSecretRef: registryAccess.optional.certSecretRef,
        insecure: boolean(),
        ref,
        revision: string({ description: "What was resolved: <tag>@<digest>." }),
      },
    }),
    git: object({
      required: { url: gitUrl },
      optional: {
        ref: gitRef,
        secretRef: syncSecret,
        revision: string({ description: "What was resolved: main@sha1:<commit>." }),
      },
    }),
  },
});
