import { objectName, secretRef } from "./common.ts";
import { anyObject, boolean, list, object, oneOf, string } from "./schema.ts";

/** A relative path inside an artifact; may hold a template that names facts of the cluster. */
const templatedPath = (description: string, extra = {}) =>
  string({
    description,
    minLength: 1,
    maxLength: 512,
    rules: [
      {
        rule: "!self.startsWith('/') && !self.contains('..') && !self.contains('\\\\')",
        message: "must be a relative path inside the source",
      },
    ],
    ...extra,
  });

const valuesKey = string({
  description: "Which key of it is YAML with values.",
  default: "values.yaml",
  maxLength: 253,
  pattern: "^[-._a-zA-Z0-9]+$",
});

const valuesSource = object({
  required: {
    kind: oneOf(["ConfigMap", "Secret"]),
    name: objectName("Its name, in the Fleet's namespace."),
    key: valuesKey,
    optional: boolean({ description: "Whether it may be missing.", default: false }),
  },
});

const decryption = object(
  {
    required: {
      provider: oneOf(["sops"]),
      secretRef: secretRef(
        "A Secret in the Fleet's namespace; every key of it that ends with .agekey holds age identities.",
      ),
    },
  },
  {
    description:
      "How files that are encrypted with SOPS are opened, in memory. Cleartext Secrets in the source are refused then.",
  },
);

const pattern = (description: string) => string({ description, maxLength: 253 });

const patch = object({
  required: {
    patch: string({
      description: "A JSON6902 patch (a list) or a JSON merge patch (a map), in YAML or JSON.",
      minLength: 1,
      maxLength: 65_536,
    }),
    target: object(
      {
        optional: {
          group: pattern("Regular expression for the whole API group."),
          version: pattern("Regular expression for the whole version."),
          kind: pattern("Regular expression for the whole kind."),
          name: pattern("Regular expression for the whole name."),
          namespace: pattern("Regular expression for the whole namespace."),
          labelSelector: string({ description: "As in kubectl -l." }),
          annotationSelector: string({ description: "As labelSelector, over annotations." }),
        },
      },
      {
        description: "Which objects; all that are given must match.",
      },
    ),
  },
});

/** What makes a layer differ from cluster to cluster; the same in a Fleet and in its revisions. */
export const perCluster = {
  path: templatedPath(
    "The directory of the source that is applied, for instance ./clusters/{{cluster.name}}.",
  ),
  valuesFiles: list(
    templatedPath("A YAML or JSON file of the source with values; may be encrypted with SOPS."),
    { maxItems: 16, description: "Files with values; later ones win over earlier ones." },
  ),
  values: anyObject({
    description:
      "Values for templates. They win over valuesFiles, and those over valuesFrom; maps merge, lists replace, null deletes.",
  }),
  decryption,
  patches: list(patch, {
    description: "Changes to the layer's objects, in order, in kustomize's shape.",
    maxItems: 64,
  }),
};

export const valuesFrom = list(valuesSource, {
  description: "ConfigMaps and Secrets with values; later ones win over earlier ones.",
  maxItems: 16,
});

/** The same in a FleetRevision: what ConfigMaps held when it was made. Secrets are read each time. */
export const resolvedValuesFrom = list(
  object({
    required: { kind: oneOf(["ConfigMap", "Secret"]), name: string(), key: string() },
    optional: {
      optional: boolean(),
      values: anyObject({ description: "What the ConfigMap held." }),
    },
  }),
  { maxItems: 16 },
);

export const syncDecryption = object(
  { required: { provider: oneOf(["sops"]) } },
  {
    description:
      "The cluster's own Flux decrypts SOPS files with the cluster's age identity, which is planted as Secret sops-age beside it.",
  },
);
