import { boolean, list, map, object, oneOf, string, type Schema } from "./schema.ts";

/** A DNS label: names of layers, Secrets, namespaces. */
export const label = (description: string, extra = {}): Schema<string> =>
  string({
    description,
    minLength: 1,
    maxLength: 63,
    pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    ...extra,
  });

/** A DNS subdomain: names of most objects. */
export const objectName = (description: string): Schema<string> =>
  string({
    description,
    minLength: 1,
    maxLength: 253,
    pattern: "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
  });

/** A Kubernetes duration such as 10m or 1h30m, at least one second. */
export const duration = (description: string, otherwise: string): Schema<string> =>
  string({
    description,
    default: otherwise,
    maxLength: 32,
    pattern: "^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$",
    rules: [
      {
        rule: "duration(self) >= duration('1s') && duration(self) <= duration('8760h')",
        message: "must be between 1s and 8760h",
      },
    ],
  });

/** A reference to a Secret in the Fleet's namespace. */
export const secretRef = (description: string) =>
  object({ required: { name: objectName("Name of the Secret.") } }, { description });

const expression = object({
  required: {
    key: string({ maxLength: 317, minLength: 1 }),
    operator: oneOf(["In", "NotIn", "Exists", "DoesNotExist"]),
  },
  optional: { values: list(string({ maxLength: 63 }), { maxItems: 64 }) },
});

/** metav1.LabelSelector. */
export const labelSelector = (description: string) =>
  object(
    {
      optional: {
        matchLabels: map(string({ maxLength: 63 }), { maxProperties: 32 }),
        matchExpressions: list(expression, { maxItems: 32 }),
      },
    },
    { description },
  );

const ociUrl = string({
  description: "oci://HOST[:PORT]/REPOSITORY, without tag and digest.",
  maxLength: 512,
  pattern: "^oci://[A-Za-z0-9.-]+(:[0-9]{1,5})?/[a-z0-9._/-]+$",
});

/** Where and how to reach an artifact; the same for every source that is an OCI artifact. */
export const registryAccess = {
  required: { url: ociUrl },
  optional: {
    secretRef: secretRef("A kubernetes.io/dockerconfigjson Secret that may pull."),
    certSecretRef: secretRef("A Secret with ca.crt, the CA of the registry's certificate."),
    insecure: boolean({
      description:
        "Plain HTTP, only for registries on a trusted network. Default: true on loopback without certSecretRef, else false.",
    }),
  },
};

export const deletionPolicyWords = ["Delete", "Orphan"] as const;
