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
  durationFrom("1s", { description, default: otherwise });

/** A Kubernetes duration of at least so much. */
export const durationFrom = (
  least: string,
  extra: { readonly description: string; readonly default?: string },
): Schema<string> =>
  string({
    ...extra,
    maxLength: 32,
    pattern: "^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$",
    rules: [
      {
        rule: `duration(self) >= duration('${least}') && duration(self) <= duration('8760h')`,
        message: `must be between ${least} and 8760h`,
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

const refName = (description: string) =>
  string({ description, maxLength: 255, pattern: "^[A-Za-z0-9_][A-Za-z0-9._/+@#-]*$" });

/** Which commit of a Git repository; the same for every source that is one. */
export const gitRef = object(
  {
    optional: {
      branch: refName("A branch."),
      tag: refName("A tag."),
      semver: string({
        description: "A version range over the tags; the highest wins.",
        maxLength: 128,
        minLength: 1,
      }),
      name: refName("The whole name of a reference, such as refs/pull/1/head."),
      commit: string({
        description:
          "One commit. A branch, tag or name beside it says where to look for it on servers that give out no commit by its hash.",
        pattern: "^[a-f0-9]{40}$",
      }),
    },
  },
  {
    description:
      "Which commit: of a branch, a tag, the highest tag of a range, a reference by its whole name, or one. Default: the branch main.",
    rules: [
      {
        rule: "[has(self.branch), has(self.tag), has(self.semver), has(self.name)].filter(x, x).size() <= 1",
        message: "at most one of branch, tag, semver and name",
      },
      {
        rule: "!has(self.name) || self.name.startsWith('refs/')",
        message: "name begins with refs/",
      },
    ],
  },
);

/** Where a Git repository is. A login never stands in the URL. */
export const gitUrl = string({
  description: "https://HOST[:PORT]/PATH or ssh://[USER@]HOST[:PORT]/PATH, without a password.",
  maxLength: 512,
  pattern:
    "^(https?://[A-Za-z0-9.-]+|ssh://([A-Za-z0-9._-]+@)?[A-Za-z0-9.-]+)(:[0-9]{1,5})?/[A-Za-z0-9._~/+%@=,-]+$",
});

export const deletionPolicyWords = ["Delete", "Orphan"] as const;
